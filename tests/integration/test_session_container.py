"""The session container as a real process: a fake Kinesis behind it, a dispatcher to call back."""

import asyncio
import json
import os
import random
import signal
import socket
import struct
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.kinesis_server import FakeKinesis
from tests.kpl import aggregate
from tests.session_process import CallbackServer, SessionProcess, until

ORIGIN = "https://page.example"


@pytest.fixture
def kinesis():
    with FakeKinesis() as kinesis:
        yield kinesis


@pytest.fixture
def callbacks():
    with CallbackServer() as callbacks:
        yield callbacks


@pytest.fixture
def session(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks) as session:
        yield session.until_ready()


@pytest.fixture(scope="module")
def lasting():
    """A session without a feed that outlives the clients which are refused."""
    with SessionProcess(RECONNECT_GRACE_SECONDS=600, ALLOWED_ORIGINS=ORIGIN) as session:
        yield session.until_ready()


def hello_of(websocket):
    message = json.loads(websocket.recv(10))
    assert message["type"] == "hello", message
    return message


def take(websocket, count):
    """Receive until `count` records came; returns them and the last message's cursor."""
    records, cursor = [], None
    while len(records) < count:
        message = json.loads(websocket.recv(20))
        assert message["type"] == "records", message
        records += message["records"]
        cursor = message["cursor"]
    assert len(records) == count
    return records, cursor


def take_bye(websocket):
    """Receive to the end; returns the bye and the close code."""
    bye = None
    try:
        while True:
            message = json.loads(websocket.recv(40))
            if message["type"] == "bye":
                bye = message
    except ConnectionClosed as closed:
        return bye, closed.rcvd.code if closed.rcvd else None


def answer_to(port, data, half_close=False):
    """Send raw bytes; returns all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        try:
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(65_536):
                answer += piece
        except ConnectionError:
            return b""
        return answer


def get(session, path, **headers):
    request = urllib.request.Request(
        f"http://127.0.0.1:{session.port}{path}", headers={"Connection": "close", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


# A session's life


def test_a_session_streams_what_is_put_and_exits_when_its_client_goes(kinesis, callbacks, session):
    kinesis.put({"too": "early"})
    with connect(session.url) as websocket:
        hello = hello_of(websocket)
        assert hello.pop("cursor").startswith("1~t")
        assert hello == {
            "type": "hello",
            "session": "the-id",
            "app": "listings",
            "revision": "listings:7",
            "feed": "kinesis",
            "graceSeconds": 0.0,
        }
        number = kinesis.put({"price": 1}, "a")
        kinesis.put(b"\xff", "ü")
        records, _ = take(websocket, 2)
    assert records[0].pop("arrivedAt") > 1_600_000_000_000
    assert records[0] == {"data": {"price": 1}, "partitionKey": "a", "sequenceNumber": number}
    assert records[1]["data"] == {"base64": "/w=="}
    assert records[1]["partitionKey"] == "ü"
    assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "disconnected"}
    assert {post[2] for post in callbacks.posts} == {"Bearer the-key"}


def test_a_waiting_session_reads_nothing(kinesis, session):
    assert session.health() == (
        200,
        {
            "status": "waiting",
            "ready": True,
            "connected": False,
            "feed": {"kind": "kinesis", "shards": 1, "lagSeconds": 0.0, "errors": []},
        },
    )
    assert set(kinesis.calls) == {"ListShards"}


def test_health_tells_that_the_client_is_there_and_nothing_secret(session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        status, health = session.health()
        assert (status, health["connected"]) == (200, True)
        assert session.uuid not in json.dumps(health)
        assert "the-key" not in json.dumps(health)


def test_a_client_that_never_comes_ends_the_session(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, CONNECT_DEADLINE_SECONDS="0.3") as session:
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "stopping"]
    assert callbacks.accepted[-1]["reason"] == "never_connected"


def test_a_session_ends_at_its_maximum_age(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, MAX_SESSION_SECONDS="2") as session:
        with connect(session.until_ready().url) as websocket:
            bye, code = take_bye(websocket)
        assert session.exit_code() == 0
    assert (bye["reason"], code) == ("expired", 1001)
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "expired"}


def test_sigterm_says_bye_closes_with_1001_and_exits_0(kinesis, callbacks, session):
    with connect(session.url) as websocket:
        cursor = hello_of(websocket)["cursor"]
        session.terminate()
        bye, code = take_bye(websocket)
    assert bye == {"type": "bye", "reason": "stopped", "cursor": cursor}
    assert code == 1001
    assert session.exit_code() == 0
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "stopped"}


def test_sigterm_at_any_moment_of_the_start_exits_0():
    for _ in range(5):
        with SessionProcess() as session:
            session.terminate() if random.random() < 0.5 else session.port and session.terminate()
            assert session.exit_code() in {0, -signal.SIGTERM}


def test_sigkill_is_an_abnormal_close_for_the_client(session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        session.process.kill()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(10)
    assert closed.value.rcvd is None


def test_a_missing_stream_fails_the_start(kinesis, callbacks):
    kinesis.stream, there = "other", kinesis.stream
    with SessionProcess(kinesis, callbacks, FEED_URL=f"kinesis://{there}") as session:
        assert session.exit_code() == 1
        assert "ResourceNotFoundException" in session.log
    assert callbacks.types == ["failed"]
    assert there in callbacks.accepted[0]["detail"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"FEED_URL": "redis://host:6379"}, "must be redis://HOST:PORT/STREAM"),
        ({"FEED_URL": "amqp://host"}, "FEED_URL must be"),
        ({"SESSION_APP": "no_such_module:App"}, "no_such_module"),
        ({"SESSION_APP": "json:JSONDecoder"}, "not a subclass"),
        ({"TLS_CERT_FILE": "/nowhere.pem", "TLS_KEY_FILE": "/nowhere.pem"}, "cannot listen"),
    ],
)
def test_a_wrong_configuration_fails_the_start_and_says_why(callbacks, variables, words):
    with SessionProcess(callbacks=callbacks, **variables) as session:
        assert session.exit_code() == 1
    assert callbacks.types == ["failed"]
    assert words in callbacks.accepted[0]["detail"]


def test_a_wrong_environment_lists_every_problem_and_exits_2():
    with SessionProcess(SESSION_UUID="x", SESSION_PORT="y", CALLBACK_URL="z") as session:
        assert session.exit_code() == 2
        for name in ("SESSION_UUID", "SESSION_PORT", "CALLBACK_URL"):
            assert name in session.log


def test_kinesis_may_be_late_at_the_start(kinesis, callbacks):
    kinesis.fail("ListShards", "InternalFailure", times=2, status=500)
    with SessionProcess(kinesis, callbacks) as session:
        until(lambda: callbacks.types == ["ready"], "ready")
        assert session.health()[0] == 200


def test_callbacks_are_repeated_in_order_until_acknowledged(kinesis):
    with (
        CallbackServer(statuses=[500, 429, 503]) as callbacks,
        SessionProcess(kinesis, callbacks) as session,
    ):
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
            until(lambda: callbacks.types == ["ready", "connected"], "both callbacks")
        assert session.exit_code() == 0
        assert [post[3]["type"] for post in callbacks.posts[:4]] == ["ready"] * 4


@pytest.mark.parametrize("never", [401, 404, 409])
def test_a_refused_callback_is_not_repeated_and_changes_nothing(kinesis, never):
    with (
        CallbackServer(statuses=[never]) as callbacks,
        SessionProcess(kinesis, callbacks) as session,
    ):
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
        assert session.exit_code() == 0
        assert [post[3]["type"] for post in callbacks.posts].count("ready") == 1
        assert callbacks.types == ["connected", "disconnected", "stopping"]


def test_without_its_dispatcher_the_session_goes_on(kinesis):
    with SessionProcess(
        kinesis, CALLBACK_URL="http://127.0.0.1:1/events", SESSION_KEY="key"
    ) as session:
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
            kinesis.put({"n": 1})
            take(websocket, 1)
        assert session.exit_code() == 0


# Who gets in


def test_all_strangers_get_the_same_404(lasting):
    wrong_uuid = "/" + "0" * 8 + lasting.uuid[8:]
    paths = ["/", wrong_uuid, f"{wrong_uuid}/client.js", f"/{lasting.uuid}/", "/x" * 900]
    answers = {(s, tuple(h.items()), b) for s, h, b in (get(lasting, path) for path in paths)}
    assert len(answers) == 1
    assert answers.pop()[0] == 404
    with pytest.raises(InvalidStatus) as refused:
        connect(lasting.url[:-1] + "x")
    assert refused.value.response.status_code == 404


def test_the_client_library_is_served_for_this_session_alone(lasting):
    status, headers, body = get(lasting, f"/{lasting.uuid}/client.js", Origin=ORIGIN)
    assert status == 200
    assert headers["Content-Type"].startswith("text/javascript")
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Cache-Control" in headers
    assert b"export function connect" in body
    status, headers, _ = get(lasting, f"/{lasting.uuid}/client.js", Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/healthz", "/", "/UUID"])
def test_other_methods_get_405(lasting, method, path):
    path = path.replace("UUID", lasting.uuid)
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    answer = answer_to(lasting.port, request.encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET" in answer


def test_a_bad_origin_is_refused_and_no_origin_passes(lasting):
    with pytest.raises(InvalidStatus) as refused:
        connect(lasting.url, origin="https://evil.example")
    assert refused.value.response.status_code == 403
    with connect(lasting.url, origin=ORIGIN) as websocket:
        hello_of(websocket)
    until(lambda: not lasting.health()[1]["connected"], "no client is connected")
    with connect(lasting.url) as websocket:
        assert hello_of(websocket)["cursor"] is None
    until(lambda: not lasting.health()[1]["connected"], "no client is connected")


@pytest.mark.parametrize("cursor", ["x", "1~", "2~h.a", "1~h.a~h.a", "1~zz.a", "%ff", "1" * 7001])
def test_a_garbage_cursor_is_refused_with_the_reason(lasting, cursor):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{lasting.url}?cursor={cursor}")
    assert refused.value.response.status_code == 400
    assert b"cursor" in refused.value.response.body


def test_a_second_client_is_refused_while_the_first_lives(session):
    with connect(session.url) as first:
        hello_of(first)
        for _ in range(3):
            with pytest.raises(InvalidStatus) as refused:
                connect(session.url)
            assert refused.value.response.status_code == 409
        first.ping().wait(10)
    assert session.exit_code() == 0


def test_of_many_clients_at_once_one_gets_in(session):
    async def race():
        sockets = await asyncio.gather(
            *(connect_async(session.url) for _ in range(20)), return_exceptions=True
        )
        opened = [s for s in sockets if not isinstance(s, BaseException)]
        statuses = {s.response.status_code for s in sockets if isinstance(s, InvalidStatus)}
        assert (len(opened), statuses) == (1, {409})
        await opened[0].close()

    asyncio.run(race())
    assert session.exit_code() == 0


# Hostile and unlucky clients


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", 1003),
        ("no json", 1007),
        ("[]", 1008),
        ('{"type":"hello"}', 1008),
        ("[" * 60_000, 1007),
        ('{"type":"app","x":"' + "y" * 70_000 + '"}', 1009),
    ],
)
def test_what_the_contract_does_not_know_closes_the_websocket(session, frame, code):
    with connect(session.url) as websocket:
        hello_of(websocket)
        websocket.send(frame)
        bye, closed = take_bye(websocket)
    assert closed == code
    assert code == 1009 or bye["reason"] == "disconnected"
    assert session.exit_code() == 0


def handshake(session, extra=""):
    return (
        f"GET /{session.uuid} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def test_huge_requests_are_refused(lasting):
    for head in (
        b"GET /" + b"a" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(4_000)),
    ):
        assert b" 431 " in answer_to(lasting.port, head).partition(b"\r\n")[0]
    assert lasting.health()[0] == 200


def test_half_open_sockets_are_bounded_and_keep_nobody_out(lasting):
    sockets = [socket.create_connection(("127.0.0.1", lasting.port)) for _ in range(300)]
    try:
        for sock in sockets[::2]:
            sock.sendall(b"GET /")
        assert lasting.health()[0] == 200
        with connect(lasting.url) as websocket:
            hello_of(websocket)
        # All of them are closed by the other side, the last after the handshake's time limit.
        for sock in sockets:
            sock.settimeout(20)
            try:
                assert sock.recv(100) == b""
            except ConnectionError:
                continue
    finally:
        for sock in sockets:
            sock.close()
    until(lambda: not lasting.health()[1]["connected"], "no client is connected")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.one_of(
        st.binary(min_size=1, max_size=2_000),
        st.tuples(
            st.sampled_from(
                [b"GET ", b"GET / HTTP/1.1\r\n", b"POST ", b"\x16\x03\x01", b"\r\n\r\n"]
            ),
            st.binary(max_size=500),
        ).map(b"".join),
    )
)
def test_junk_on_the_socket_never_harms(lasting, junk):
    answer = answer_to(lasting.port, junk, half_close=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert lasting.process.poll() is None


def test_what_does_not_wait_for_the_handshake_is_refused(lasting):
    answer = answer_to(lasting.port, handshake(lasting) + b"\x89\x80abcd")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_junk_after_the_handshake_never_harms(lasting):
    junk = random.Random(7)
    for _ in range(60):
        until(lambda: not lasting.health()[1]["connected"], "no client is connected")
        with socket.create_connection(("127.0.0.1", lasting.port), timeout=20) as sock:
            sock.sendall(handshake(lasting))
            assert sock.recv(1_000).startswith(b"HTTP/1.1 101 ")
            try:
                sock.sendall(junk.randbytes(junk.randrange(1, 400)))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65_536):
                    pass
            except ConnectionError:
                continue
    assert lasting.health()[0] == 200
    assert not any("Traceback" in line for line in lasting.lines), lasting.log


def test_a_thousand_connects_and_disconnects_leak_nothing(lasting):
    def open_files():
        return len(os.listdir(f"/proc/{lasting.process.pid}/fd"))

    for _ in range(50):
        reconnect(lasting)
    before = (open_files(), lasting.resident_mib())
    for _ in range(1_000):
        reconnect(lasting)
    until(lambda: open_files() <= before[0], "all sockets are closed")
    assert lasting.resident_mib() < before[1] + 2


def reconnect(session):
    """Connect and go without a goodbye; like a client, wait until the old connection is gone."""

    def opened():
        with socket.create_connection(("127.0.0.1", session.port), timeout=10) as sock:
            sock.sendall(handshake(session))
            answer = sock.recv(1_000)
            # A reset instead of a close: what a vanished client looks like.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b" 101 " in answer

    until(opened, "a connection")


def test_a_client_that_does_not_answer_pings_is_given_up(callbacks):
    pings = {"PING_INTERVAL_SECONDS": "0.2", "PING_TIMEOUT_SECONDS": "0.2"}
    with (
        SessionProcess(callbacks=callbacks, **pings) as session,
        socket.create_connection(("127.0.0.1", session.until_ready().port)) as sock,
    ):
        sock.sendall(handshake(session))
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]


@pytest.mark.parametrize("setting", ["none", "deflate"])
def test_compression_is_agreed_on_only_where_it_was_asked_for(kinesis, setting):
    with (
        SessionProcess(kinesis, COMPRESSION=setting) as session,
        connect(session.until_ready().url, compression="deflate") as websocket,
    ):
        agreed = websocket.response.headers.get("Sec-WebSocket-Extensions", "")
        assert ("permessage-deflate" in agreed) is (setting == "deflate")
        hello_of(websocket)
        kinesis.put({"text": "much the same " * 500})
        assert take(websocket, 1)[0][0]["data"]["text"].startswith("much the same")


def test_a_plain_request_for_the_websocket_is_told_to_upgrade(lasting):
    status, _, _ = get(lasting, f"/{lasting.uuid}")
    assert status == 426


# Drops and resuming


def test_within_the_grace_the_same_container_goes_on(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, RECONNECT_GRACE_SECONDS=30) as session:
        url = session.until_ready().url
        with connect(url) as websocket:
            hello_of(websocket)
            kinesis.put({"n": 0})
            _, cursor = take(websocket, 1)
        until(lambda: session.health()[1]["status"] == "grace", "the grace")
        kinesis.put({"n": 1})
        with connect(url) as websocket:
            assert hello_of(websocket)["cursor"] == cursor
            kinesis.put({"n": 2})
            records, _ = take(websocket, 2)
            assert [r["data"]["n"] for r in records] == [1, 2]
            session.terminate()
            take_bye(websocket)
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "stopping"]


def test_clients_that_come_and_go_at_once_are_greeted_once_each(kinesis):
    with SessionProcess(kinesis, RECONNECT_GRACE_SECONDS=30) as session:
        session.until_ready()
        for _ in range(30):
            reconnect(session)

        def connected():
            try:
                return connect(session.url)
            except InvalidStatus:
                return None

        with until(connected, "a connection") as websocket:
            hello_of(websocket)
            kinesis.put({"n": 1})
            message = json.loads(websocket.recv(10))
            assert message["type"] == "records"


def test_a_client_that_talks_before_it_is_greeted_and_goes_ends_the_session(kinesis):
    kinesis.fail("GetShardIterator", "InternalFailure", times=100, status=500)
    with SessionProcess(kinesis) as session:
        with connect(session.until_ready().url) as websocket:
            websocket.send('{"type":"app"}')
        assert session.exit_code() == 0


def test_after_the_grace_the_session_is_over(kinesis, callbacks):
    with SessionProcess(kinesis, callbacks, RECONNECT_GRACE_SECONDS="0.3") as session:
        with connect(session.until_ready().url) as websocket:
            hello_of(websocket)
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]


def test_a_cursor_goes_on_in_another_container_without_loss_or_doubling(kinesis):
    kinesis.split("shardId-000000000000")
    seen, cursor = [], None
    dice = random.Random(3)
    total = 0
    for drop in range(12):
        with SessionProcess(kinesis) as session:
            url = session.until_ready().url + (f"?cursor={cursor}" if cursor else "")
            with connect(url) as websocket:
                cursor = hello_of(websocket)["cursor"]
                burst = dice.randrange(0, 40)
                for number in range(total, total + burst):
                    kinesis.put({"n": number}, f"key-{number % 7}")
                total += burst
                # Leave in the middle: take some of what is there, the rest comes later.
                for _ in range(dice.randrange(0, 3) if drop else 0):
                    if len(seen) >= total:
                        break
                    message = json.loads(websocket.recv(20))
                    seen += message["records"]
                    cursor = message["cursor"]
        if drop in {3, 6, 9}:
            open_shards = [s.shard_id for s in kinesis.shards.values() if not s.is_closed]
            if drop == 6:
                kinesis.merge(*open_shards[:2])
            else:
                kinesis.split(open_shards[0])
    with (
        SessionProcess(kinesis) as session,
        connect(f"{session.until_ready().url}?cursor={cursor}") as websocket,
    ):
        hello_of(websocket)
        if total > len(seen):
            seen += take(websocket, total - len(seen))[0]
    numbers = [record["data"]["n"] for record in seen]
    assert sorted(numbers) == list(range(total))
    for key in range(7):
        of_key = [n for n in numbers if n % 7 == key]
        assert of_key == sorted(of_key)


# Kinesis


def test_aggregated_records_come_apart_and_are_resumed_inside(kinesis):
    pairs = [(f"key-{n % 3}", json.dumps({"n": n, "x": "y" * 9_000}).encode()) for n in range(30)]
    first, last = aggregate(pairs[:20]), aggregate(pairs[20:])
    cursor, seen = "1~h.shardId-000000000000", []
    kinesis.put(first)
    kinesis.put(last)
    while len(seen) < 30:
        with SessionProcess(kinesis) as session:
            url = f"{session.until_ready().url}?cursor={cursor}"
            with connect(url, max_size=None) as websocket:
                hello_of(websocket)
                message = json.loads(websocket.recv(20))
                seen += message["records"]
                cursor = message["cursor"]
    assert [record["data"]["n"] for record in seen] == list(range(30))
    assert [record["partitionKey"] for record in seen] == [key for key, _ in pairs]


def test_answers_too_large_to_take_are_asked_for_in_parts(kinesis, session):
    kinesis.answer_bytes = float("inf")
    for _ in range(60):
        kinesis.put({"x": "y" * 1_000_000})
    url = f"{session.url}?cursor=1~h.shardId-000000000000"
    with connect(url, max_size=None) as websocket:
        hello_of(websocket)
        take(websocket, 60)


def test_resharding_keeps_the_order_of_every_key(kinesis, session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        number = 0
        for step in range(6):
            for _ in range(50):
                kinesis.put({"n": number}, f"key-{number % 5}")
                number += 1
            open_shards = [s.shard_id for s in kinesis.shards.values() if not s.is_closed]
            if step % 3 == 2:
                kinesis.merge(*open_shards[:2])
            else:
                kinesis.split(open_shards[0])
        records, cursor = take(websocket, number)
    numbers = [record["data"]["n"] for record in records]
    for key in range(5):
        of_key = [n for n in numbers if n % 5 == key]
        assert of_key == sorted(of_key)
    assert sorted(numbers) == list(range(number))
    assert len(cursor) < 1_000


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ProvisionedThroughputExceededException", 400),
        ("InternalFailure", 500),
        ("ExpiredTokenException", 400),
        ("hang up", 0),
    ],
)
def test_errors_of_kinesis_show_as_lag_and_pass(kinesis, session, code, status):
    with connect(session.url) as websocket:
        hello_of(websocket)
        kinesis.fail("GetRecords", code, times=3, status=status)
        until(lambda: session.health()[1]["feed"]["errors"], "the error in /healthz")
        kinesis.put({"n": 1})
        records, _ = take(websocket, 1)
        until(lambda: not session.health()[1]["feed"]["errors"], "recovery in /healthz")
    assert records[0]["data"] == {"n": 1}


def test_expired_iterators_are_renewed_where_reading_was(kinesis, session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        for number in range(4):
            kinesis.put({"n": number})
            records, _ = take(websocket, 1)
            assert records[0]["data"] == {"n": number}
            kinesis.expire_iterators()


def test_a_deleted_stream_ends_the_session_with_the_reason(kinesis, callbacks, session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        kinesis.delete()
        bye, code = take_bye(websocket)
    assert (bye["reason"], code) == ("feed_failed", 1011)
    assert session.exit_code() == 1
    assert callbacks.accepted[-1]["reason"] == "feed_failed"


def test_history_that_is_gone_is_told(kinesis):
    kinesis.split("shardId-000000000000")
    with SessionProcess(kinesis) as session:
        cursor = "1~5-0.shardId-000000000000"
        kinesis.put({"n": 1})
        kinesis.expire_shard("shardId-000000000000")
        with connect(f"{session.until_ready().url}?cursor={cursor}") as websocket:
            hello_of(websocket)
            gap = json.loads(websocket.recv(10))
            records, _ = take(websocket, 1)
    assert (gap["type"], gap["shards"]) == ("gap", ["shardId-000000000000"])
    assert records[0]["data"] == {"n": 1}


def test_throttled_sessions_share_a_shard_and_miss_nothing():
    with FakeKinesis(reads_per_second=5) as kinesis:
        sessions = [SessionProcess(kinesis) for _ in range(6)]
        try:
            with ExitStack() as stack:
                urls = [session.until_ready().url for session in sessions]
                sockets = [stack.enter_context(connect(url)) for url in urls]
                for websocket in sockets:
                    hello_of(websocket)
                for number in range(30):
                    kinesis.put({"n": number})
                for websocket in sockets:
                    records, _ = take(websocket, 30)
                    assert [r["data"]["n"] for r in records] == list(range(30))
            for session in sessions:
                assert session.exit_code() == 0
        finally:
            for session in sessions:
                session.__exit__()


# Slow clients


@pytest.fixture(scope="module")
def stalled():
    """Sessions whose clients take nothing, all at once: it takes ten seconds to be found slow."""
    names = ["to stop", "to read on"]
    with ExitStack() as stack:
        kinesis = stack.enter_context(FakeKinesis())
        for _ in range(1_500):
            kinesis.put({"x": "y" * 50_000})
        found = {}
        for name in names:
            callbacks = stack.enter_context(CallbackServer())
            session = stack.enter_context(SessionProcess(kinesis, callbacks)).until_ready()
            url = f"{session.url}?cursor=1~h.shardId-000000000000"
            websocket = connect(url, max_queue=1, max_size=None, close_timeout=1)
            stack.enter_context(websocket)
            hello_of(websocket)
            found[name] = kinesis, callbacks, session, websocket
        yield found


def test_a_slow_goodbye_does_not_delay_a_stop(stalled):
    _, _, session, _ = stalled["to stop"]
    until(lambda: "too slow" in session.log, "the client is found too slow", 60)
    session.terminate()
    assert session.exit_code(8) == 0


def test_a_slow_client_is_sent_away_with_its_cursor_at_bounded_memory(stalled):
    kinesis, callbacks, session, websocket = stalled["to read on"]
    until(lambda: "too slow" in session.log, "the client is found too slow", 60)
    assert session.resident_mib() < 120
    received, last = 0, None
    bye = None
    try:
        while True:
            message = json.loads(websocket.recv(40))
            if message["type"] == "bye":
                bye = message
            else:
                received += len(message["records"])
                last = message["cursor"]
    except ConnectionClosed as closed:
        code = closed.rcvd.code
    assert code == 1013
    assert (bye["reason"], bye["cursor"]) == ("slow_client", last)
    assert received < 1_500
    assert session.exit_code(60) == 0
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "slow_client"}
    with (
        SessionProcess(kinesis) as again,
        connect(f"{again.until_ready().url}?cursor={last}", max_size=None) as websocket,
    ):
        hello_of(websocket)
        take(websocket, 1_500 - received)
