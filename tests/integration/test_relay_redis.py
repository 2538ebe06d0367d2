"""The relay against a real Redis or Valkey: the scripts, concurrency, crashes, any bytes."""

import contextlib
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from socket import create_server

import pytest

from chalicelib.contract.fanout import Entry, FanoutUrl, Position, keys_of
from chalicelib.feed.relay import NotRelayedError, Relay
from chalicelib.feed.stream import Filling, RedisStream
from chalicelib.feed.wiring import redis_client
from chalicelib.metrics import ProcessMetrics
from local.feed.redis_server import RedisServer
from tests.certificates import Authority
from tests.fanout_model import FakeHistory, FakeServer, FakeStream, Reader
from tests.integration.conftest import wait_until
from tests.kpl import aggregate
from tests.needs import needs_redis

STREAM = "updates"
KEYS = keys_of(STREAM)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"), {})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server):
    client_of(shared_server).flushall()
    return shared_server


@pytest.fixture
def own_server(tmp_path):
    server = RedisServer(tmp_path, {})
    server.start()
    yield server
    server.stop()


def client_of(server):
    return redis_client(FanoutUrl.parse(server.url(f"127.0.0.1:{server.port}", STREAM)))


def stream_of(server, max_records=100_000):
    return RedisStream(client_of(server), STREAM, max_records)


def entries_in(server):
    found = client_of(server).xrange(KEYS.records)
    return [Entry.decode([part for pair in fields.items() for part in pair]) for _, fields in found]


def relay_on(server, history, max_records=100_000):
    return Relay(
        stream=stream_of(server, max_records),
        history=history,
        metrics=ProcessMetrics(),
        backfill_seconds=10**9,
        random_id=lambda: os.urandom(8).hex(),
        now=time.time,
        sleep=time.sleep,
    )


def make_whole(stream):
    begun = stream.begin("origin", 0, "me", 30)
    assert stream.end(begun.origin, "me", is_whole=True)


def entry(sequence, subsequence=0, shard_id="s", data=b"d"):
    return Entry(shard_id, sequence, subsequence, None, "k", 1, data)


# One contract, for the model that unit tests use and for the scripts.


@pytest.fixture(params=["model", needs_redis.parameter("redis")])
def stream(request):
    if request.param == "model":
        return FakeStream(FakeServer())
    return stream_of(request.getfixturevalue("server"))


def test_nothing_is_appended_before_the_feed_is_whole(stream):
    assert stream.append([entry(1)]) is None
    assert stream.append([entry(1)], "another origin") is None
    assert stream.last() == {}


def test_filling_ends_with_a_feed_that_is_whole(stream):
    assert stream.begin("first", 7, "me", 30) == (Filling.YOURS, "first", 7)
    assert stream.begin("second", 8, "me", 30) == (Filling.YOURS, "first", 7)
    assert stream.begin("third", 9, "you", 30) == (Filling.ANOTHER, "first", 7)
    assert stream.append([entry(1)], "first") == 1
    assert stream.append([entry(2)]) is None
    assert stream.end("second", "me", is_whole=True) is False
    assert stream.end("first", "me", is_whole=True) is True
    assert stream.begin("fourth", 9, "you", 30) == (Filling.WHOLE, "first", 7)
    assert stream.append([entry(1), entry(2)]) == 1
    assert stream.last() == {"s": Position(2, 0)}


def test_who_gives_up_lets_the_next_one_fill(stream):
    stream.begin("first", 7, "me", 30)
    stream.end("first", "me", is_whole=False)
    assert stream.begin("second", 8, "you", 30) == (Filling.YOURS, "first", 7)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (Position(9, 0), Position(10, 0)),
        (Position(10**55 + 1, 0), Position(10**55 + 2, 0)),
        (Position(10**55 - 1, 0), Position(10**55, 0)),
        (Position(2**53, 0), Position(2**53 + 1, 0)),
        (Position(10**55, 9), Position(10**55, 10)),
        (Position(10**55, 10**6), Position(10**55 + 1, 0)),
        (Position(0, 0), Position(0, 1)),
    ],
)
def test_what_is_not_newer_is_not_appended(stream, older, newer):
    make_whole(stream)
    assert stream.append([entry(*newer)]) == 1
    assert stream.append([entry(*older), entry(*newer)]) == 0
    assert stream.last() == {"s": newer}
    assert stream.append([entry(*older, "other"), entry(*newer, "other")]) == 2


# Tests that need a real server.


@needs_redis
def test_eight_relays_at_once_append_each_record_once_and_in_order(server):
    history = FakeHistory(2)
    for n in range(300):
        for shard_id in history.by_id:
            history.put(shard_id, b"%d" % n)

    def relay_all(_):
        relay = relay_on(server, history)
        for start in range(0, 300, 25):
            for shard in history.by_id.values():
                relay.relay(shard.arrivals[start : start + 25])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(relay_all, range(8)))
    found = entries_in(server)
    for shard in history.by_id.values():
        mine = [e for e in found if e.shard_id == shard.shard_id]
        assert [e.sequence for e in mine] == [a.sequence for a in shard.arrivals]
        assert [e.previous for e in mine] == [None, *(e.position for e in mine[:-1])]


@needs_redis
@pytest.mark.parametrize("is_saved", [False, True], ids=["empty", "older"])
def test_a_server_that_comes_back_empty_or_older_is_filled(own_server, is_saved):
    history, reader, view = FakeHistory(2), Reader(), View(own_server)
    relay = relay_on(own_server, history)
    shards = list(history.by_id)
    for n in range(40):
        relay.relay([history.put(shards[n % 2])])
    if is_saved:
        client_of(own_server).save()
    for n in range(40):
        relay.relay([history.put(shards[n % 2])])
        if n == 10:
            reader.read(view)
    restarts = own_server.restarts
    own_server.kill()
    wait_until(lambda: own_server.restarts > restarts)
    child, _ = history.reshard(shards[0], children=2)
    history.put(shards[1])  # waits in the stream until another shard's record arrives
    relay.relay([history.put(child)])
    reader.read(view)
    assert reader.gaps == []
    for shard in history.by_id.values():
        mine = [e.sequence for e in reader.received if e.shard_id == shard.shard_id]
        assert mine == [a.sequence for a in shard.arrivals]


class View:
    """A real server as `Reader` looks at it."""

    def __init__(self, server):
        self._server = server

    @property
    def origin(self):
        return client_of(self._server).get(KEYS.origin)

    @property
    def entries(self):
        return entries_in(self._server)


@needs_redis
def test_records_are_put_while_the_server_is_killed_again_and_again(own_server):
    history, reader, view = FakeHistory(), Reader(), View(own_server)
    [shard_id] = history.by_id
    relay, over = relay_on(own_server, history), threading.Event()

    def kill():
        while not over.is_set():
            restarts = own_server.restarts
            own_server.kill()
            wait_until(lambda seen=restarts: own_server.restarts > seen or over.is_set())
            over.wait(0.3)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for n in range(60):
            batch = [history.put(shard_id, b"%d" % n) for _ in range(5)]
            deadline = time.monotonic() + 30
            while not repeated(relay, batch):
                assert time.monotonic() < deadline
    finally:
        over.set()
        killer.join()
    wait_until(lambda: repeated(relay, batch), 30)
    reader.read(view)
    assert reader.gaps == []
    assert [e.sequence for e in reader.received] == [
        a.sequence for a in history.by_id[shard_id].arrivals
    ]
    assert own_server.restarts > 0


def repeated(relay, batch):
    """Retry as the event source does: whether the batch was accepted."""
    import redis

    try:
        relay.relay(batch)
    except (redis.RedisError, NotRelayedError):
        return False
    return True


@needs_redis
def test_a_handler_that_fails_halfway_appends_the_rest_the_next_time(server):
    history = FakeHistory()
    [shard_id] = history.by_id
    batch = [history.put(shard_id, b"x" * 300_000) for _ in range(9)]  # three chunks
    relay = relay_on(server, history)
    make_whole(relay.stream)
    calls = []

    class HalfWay:
        def append(self, entries, origin=""):
            calls.append(entries)
            if len(calls) == 2:
                raise ConnectionError("gone")
            return relay.stream.append(entries, origin)

    broken = Relay(**{**vars(relay), "stream": HalfWay()})
    with pytest.raises(ConnectionError):
        broken.relay(batch)
    assert 0 < len(entries_in(server)) < len(batch)
    relay.relay(batch)
    assert [e.sequence for e in entries_in(server)] == [a.sequence for a in batch]


@needs_redis
def test_any_bytes_arrive_as_they_were_put(server):
    datas = [b"", b"{", b"\xff\xfe\x00", b'{"a":1}', "ü".encode(), os.urandom(1 << 20), b"\r\n$5"]
    packed = [("key-a", b"\x00"), ("key-ü", b"{}"), ("key-a", b"")]
    broken = aggregate(packed)[:-1] + b"!"
    history = FakeHistory()
    [shard_id] = history.by_id
    batch = [history.put(shard_id, data, 5) for data in [*datas, aggregate(packed), broken]]
    relay_on(server, history).relay(batch)
    found = entries_in(server)
    assert [hashlib.sha256(e.data).digest() for e in found] == [
        hashlib.sha256(data).digest() for data in [*datas, *(data for _, data in packed), broken]
    ]
    assert [e.partition_key for e in found[len(datas) : -1]] == [key for key, _ in packed]
    assert [e.subsequence for e in found] == [0] * len(datas) + [1, 2, 3, 0]
    assert {e.arrived_at for e in found} == {5}
    assert found[0].sequence == batch[0].sequence >= 10**55


@needs_redis
def test_the_feed_is_capped_and_says_where_it_begins(server):
    history = FakeHistory()
    [shard_id] = history.by_id
    relay = relay_on(server, history, max_records=200)
    for _ in range(10):
        relay.relay([history.put(shard_id) for _ in range(100)])
    found = entries_in(server)
    assert 200 <= len(found) < 400
    assert found[0].is_gap(Position(history.by_id[shard_id].arrivals[0].sequence, 0))
    assert not found[0].is_gap(found[0].previous)


@needs_redis
def test_the_scripts_are_loaded_again_where_they_were_forgotten(server):
    stream = stream_of(server)
    make_whole(stream)
    client_of(server).script_flush()
    assert stream.append([entry(1)]) == 1


@needs_redis
def test_a_wrong_password_is_an_error_and_no_loss(server):
    import redis

    url = server.url(f"127.0.0.1:{server.port}", STREAM).replace(server.password, "wrong")
    stream = RedisStream(redis_client(FanoutUrl.parse(url)), STREAM, 10)
    with pytest.raises(redis.AuthenticationError):
        stream.append([entry(1)])


@needs_redis
def test_over_tls_the_certificate_is_checked(tmp_path, monkeypatch):
    import redis

    authority = Authority(tmp_path)
    certificate, key = authority.issue(tmp_path, addresses=())
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = [f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}"]
    settings.append("tls-auth-clients no")
    server = RedisServer(tmp_path, {}, settings="\n".join(settings))
    server.start()
    try:
        url = server.url(f"localhost:{port}", STREAM).replace("redis://", "rediss://")
        with pytest.raises(redis.ConnectionError, match="certificate"):
            make_whole(RedisStream(redis_client(FanoutUrl.parse(url)), STREAM, 10))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        make_whole(RedisStream(redis_client(FanoutUrl.parse(url)), STREAM, 10))
        stranger = redis_client(FanoutUrl.parse(url.replace("localhost", "127.0.0.1")))
        with pytest.raises(redis.ConnectionError):
            make_whole(RedisStream(stranger, STREAM, 10))
    finally:
        server.stop()


@needs_redis
def test_the_server_ends_with_its_owner_and_tells_nobody_its_password(own_server, tmp_path):
    pid = own_server._process.pid
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        assert own_server.password.encode() not in file.read()
    for path in tmp_path.rglob("*"):
        assert own_server.password.encode() not in path.read_bytes()
    own_server.stop()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        pytest.fail("it still runs")
