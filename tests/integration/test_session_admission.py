"""Requests to a session container: clients without the path get the same 404, one client is
accepted.
"""

import asyncio
import os
import random
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.session_client import answer_to, get, handshake, hello_of, reconnect, take, take_bye
from tests.session_process import SessionProcess, until

ORIGIN = "https://page.example"


@pytest.fixture(scope="module")
def lasting():
    """A session without a feed that outlives the clients which are refused."""
    with SessionProcess(RECONNECT_GRACE_SECONDS=600, ALLOWED_ORIGINS=ORIGIN) as session:
        yield session.until_ready()


# Which requests are accepted


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
