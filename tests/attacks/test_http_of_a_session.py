"""A client without the path sends unusual HTTP to a session's port.

Goal: no answer at all, a crash, the place of the client, or a path that is found without its UUID.
Reach: any bytes. The same file shows that proxies and old clients get a standard answer.
"""

import pytest

from session_handler.gate import Admit, Gate, Health, Request, origin_form
from session_handler.server import refuse_head
from tests.session_client import answer_to
from tests.session_process import SessionProcess

HOST = b"Host: x\r\n"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.fixture(scope="module")
def session():
    with SessionProcess(RECONNECT_GRACE_SECONDS=600) as process:
        yield process.until_ready()


def path_of(session: SessionProcess) -> bytes:
    return ("/" + session.url.split("/", 3)[3]).encode()


def status_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n")[0].split(b" ")[1] if answer else b"no answer"


@pytest.mark.parametrize(
    "version", [b"12", b"8", b"0", b"14", b"13, 12", b"", b"13\r\nSec-WebSocket-Version: 8"]
)
def test_another_version_of_the_protocol_is_told_which_one_is_understood(session, version):
    head = b"GET " + path_of(session) + b" HTTP/1.1\r\n" + HOST + UPGRADE
    answer = answer_to(session.port, head + b"Sec-WebSocket-Version: " + version + b"\r\n\r\n")
    assert status_of(answer) == b"426"
    headers = answer.lower().partition(b"\r\n\r\n")[0]
    assert b"sec-websocket-version: 13" in headers
    assert b"upgrade: websocket" in headers


def test_no_version_at_all_is_told_too(session):
    head = b"GET " + path_of(session) + b" HTTP/1.1\r\n" + HOST + UPGRADE
    assert status_of(answer_to(session.port, head + b"\r\n")) == b"426"


def test_the_version_tells_strangers_nothing_about_paths(session):
    head = b"GET /6b4c0b6e-0000-4000-8000-000000000000 HTTP/1.1\r\n" + HOST + UPGRADE
    answer = answer_to(session.port, head + b"Sec-WebSocket-Version: 12\r\n\r\n")
    assert status_of(answer) == b"404"


def test_http_1_0_gets_plain_answers_and_no_websocket(session):
    assert status_of(answer_to(session.port, b"GET /healthz HTTP/1.0\r\n\r\n")) == b"200"
    assert status_of(answer_to(session.port, b"GET /other HTTP/1.0\r\n\r\n")) == b"404"
    head = b"GET " + path_of(session) + b" HTTP/1.0\r\n" + UPGRADE
    answer = answer_to(session.port, head + b"Sec-WebSocket-Version: 13\r\n\r\n")
    assert status_of(answer) == b"505"


@pytest.mark.parametrize(("line", "status"), [
    (b"GET /healthz HTTP/2.0", b"505"), (b"GET /healthz HTTP/0.9", b"505"),
    (b"GET /healthz", b"400"), (b"GET  /healthz HTTP/1.1", b"400"),
    (b"GET /healthz HTTP/1", b"400"),
    (b"GET /healthz http/1.1", b"400"), (b"GET /a b HTTP/1.1", b"400"),
    (b"GET /\xff HTTP/1.1", b"400"),
    (b"GET /\x00 HTTP/1.1", b"400"), (b"GET HTTP/1.1", b"400"), (b"GET * HTTP/1.1", b"404"),
])  # fmt: skip
def test_every_request_line_has_an_answer(session, line, status):
    assert status_of(answer_to(session.port, line + b"\r\n" + HOST + b"\r\n")) == status


def test_a_target_in_absolute_form_is_the_same_place(session):
    base = b"http://any.example:1"
    for target, status in ((b"/healthz", b"200"), (b"/other", b"404"), (b"", b"404")):
        head = b"GET " + base + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"
        assert status_of(answer_to(session.port, head)) == status
    head = b"GET " + base + path_of(session) + b" HTTP/1.1\r\n" + HOST + UPGRADE
    answer = answer_to(session.port, head + b"Sec-WebSocket-Version: 12\r\n\r\n")
    assert status_of(answer) == b"426"


@pytest.mark.parametrize(("target", "place"), [
    ("/a?b", "/a?b"), ("http://h/a?b", "/a?b"), ("HTTPS://h:1/a", "/a"), ("http://h", "/"),
    ("http://h?x", "/?x"), ("ws://h/a", "/a"), ("ftp://h/a", "ftp://h/a"), ("*", "*"), ("", ""),
    ("/a?u=http://h/b", "/a?u=http://h/b"), ("//h/a", "//h/a"), ("http:///healthz", "/healthz"),
])  # fmt: skip
def test_origin_form(target, place):
    assert origin_form(target) == place


def test_only_the_very_path_is_admitted_in_absolute_form():
    gate = Gate("the-uuid", None)

    def decide(target: str) -> object:
        return gate.decide(Request(target, (), True), is_occupied=False, is_over=False)

    assert decide("http://h/the-uuid") == Admit(None)
    assert isinstance(decide("http://h/healthz"), Health)
    for target in (
        "http://the-uuid",
        "http://h//the-uuid",
        "ftp://h/the-uuid",
        "http://h/?/the-uuid",
    ):
        assert not isinstance(decide(target), Admit)


def test_what_is_not_whole_yet_is_waited_for():
    assert refuse_head(b"GET /healthz HTTP/9") is None
