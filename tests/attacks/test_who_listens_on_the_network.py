"""An attacker on the network between a browser and a container reads its bytes, or answers in its
place.

Goal: the secret path of a session, what it sends, its client. Reach: all bytes that pass. A page on
https, which may open wss alone, gets to a container itself, and through the router.
"""

import socket
import ssl
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from websockets.sync.client import connect

from infra.deploy.__main__ import ROOT, declared_parameters
from infra.deploy.access import describe_access
from tests.browser.conftest import ARGUMENTS, TIMEOUT_MS, running_browser
from tests.certificates import Authority
from tests.needs import chromium_path, needs_chromium, needs_nginx
from tests.router import KEY, Router
from tests.session_process import CallbackServer, SessionProcess, until

ID = "6d6cf8ce-0000-4000-8000-000000000000"
VISIT = """async (url) => {
    const library = await import(url.replace(/^wss:/, "https:") + "/client.js");
    return await new Promise((resolve) => {
        const connection = library.connect(url, {
            onHello: (hello) => { resolve(hello); window.leave = () => connection.close(); },
            onClose: (end) => resolve(end),
        });
    });
}"""


class Site:
    """An https origin with an empty page, and a dispatcher that returns one container's address."""

    def __init__(self, files):
        self.address = None
        self.asked = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/route":
                    site.asked.append(self.headers)
                self.send_response(200 if self.path in {"/", "/route"} else 404)
                self.send_header("Content-Type", "text/html")
                if self.path == "/route":
                    self.send_header("X-Usher-Address", site.address)
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>a page</title>")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.origin = f"https://localhost:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def files(tmp_path, authority):
    return authority.issue(tmp_path, "127.0.0.1")  # nginx compares names alone, not addresses


@pytest.fixture
def site(files):
    with Site(files) as site:
        yield site


@pytest.fixture
def browser():
    """Ends with the test: a fixture of package scope would outlive this file."""
    with running_browser() as browser:
        yield browser


@pytest.fixture
def secure_page(browser, authority):
    """A page of a browser that trusts the test's authority and no other unknown one."""
    trust = f"--ignore-certificate-errors-spki-list={authority.pin}"
    trusting = browser.browser_type.launch(
        executable_path=chromium_path(), args=[*ARGUMENTS, trust]
    )
    page = trusting.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    yield page
    trusting.close()


def port_of(session):
    return session.url.split(":")[2].split("/")[0]


@needs_chromium
def test_a_page_on_https_comes_to_the_container_itself(secure_page, site, files):
    certificate, key = files
    tls = {"TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key, "ALLOWED_ORIGINS": site.origin}
    with CallbackServer() as callbacks, SessionProcess(callbacks=callbacks, **tls) as session:
        until(lambda: callbacks.types == ["ready"], "ready")
        secure_page.goto(site.origin)
        url = f"wss://localhost:{port_of(session)}/{session.uuid}"
        hello = secure_page.evaluate(VISIT, url)
        assert hello["type"] == "hello"
        secure_page.evaluate("window.leave()")
        assert session.exit_code() == 0


@needs_chromium
@needs_nginx
def test_a_page_on_https_comes_through_the_router(secure_page, site, files, tmp_path):
    with (
        CallbackServer() as callbacks,
        SessionProcess(callbacks=callbacks, ALLOWED_ORIGINS=site.origin) as session,
        Router(tmp_path, site.origin.replace("localhost", "127.0.0.1"), files) as router,
    ):
        until(lambda: callbacks.types == ["ready"], "ready")
        site.address = f"127.0.0.1:{port_of(session)}"
        secure_page.goto(site.origin)
        url = f"wss://localhost:{router.port}/{ID}/{session.uuid}"
        hello = secure_page.evaluate(VISIT, url)
        assert hello["type"] == "hello"
        secure_page.evaluate("window.leave()")
        assert session.exit_code() == 0
    for headers in site.asked:
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert headers["X-Session-Id"] == ID
        assert headers["X-Session-Path"] == f"/{session.uuid}"
        assert "Cookie" not in headers


class Listener:
    """A proxy between a client and a port of the loopback; records all bytes."""

    def __init__(self, port):
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.received = bytearray()

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.close()

    def _serve(self):
        client, _ = self._server.accept()
        container = socket.create_connection(("127.0.0.1", self._target))
        for here, there in ((client, container), (container, client)):
            threading.Thread(target=self._pass_on, args=(here, there), daemon=True).start()

    def _pass_on(self, here, there):
        while data := here.recv(65_536):
            self.received += data
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_listener_learns_the_path_and_the_data_of_a_session_with_ws_alone(
    scheme, authority, files
):
    certificate, key = files
    tls = {"TLS_CERT_FILE": certificate, "TLS_KEY_FILE": key} if scheme == "wss" else {}
    context = ssl.create_default_context(cafile=authority.file) if tls else None
    with CallbackServer() as callbacks, SessionProcess(callbacks=callbacks, **tls) as session:
        until(lambda: callbacks.types == ["ready"], "ready")
        with Listener(int(port_of(session))) as listener:
            url = f"{scheme}://localhost:{listener.port}/{session.uuid}"
            with connect(url, ssl=context, compression=None) as websocket:
                assert '"hello"' in websocket.recv(timeout=10)
        assert session.exit_code() == 0
        learns = [word in listener.received for word in (session.uuid.encode(), b'"hello"')]
    assert learns == [scheme == "ws"] * 2


def test_who_answers_in_a_containers_place_is_not_believed(authority, files, tmp_path):
    """An attacker's certificate for the right name, by an authority that clients do not trust."""
    folder = tmp_path / "attacker"
    folder.mkdir()
    with Site(Authority(folder).issue(folder, "127.0.0.1")) as attacker:
        url = f"{attacker.origin.replace('https', 'wss')}/{ID}"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(url, ssl=ssl.create_default_context(cafile=authority.file))
    assert attacker.asked == []


def parameters_of(stage):
    file = ROOT / "infra" / "stages" / f"{stage}.toml"
    return tomllib.loads(file.read_text("utf-8"))["parameters"]


def test_clear_text_is_never_chosen_unsaid_and_prod_is_prepared_for_wss():
    assert "Default" not in declared_parameters()["SessionUrlTemplate"]
    assert parameters_of("prod")["SessionUrlTemplate"].startswith("wss://")
    assert parameters_of("dev")["SessionUrlTemplate"].startswith("ws://")
    said = "\n".join(
        describe_access({"AuthMode": "iam"} | parameters_of("dev"), declared_parameters())
    )
    assert "CLEAR TEXT" in said
