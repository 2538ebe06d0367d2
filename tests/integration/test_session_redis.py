"""The session container on the fan-out feed: a real server behind it, which is lost and
restarted.
"""

import json
import random
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from chalicelib.contract.fanout import Entry
from tests.certificates import Authority
from tests.needs import needs_redis
from tests.redis_feed import FIRST_SEQUENCE, FeedWriter, RedisProcess, free_port
from tests.session_process import CallbackServer, SessionProcess, until


@pytest.fixture(scope="module")
def server():
    with RedisProcess() as server:
        yield server


@pytest.fixture
def writer(server):
    """A stream of its own for each test."""
    name = f"updates-{random.randrange(10**9)}"
    writer = FeedWriter(server, name, shards=2)
    writer.url = server.url(name)
    return writer


def receive(websocket, kind, seconds=20):
    message = json.loads(websocket.recv(seconds))
    assert message["type"] == kind, message
    return message


def take(websocket, count, seconds=20):
    """Receive until `count` records have arrived; returns them and the last cursor."""
    records, cursor = [], None
    while len(records) < count:
        message = receive(websocket, "records", seconds)
        records += message["records"]
        cursor = message["cursor"]
    assert len(records) == count
    return records, cursor


@contextmanager
def connected(feed_url, cursor="", **environment):
    """A session of its own, and its greeted client."""
    with SessionProcess(FEED_URL=feed_url, **environment) as session:
        url = session.until_ready().url + (f"?cursor={cursor}" if cursor else "")
        with connect(url, max_size=None, max_queue=1) as websocket:
            receive(websocket, "hello")
            yield session, websocket


def numbers(records):
    return [record["data"]["n"] for record in records]


@needs_redis
def test_a_session_streams_without_any_aws(writer):
    writer.put({"too": "early"}, "a")
    with (
        CallbackServer() as callbacks,
        SessionProcess(callbacks=callbacks, FEED_URL=writer.url) as session,
    ):
        with connect(session.until_ready().url) as websocket:
            assert receive(websocket, "hello")["cursor"].startswith("1~t")
            number = writer.put({"price": 1}, "a", arrived_at=1_800_000_000_123)
            writer.put(b"\xff", "ü")
            records, _ = take(websocket, 2)
            assert session.health()[1]["feed"] == {
                "kind": "redis",
                "shards": 1,
                "lagSeconds": 0.0,
                "errors": [],
            }
        assert session.exit_code() == 0
        assert "the-password" not in session.log
    assert records[0] == {
        "data": {"price": 1},
        "partitionKey": "a",
        "sequenceNumber": number,
        "arrivedAt": 1_800_000_000_123,
    }
    assert (records[1]["data"], records[1]["partitionKey"]) == ({"base64": "/w=="}, "ü")
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]


@needs_redis
def test_whatever_the_bytes_are_they_arrive(writer):
    with connected(writer.url) as (_, websocket):
        for data in (b"", b"NaN", b"\xff\xfe", b'{"a":1}', json.dumps("x" * 2**20).encode()):
            writer.put(data, "key")
        data = [record["data"] for record in take(websocket, 5)[0]]
    assert data[:3] == [{"base64": ""}, {"base64": "TmFO"}, {"base64": "//4="}]
    assert (data[3], len(data[4])) == ({"a": 1}, 2**20)


@needs_redis
def test_a_cursor_goes_on_in_another_container_inside_an_aggregated_record(writer):
    shard = next(iter(writer.last))
    parts = [
        Entry(
            shard, FIRST_SEQUENCE, part, None, f"key-{part}", 1_800_000_000_000, b'{"n":%d}' % part
        )
        for part in range(1, 60)
    ]
    with connected(writer.url) as (_, websocket):
        writer.append(parts[:20])
        first, cursor = take(websocket, 20)
    writer.append(parts[20:])
    with connected(writer.url, cursor) as (_, websocket):
        rest, _ = take(websocket, 39)
    assert numbers(first + rest) == list(range(1, 60))


@needs_redis
def test_what_was_trimmed_is_told(writer):
    with connected(writer.url) as (_, websocket):
        writer.put({"n": 0}, "a")
        _, cursor = take(websocket, 1)
    writer.max_records = 5
    for number in range(1, 21):
        writer.put({"n": number}, "a")
    with connected(writer.url, cursor) as (_, websocket):
        gap = receive(websocket, "gap")
        records, _ = take(websocket, 5)
    assert gap["shards"] == ["shardId-000000000001"]
    assert numbers(records) == [16, 17, 18, 19, 20]


@needs_redis
@pytest.mark.parametrize("everything_is_lost", [True, False])
def test_a_server_that_is_killed_and_comes_back_costs_nothing(everything_is_lost):
    with RedisProcess() as server:
        writer = FeedWriter(server, shards=2)
        keys = writer.keys
        with connected(server.url()) as (session, websocket):
            for number in range(50):
                writer.put({"n": number}, f"key-{number % 3}")
            seen, _ = take(websocket, 50)
            kept = None
            if not everything_is_lost:
                kept = server.connect().call("DUMP", keys.records)
            server.stop()
            until(lambda: session.health()[1]["feed"]["errors"], "the loss in /healthz")
            assert session.health()[0] == 200
            server.start()
            if kept:
                # The entries are restored, as from a replica, but not all of them.
                connection = server.connect()
                connection.call("RESTORE", keys.records, "0", kept)
                for entry_id, _ in connection.call("XRANGE", keys.records, "-", "+")[30:]:
                    connection.call("XDEL", keys.records, entry_id)
                writer.connection = connection
                again, writer.history = writer.history[30:], writer.history[:30]
                writer.last = dict.fromkeys(writer.last)
                for entry in writer.history:
                    writer.last[entry.shard_id] = entry.position
                    position = str(entry.position)
                    connection.call("HSET", keys.last, entry.shard_id, position)
                writer.begin()
                writer.append(again)
            else:
                writer.fill_again()
            for number in range(50, 100):
                writer.put({"n": number}, f"key-{number % 3}")
            seen += take(websocket, 50)[0]
            assert not session.health()[1]["feed"]["errors"]
            session.terminate()
    for key in range(3):
        of_key = [n for n in numbers(seen) if n % 3 == key]
        assert of_key == sorted(of_key)
    assert sorted(numbers(seen)) == list(range(100))


@needs_redis
def test_a_client_that_comes_while_the_server_is_away_is_greeted_and_served_later():
    with RedisProcess() as server:
        writer = FeedWriter(server)
        with SessionProcess(FEED_URL=server.url()) as session:
            session.until_ready()
            server.stop()
            with connect(session.url) as websocket:
                assert receive(websocket, "hello")["cursor"]
                server.start()
                writer.fill_again()
                writer.put({"n": 1})
                assert numbers(take(websocket, 1)[0]) == [1]


@needs_redis
def test_a_wrong_password_fails_the_start_and_is_not_told(server):
    url = server.url().replace("the-password", "a-secret")
    with (
        CallbackServer() as callbacks,
        SessionProcess(callbacks=callbacks, FEED_URL=url) as session,
    ):
        assert session.exit_code() == 1
        assert "WRONGPASS" in session.log
        assert "a-secret" not in session.log
    assert callbacks.types == ["failed"]
    assert "WRONGPASS" in callbacks.accepted[0]["detail"]


@needs_redis
def test_tls_is_spoken_and_strangers_certificates_are_not_believed(tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue(tmp_path)
    tls_port = free_port()
    files = (f"tls-cert-file {certificate}", f"tls-key-file {key}", "tls-auth-clients no")
    with RedisProcess(f"tls-port {tls_port}", *files) as server:
        writer = FeedWriter(server)
        url = server.url().replace("redis://", "rediss://").replace(str(server.port), str(tls_port))
        with connected(url, SSL_CERT_FILE=authority.file) as (_, websocket):
            writer.put({"n": 1})
            assert numbers(take(websocket, 1)[0]) == [1]
        with SessionProcess(FEED_URL=url) as session:
            until(lambda: "CERTIFICATE_VERIFY_FAILED" in session.log, "the refusal")
            assert not session.health()[1]["ready"]


@needs_redis
def test_a_slow_client_costs_neither_memory_nor_records(writer):
    with connected(writer.url) as (session, websocket):
        for number in range(1_200):
            writer.put({"n": number, "x": "y" * 50_000})
        before = session.resident_mib()
        until(lambda: "too slow" in session.log, "the client is found too slow", 60)
        assert session.resident_mib() < max(before, 60)
        seen, cursor, bye = [], None, None
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - received until then
            while True:
                message = json.loads(websocket.recv(40))
                bye = message if message["type"] == "bye" else None
                cursor = message["cursor"]
                seen += message.get("records", [])
        assert (bye["reason"], closed.value.rcvd.code) == ("slow_client", 1013)
    assert 0 < len(seen) < 1_200
    with connected(writer.url, cursor) as (_, websocket):
        seen += take(websocket, 1_200 - len(seen))[0]
    assert numbers(seen) == list(range(1_200))
