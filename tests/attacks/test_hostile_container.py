"""A session's container, taken over, attacks the dispatcher that requests its health.

Goal: delay the sweep, or make the dispatcher's function send requests to addresses of the
attacker's choice. Reach: what it answers on its own port, and the texts of its callbacks.
"""

import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from chalicelib.ecs.task_changes import OURS, parse_task
from chalicelib.jobs.requests import parse_finish, parse_progress
from chalicelib.sessions import probes, reaping
from chalicelib.sessions.probes import ask_all
from chalicelib.sessions.requests import parse_callback
from chalicelib.tasks import probe
from chalicelib.tasks.probe import Found
from tests.certificates import Authority
from tests.unit.chalicelib.test_lifecycle import APP, RUNNING, START, until
from usher.child_messages import progress_line, progress_of

Answer = Callable[..., None]


@pytest.fixture
def hostile() -> Iterator[Callable[..., str]]:
    """Start a server that sends the test's answer: `hostile(answer)` returns its URL.

    With `reads_request` the answer is a function of the client's first bytes.
    """
    servers = []

    def start(answer: Answer, *, reads_request: bool = False) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        received = connection.recv(4096)
                        answer(*([connection, received] if reads_request else [connection]))

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/healthz"

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


class Clock:
    """In the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def whole(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> Answer:
    length = f"\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return lambda connection: connection.sendall(head + length + body)


CONNECTED = json.dumps({"connected": True}).encode()


def test_an_honest_answer_counts(hostile):
    assert probe.probe(hostile(whole(CONNECTED))) is Found.CONNECTED
    assert probe.probe(hostile(whole(b'{"connected": false}'))) is Found.ALONE
    assert probe.probe(hostile(whole(b"{}"))) is Found.ALONE
    over = whole(b"{}", b"HTTP/1.1 503 Over")
    assert probe.probe(hostile(over)) is Found.OVER


def test_a_port_that_nobody_listens_on_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert probe.probe(f"http://127.0.0.1:{port}/healthz") is Found.REFUSED


HEAD = b"HTTP/1.1 200 OK\r\n"
LONG = b"Content-Length: 600000\r\n\r\n"


@pytest.mark.parametrize("at_once", [b"", HEAD, HEAD + LONG], ids=["status", "fields", "body"])
def test_an_answer_byte_by_byte_ends_at_the_deadline(hostile, monkeypatch, at_once):
    monkeypatch.setattr(probe, "TIMEOUT_SECONDS", 0.3)
    sent = []

    def drip(connection: socket.socket) -> None:
        connection.sendall(at_once)
        for byte in (HEAD + b"X: y\r\n" * 100_000)[len(at_once) :]:
            connection.sendall(bytes([byte]))
            sent.append(byte)
            threading.Event().wait(0.05)

    assert probe.probe(hostile(drip)) is Found.SILENT
    assert len(sent) < 1000  # an answer that is read to its end has 600,000


def test_a_handshake_byte_by_byte_ends_at_the_deadline(hostile, monkeypatch, tmp_path):
    """The greeting of a session with TLS of its own, from a real server."""
    monkeypatch.setattr(probe, "TIMEOUT_SECONDS", 0.3)
    certificate, key = Authority(tmp_path).issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    sent = []

    def drip(connection: socket.socket, hello: bytes) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(hello)
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        flight = outgoing.read()
        assert len(flight) > 500
        for byte in flight:
            connection.sendall(bytes([byte]))
            sent.append(byte)
            threading.Event().wait(0.05)

    url = hostile(drip, reads_request=True).replace("http:", "https:")
    assert probe.probe(url) is Found.SILENT
    assert 0 < len(sent) < 500


class SlowConnection:
    """Every step on it takes 0.4 s of the clock; its time-out must be the rest of the deadline."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.deadline = clock, clock.now + probe.TIMEOUT_SECONDS
        self.timeout: float | None = None
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        assert self.timeout is not None
        assert self.timeout <= self.deadline - self.clock.now, name
        self.steps.append(name)
        self.clock.now += 0.4

    def connect(self, _: object, timeout: float) -> "SlowConnection":
        self.timeout = timeout
        self.step("connect")
        return self

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def wrap_socket(self, _: object) -> "SlowConnection":
        self.step("handshake")
        return self

    def sendall(self, _: bytes) -> None:
        self.step("send")

    def recv(self, _: int) -> bytes:
        self.step("receive")
        return b"x"

    def close(self) -> None:
        self.steps.append("close")


def test_a_deadline_is_one_for_all_parts_of_an_answer(monkeypatch):
    """Each part arrives before a time-out that restarts with each part would expire."""
    clock = Clock()
    slow = SlowConnection(clock)
    monkeypatch.setattr(probe, "time", clock)
    monkeypatch.setattr(probe.socket, "create_connection", slow.connect)
    monkeypatch.setattr(ssl, "_create_unverified_context", lambda: slow)
    assert probe.probe("https://192.0.2.1:8080/healthz") is Found.SILENT
    assert slow.steps == ["connect", "handshake", "send", "receive", "receive", "close"]


def test_an_answer_that_is_too_large_is_none(hostile):
    body = json.dumps({"connected": True, "more": "x" * probe.MAX_ANSWER_BYTES}).encode()
    assert probe.probe(hostile(whole(body))) is Found.SILENT


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_container_that_takes_the_connection_and_says_nothing_is_silent(
    hostile, monkeypatch, scheme
):
    monkeypatch.setattr(probe, "TIMEOUT_SECONDS", 0.3)
    url = hostile(lambda connection: connection.recv(1)).replace("http:", f"{scheme}:")
    assert probe.probe(url) is Found.SILENT


def test_a_full_queue_of_connections_is_silence(monkeypatch):
    """The server accepts no connection and the kernel sends no answer: connecting lasts until the
    deadline.
    """
    monkeypatch.setattr(probe, "TIMEOUT_SECONDS", 0.3)
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(3):
            each = waiting.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(address)
        assert probe.probe(f"http://127.0.0.1:{address[1]}/healthz") is Found.SILENT


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("first", [b"", HEAD], ids=["at once", "in the middle"])
def test_a_connection_that_is_reset_is_no_proof_that_nobody_listens(hostile, first, scheme):
    """A process listens there. A reset connection is not a refused one."""

    def reset(connection: socket.socket) -> None:
        connection.sendall(first)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    found = probe.probe(hostile(reset).replace("http:", f"{scheme}:"))
    assert found is Found.SILENT
    assert not found.is_gone


def test_a_redirect_is_not_followed(hostile):
    asked = []

    def target(connection: socket.socket) -> None:
        asked.append(time.monotonic())
        whole(CONNECTED)(connection)

    url = hostile(target)
    for status in (301, 302, 303, 307, 308):
        head = f"HTTP/1.1 {status} Found\r\nLocation: {url}".encode()
        assert probe.probe(hostile(whole(CONNECTED, head))) is Found.SILENT
    assert asked == []


@pytest.mark.parametrize(
    "answer", [b"", b"\x00" * 100, b"HTTP/1.1 200 OK\r\n\r\n[" * 3, b"x" * 200_000,
               b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
               b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 50_000],
    ids=["nothing", "zeros", "half", "long", "negative", "deep"],
)  # fmt: skip
def test_nonsense_is_no(hostile, answer):
    found = probe.probe(hostile(lambda connection: connection.sendall(answer)))
    assert found is not Found.CONNECTED
    assert not found.is_gone


TEXTS = {
    "half a pair": "\ud800",
    "the other half": "\udfff\ud800",
    "a pair in halves": "\ud83d\ude00",
    "NUL": "a\0b",
    "escape": "\x1b[2J",
    "C1 control": "\x9b2J",
    "right to left": "\u202ecod.exe\u2066",
    "many marks": "e" + "\u0301" * 5_000,
    "byte order marks": "\ufeff\ufffe",
    "no characters": "\uffff\U0010ffff",
    "half a pair where it is cut": "x" * 499 + "\U0001f600",
    "pairs around the cut": "\U0001f600" * 5_000,
}
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
MESSAGE = {"process": "12345678", "message": ""}
FINISH = {"process": "12345678", "outcome": "failed", "exitCode": 1}
TASK = {"taskArn": "arn", "version": 1, "lastStatus": "STOPPED", "desiredStatus": "STOPPED"}


def of_container(reason):
    return TASK | {"containers": [{"name": name, "reason": reason} for name in OURS]}


PLACES = {
    "detail of a callback": lambda t: parse_callback({"type": "failed", "detail": t})[1],
    "its reason": lambda t: parse_callback({"type": "failed", "reason": t, "detail": t})[1],
    "progress": lambda t: parse_progress(MESSAGE | {"message": t})[2],
    "end of a run": lambda t: parse_finish(FINISH | {"detail": t}).detail,
    "reason of ECS": lambda t: parse_task(TASK | {"stoppedReason": t}).why_stopped,
    "of a container": lambda t: parse_task(of_container(t)).stop_texts,
    "line of a job's child": lambda t: json.loads(progress_line(progress_of(0.5, t)))["message"],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_cannot_be_stored_is_replaced(place, text):
    """Wherever a text of a container or of ECS is stored, logged or shown."""
    stored = PLACES[place](TEXTS[text])
    assert stored
    assert len(stored) <= 1_000
    assert stored.encode().decode() == stored
    assert not UNFIT.search(stored)


def test_many_bad_containers_cost_one_deadline_together(hostile, monkeypatch):
    monkeypatch.setattr(probe, "TIMEOUT_SECONDS", 0.5)
    urls = [hostile(lambda connection: connection.recv(1)) for _ in range(12)]
    good = hostile(whole(CONNECTED))
    begun = time.monotonic()
    answers = ask_all(probe.probe, [*urls, good])
    assert time.monotonic() - begun < 12 * 0.5 / 2
    assert answers == dict.fromkeys(urls, Found.SILENT) | {good: Found.CONNECTED}


def test_beyond_the_bound_of_a_sweep_nobody_is_asked_nor_stopped_for_it(monkeypatch):
    monkeypatch.setattr(probes, "PROBES_SECONDS", 0.1)
    over = threading.Event()
    answers = ask_all(lambda url: over.wait(20) or url == "never", ["a", "b", *map(str, range(50))])
    over.set()
    assert answers == {}


def test_a_container_is_asked_once_however_often_its_address_comes():
    asked = []
    assert ask_all(lambda url: asked.append(url) is None, ["a", "a", "b"]) == {"a": True, "b": True}
    assert sorted(asked) == ["a", "b"]


@pytest.mark.parametrize("elsewhere", [{"host_port": 49_154}, {"container_instance_arn": "other"},
                                       {"last_status": "DEPROVISIONING"}])  # fmt: skip
def test_what_runs_at_another_address_than_the_tasks_own_is_not_asked(elsewhere):
    """Another owner's container may have the address; its answer would keep the session alive."""
    session = until(*START)
    assert session.connect_by is not None
    task = replace(RUNNING, version=session.task_version, **elsewhere)

    def plan(now: float) -> list[object]:
        return list(reaping.plan_reaping([session], {task.task_arn: task}, {"chat": APP}, now))

    assert plan(session.connect_by + 60) == []
    (stop,) = plan(session.connect_by + reaping.UNASKED_SECONDS + 1)
    assert isinstance(stop, reaping.Stop)
