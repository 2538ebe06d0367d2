"""A client without path or key requests `/healthz?ping` without end.

Goal: make the container send its client more than the attacker sends, take the client's place, or
block the port for others. Reach: any number of connections; neither path nor key.
"""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.test_session_admission import ORIGIN
from tests.session_process import SessionProcess, until

REQUEST = b"GET /healthz?ping HTTP/1.1\r\nHost: x\r\n\r\n"
PING, PONG = 0x9, 0xA
ASKED_AT_ONCE = 60


class RawClient:
    """A websocket client that counts pings and answers them, or does not."""

    def __init__(self, session, *, answers):
        self.pings, self._answers = 0, answers
        self.socket = socket.create_connection(("127.0.0.1", session.port), 10)
        path = "/" + session.url.split("/", 3)[3]
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        self._stream = self.socket.makefile("rb")
        assert b"101" in self._stream.readline()
        while self._stream.readline() not in {b"\r\n", b""}:
            pass
        self.is_open = True
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while head := self._stream.read(2):
                length = head[1] & 0x7F
                if length == 126:
                    length = int.from_bytes(self._stream.read(2))
                data = self._stream.read(length)
                if head[0] & 0xF == PING:
                    self.pings += 1
                    if self._answers:
                        self.socket.sendall(bytes([0x80 | PONG, 0x80 | length, 0, 0, 0, 0]) + data)
        except (OSError, ValueError):
            pass
        self.is_open = False

    def close(self):
        self.socket.close()


def ask(session, request=REQUEST):
    """Returns the answer to a request without key; nothing where the connection was closed for
    another one.
    """
    with socket.create_connection(("127.0.0.1", session.port), 20) as stranger:
        try:
            stranger.sendall(request)
            return b"".join(iter(lambda: stranger.recv(4096), b""))
        except ConnectionError:
            return b""


def ask_many(session, count):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(session), range(count)))


@pytest.fixture
def session():
    with SessionProcess(RECONNECT_GRACE_SECONDS=60, ALLOWED_ORIGINS=ORIGIN) as session:
        yield session.until_ready()


def test_strangers_at_once_make_one_ping_for_a_client_that_is_silent(session):
    client = RawClient(session, answers=False)
    until(lambda: session.health()[1]["connected"], "connected")
    answers = ask_many(session, ASKED_AT_ONCE)
    answered = [answer for answer in answers if answer]
    assert answered
    assert all(b'"connected": false' in answer for answer in answered)
    assert client.pings <= 3, "one for all who wait for it; some of them came a little later"
    client.close()


def test_a_client_that_answers_stays_and_gets_less_than_was_asked(session):
    client = RawClient(session, answers=True)
    until(lambda: session.health()[1]["connected"], "connected")
    answers = ask_many(session, ASKED_AT_ONCE)
    answered = [answer for answer in answers if answer]
    assert answered
    assert all(b'"connected": true' in answer for answer in answered)
    assert client.pings <= ASKED_AT_ONCE
    assert client.is_open
    client.close()


def test_while_strangers_wait_for_a_ping_others_are_served(session):
    client = RawClient(session, answers=False)
    until(lambda: session.health()[1]["connected"], "connected")
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(ask, session) for _ in range(40)]
        plain = ask(session, REQUEST.replace(b"?ping", b""))
        assert b" 200 " in plain
        for each in waiting:
            each.result()
    client.close()
