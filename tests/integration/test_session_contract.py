"""The contract of session containers in any language; and the client library with both."""

import json
import signal
import socket
import ssl
import subprocess
import threading
import urllib.request
from contextlib import ExitStack, suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from session_handler import server
from tests.certificates import Authority
from tests.needs import needs_node
from tests.session_process import ROOT, SessionProcess, until

NODE_CONTAINER = ROOT / "tests" / "containers" / "node" / "server.js"

ECHO_APP = """
from session_handler.app import SessionApp

class Echo(SessionApp):
    async def on_start(self, session):
        self.session = session

    async def on_message(self, message):
        await self.session.send({**message, "echo": True})
"""


@pytest.fixture(params=["python", needs_node.parameter("node")])
def start(request, tmp_path):
    """Starts a session container that echoes app messages."""
    (tmp_path / "echo.py").write_text(ECHO_APP)

    def start(callbacks, **environment):
        if request.param == "node":
            environment["command"] = ["node", str(NODE_CONTAINER)]
        else:
            environment |= {"SESSION_APP": "echo:Echo", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
        return SessionProcess(callbacks=callbacks, **environment)

    return start


def receive(websocket):
    return json.loads(websocket.recv(10))


def test_a_session_from_ready_to_disconnect(start, callbacks):
    with start(callbacks) as session:
        with connect(session.until_ready().url) as websocket:
            hello = receive(websocket)
            assert (hello["type"], hello["session"]) == ("hello", "the-id")
            websocket.send(json.dumps({"type": "app", "text": "ä" * 500}))
            assert receive(websocket) == {"type": "app", "text": "ä" * 500, "echo": True}
            assert session.health()[1]["connected"] is True
            with pytest.raises(InvalidStatus) as refused:
                connect(session.url)
            assert refused.value.response.status_code == 409
        assert session.exit_code() == 0
    assert callbacks.types == ["ready", "connected", "disconnected", "stopping"]


def test_sigterm(start, callbacks):
    with start(callbacks) as session:
        with connect(session.until_ready().url) as websocket:
            receive(websocket)
            session.terminate()
            assert receive(websocket)["reason"] == "stopped"
            with pytest.raises(ConnectionClosed) as closed:
                websocket.recv(10)
        assert closed.value.rcvd.code == 1001
        assert session.exit_code() == 0
    assert callbacks.accepted[-1] == {"type": "stopping", "reason": "stopped"}


def test_a_client_that_never_comes(start, callbacks):
    with start(callbacks, CONNECT_DEADLINE_SECONDS="0.3") as session:
        assert session.exit_code() == 0
    assert callbacks.accepted[-1]["reason"] == "never_connected"


def test_strangers(start, callbacks):
    with start(callbacks, ALLOWED_ORIGINS="https://page.example") as session:
        with pytest.raises(InvalidStatus) as refused:
            connect(session.until_ready().url[:-1] + "x")
        assert refused.value.response.status_code == 404
        with pytest.raises(InvalidStatus) as refused:
            connect(session.url, origin="https://evil.example")
        assert refused.value.response.status_code == 403


CLIENT_TEST = """
const [, , url, script] = process.argv;
const { connect, version } = await import(script);
const seen = [];
const session = connect(url, {
  onHello: (hello) => { seen.push(["hello", hello.session]); session.send({ text: "ping" }); },
  onMessage: (message) => { seen.push(["app", message.text, message.echo]); session.close(); },
  onRecords: (records, cursor) => seen.push(["records", records.length, cursor]),
  onBye: (bye) => seen.push(["bye", bye.reason]),
  onClose: ({ code }) => {
    console.log(JSON.stringify({ version, seen, code, state: session.state }));
  },
});
seen.push(["state", session.state]);
"""


@needs_node
def test_the_client_library_served_by_a_session_works_with_it(start, callbacks, tmp_path):
    with start(callbacks) as session:
        session.until_ready()
        script = tmp_path / "client.mjs"
        http_url = session.url.replace("ws:", "http:")
        with urllib.request.urlopen(f"{http_url}/client.js", timeout=10) as response:
            assert response.headers["Content-Type"].startswith("text/javascript")
            script.write_bytes(response.read())
        (tmp_path / "test.mjs").write_text(CLIENT_TEST)
        help_text = subprocess.run(
            ["node", "--help"], capture_output=True, text=True, check=True
        ).stdout
        flags = ["--experimental-websocket"] * ("--experimental-websocket" in help_text)
        done = subprocess.run(
            ["node", *flags, "--no-warnings", tmp_path / "test.mjs", session.url, script],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["seen"] == [
            ["state", "connecting"],
            ["hello", "the-id"],
            ["app", "ping", True],
        ]
        assert (result["code"], result["state"]) == (1000, "closed")
        assert session.exit_code() == 0


def test_wss_with_a_certificate_of_its_own(tmp_path, callbacks):
    authority = Authority(tmp_path)
    certificate, key = authority.issue(tmp_path)
    context = ssl.create_default_context(cafile=authority.file)
    with SessionProcess(
        callbacks=callbacks, TLS_CERT_FILE=certificate, TLS_KEY_FILE=key
    ) as session:
        until(lambda: callbacks.types == ["ready"], "ready")
        with connect(session.url.replace("ws:", "wss:"), ssl=context) as websocket:
            assert receive(websocket)["type"] == "hello"
        assert session.exit_code() == 0


HANDSHAKE = (
    "GET /{uuid} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HEALTH = b"GET /healthz HTTP/1.1\r\n\r\n"


def answer(line: socket.socket, request: bytes = b"") -> bytes:
    line.sendall(request)
    return line.recv(12)


@pytest.mark.parametrize("encrypted", [False, True], ids=["ws", "wss"])
def test_a_request_that_came_in_time_is_answered_however_late_the_container_runs(
    tmp_path, encrypted
):
    """On a busy machine a container may stand still for longer than a handshake may take. Four
    connections in four phases of theirs, and one stop: TCP alone, accepted, half a request sent,
    and opened while the container stands still.
    """
    files = {}
    tls = None
    if encrypted:
        authority = Authority(tmp_path)
        certificate, key = authority.issue(tmp_path)
        files = {"TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key}
        tls = ssl.create_default_context(cafile=authority.file)

    def wrapped(line: socket.socket) -> socket.socket:
        line.settimeout(20)
        return tls.wrap_socket(line, server_hostname="127.0.0.1") if tls else line

    with SessionProcess(**files) as session, ExitStack() as lines:

        def connected() -> socket.socket:
            return lines.enter_context(socket.create_connection(("127.0.0.1", session.port)))

        bare, accepted, half = connected(), wrapped(connected()), wrapped(connected())
        half.sendall(HEALTH[:9])
        last = wrapped(connected())
        last.sendall(HEALTH)
        assert last.recv(8) == b"HTTP/1.1"  # so those before were accepted, and read
        session.process.send_signal(signal.SIGSTOP)
        late = connected()
        accepted.sendall(HANDSHAKE.format(uuid=session.uuid).encode())
        half.sendall(HEALTH[9:])
        threading.Event().wait(server.HANDSHAKE_SECONDS + 0.5)
        session.process.send_signal(signal.SIGCONT)
        assert answer(accepted) == b"HTTP/1.1 101"
        assert answer(half) == b"HTTP/1.1 200"
        assert answer(wrapped(late), HEALTH) == b"HTTP/1.1 200"
        assert answer(wrapped(bare), HEALTH) == b"HTTP/1.1 200"


def test_who_sends_half_a_request_is_not_waited_for(callbacks):
    with SessionProcess(callbacks=callbacks) as session:
        with socket.create_connection(("127.0.0.1", session.port)) as line:
            line.sendall(b"GET /heal")
            line.settimeout(20)
            with suppress(ConnectionResetError):
                assert line.recv(1) == b""
        assert session.until_ready().health()[0] == 200
