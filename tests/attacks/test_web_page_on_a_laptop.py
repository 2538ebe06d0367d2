"""A web page attacks the developer who has `make run` open.

Attacker: the author of any page that is open in a browser on the same machine, its host name under
the attacker's control (DNS rebinding). Goal: run a command, start containers, read data. Reach:
every port that listens on loopback, through fetch, forms, websockets and navigation.
"""

import contextlib
import http.client
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import page, running_browser  # noqa: F401 - a fixture
from tests.integration.conftest import RunningCloud, finish, launch, processes_of
from tests.needs import chromium_path, needs_chromium, needs_docker, needs_redis

LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
LOOPBACK = "127.0.0.1"
LOOPBACK_HEX = f"{int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder):08X}"
FOREIGN = "http://attacker.example"
CALLERS_OF_PAGES = [
    {"Origin": FOREIGN},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"},
]


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>attacker</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with this file: a fixture of package scope would outlive it."""
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def other_page() -> Iterator[str]:
    """The origin of a page that another program on this machine serves."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def friend() -> str:
    """An origin that `--allowed-origin` names; nothing needs to listen there."""
    return "http://localhost:4321"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, friend: str) -> Iterator[RunningCloud]:
    running = launch(
        tmp_path_factory.mktemp("runs"),
        pool=1,
        feed_engine="auto",
        allowed_origin=friend,
        allowed_host="devbox.example",
    )
    yield running
    finish(running)


def ask(
    port: int, method: str, path: str, headers: dict[str, str], body: str = ""
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send one request; `Host` is the loopback name and the port unless `headers` has another."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode() or None)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def ports_of(cloud: RunningCloud) -> dict[int, str]:
    """Every TCP port that a process of the run listens on, with its local address."""
    sockets = set()
    for pid in {*processes_of(cloud.run_id), cloud.process.pid}:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):  # closed in between
                sockets.add(os.readlink(descriptor))
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and f"socket:[{words[9]}]" in sockets:
                address, _, port = words[1].partition(":")
                found[int(port, 16)] = LOOPBACK if address == LOOPBACK_HEX else address
    return found


def session_ports(cloud: RunningCloud) -> set[int]:
    return {
        binding["hostPort"]
        for task in cloud.tasks(stopped=True)
        for container in task["containers"]
        for binding in container.get("networkBindings", [])
    }


def http_ports(cloud: RunningCloud) -> dict[str, int]:
    """Returns the HTTP ports of the machine's own processes, by name."""
    listening = set(ports_of(cloud))
    known = {"dispatcher": port_of(cloud.dispatcher), "aws": port_of(cloud.aws)}
    rest = listening - set(known.values()) - session_ports(cloud)
    for port in rest:
        try:
            if ask(port, "GET", "/2015-03-31/functions", {})[0] == 200:
                known["invoke"] = port
        except (http.client.HTTPException, ConnectionError):
            continue
    return known


REQUESTS = {
    "dispatcher": [
        ("GET", "/session"),
        ("POST", "/session"),
        ("GET", "/jobs"),
        ("PUT", "/jobs/evil"),
        ("POST", "/jobs/evil/invocations"),
        ("PUT", "/schedules/evil"),
        ("OPTIONS", "/session"),
        ("OPTIONS", "/jobs/evil"),
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/"),
    ],
    "aws": [
        ("POST", "/"),
        ("GET", "/_local/state"),
        ("POST", "/_local/fire"),
        ("PUT", "/_local/auto-scaling"),
        ("POST", "/_local/hosts/host-1/interrupt"),
        ("GET", "/v4/x-0/task"),
        ("GET", "/v2/credentials/x"),
    ],
    "invoke": [
        ("GET", "/2015-03-31/functions"),
        ("POST", "/2015-03-31/functions/sweep/invocations"),
    ],
}


def test_every_port_that_listens_is_on_loopback_and_known(cloud):
    """A port that is missing from REQUESTS would not be attacked by any test."""
    listening = ports_of(cloud)
    assert set(listening.values()) == {"127.0.0.1"}
    known = http_ports(cloud)
    assert set(known) == set(REQUESTS)
    rest = set(listening) - set(known.values()) - session_ports(cloud)
    if cloud.ready["feed"] == "redis":
        assert len(rest) == 1, listening
    else:
        assert rest == set()


@pytest.mark.parametrize("headers", CALLERS_OF_PAGES, ids=str)
@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_what_a_foreign_page_sends_is_refused_by_every_port(cloud, name, headers):
    port = http_ports(cloud)[name]
    for method, path in REQUESTS[name]:
        body = json.dumps({"function": "sweep"}) if method == "POST" else ""
        status, answered, content = ask(
            port, method, path, {"Content-Type": "text/plain", **headers}, body
        )
        assert status == 403, (method, path, content)
        assert "Access-Control-Allow-Origin" not in answered


@pytest.mark.parametrize(
    "host",
    ["attacker.example:{port}", "attacker.example", "127.0.0.1.attacker.example:{port}",
     "127.0.0.1:1", "localhost@attacker.example:{port}", "", "[::1", "localhost.:{port}.evil"],
)  # fmt: skip
@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_rebound_name_is_refused_by_every_port(cloud, name, host):
    """After DNS rebinding a GET of the page is same-origin: only the Host header differs."""
    port = http_ports(cloud)[name]
    for method, path in REQUESTS[name]:
        status, _, content = ask(port, method, path, {"Host": host.format(port=port)})
        assert status == 403, (method, path, content)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_request_without_host_or_with_two_is_refused(cloud, name):
    port = http_ports(cloud)[name]
    for head in (
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: attacker.example\r\n"
        "Connection: close\r\n\r\n".encode(),
        f"GET http://attacker.example/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Connection: close\r\n\r\n".encode(),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
            raw.sendall(head)
            answer = b"".join(iter(lambda raw=raw: raw.recv(4096), b""))
        assert answer.split(b" ")[1] in (b"400", b"403"), (head, answer[:200])


def test_the_session_port_gives_a_foreign_page_nothing(cloud):
    _, session = cloud.http("GET", "/session")
    port, path = session["port"], session["path"]
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert ask(port, "GET", path, {**handshake, "Origin": FOREIGN})[0] == 403
    assert ask(port, "GET", path, {**handshake, "Origin": "null"})[0] == 403
    for target in ("/healthz", f"{path}/client.js"):
        assert "Access-Control-Allow-Origin" not in ask(port, "GET", target, {"Origin": FOREIGN})[1]
    cloud.http("DELETE", f"/sessions/{session['id']}")


@needs_redis
def test_a_post_with_commands_in_it_does_not_reach_redis(cloud):
    """Redis parses lines: a cross-origin text/plain POST could contain commands."""
    known = {*http_ports(cloud).values()}
    [port] = set(ports_of(cloud)) - known - session_ports(cloud)
    for smuggled in ("FLUSHALL\r\n", "SET a b\r\n", "CONFIG GET *\r\n"):
        body = smuggled * 3
        head = (
            f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        for sent in (head + body, body):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
                raw.sendall(sent.encode())
                raw.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda raw=raw: raw.recv(4096), b""))
            replies = answer.split(b"\r\n")[:-1]
            assert all(reply.startswith((b"-NOAUTH", b"-ERR")) for reply in replies), answer


@needs_chromium
def test_a_page_in_chromium_runs_nothing_and_reads_nothing(page, cloud, other_page):  # noqa: F811
    """The attack as it was found: register a job, invoke it, read its output; each way there is."""
    _, session = cloud.http("GET", "/session?wait=25")
    page.goto(f"{other_page}/")
    ports = http_ports(cloud)
    before = cloud.state()
    outcome = page.evaluate(
        """async ({ports, session, path}) => {
          const seen = {};
          const attempt = async (name, url, init) => {
            try {
              const answer = await fetch(url, init);
              seen[name] = answer.type === "opaque" ? "opaque" : await answer.text();
            } catch (error) { seen[name] = "blocked"; }
          };
          const at = (port, path) => `http://127.0.0.1:${port}${path}`;
          const job = JSON.stringify({image: "usher-session", description:
            {version: 1, name: "evil", environment: {PYTHONSTARTUP: "/tmp/x"}}});
          const plain = {"Content-Type": "text/plain"};
          const json = {"Content-Type": "application/json"};
          await attempt("session", at(ports.dispatcher, "/session"));
          await attempt("jobs", at(ports.dispatcher, "/jobs"));
          await attempt("register", at(ports.dispatcher, "/jobs/evil"),
            {method: "PUT", headers: json, body: job});
          await attempt("plain", at(ports.dispatcher, "/jobs/evil/invocations"),
            {method: "POST", mode: "no-cors", headers: plain, body: "{}"});
          await attempt("fire", at(ports.invoke, "/2015-03-31/functions/sweep/invocations"),
            {method: "POST", mode: "no-cors", headers: plain, body: "{}"});
          await attempt("control", at(ports.aws, "/_local/dispatcher"),
            {method: "DELETE"});
          await attempt("state", at(ports.aws, "/_local/state"));
          await attempt("localhost", `http://localhost:${ports.dispatcher}/session`);
          seen.websocket = await new Promise((done) => {
            const socket = new WebSocket(`ws://127.0.0.1:${session}${path}`);
            socket.onopen = () => done("open");
            socket.onerror = () => done("blocked");
          });
          return seen;
        }""",
        {"ports": ports, "session": session["port"], "path": session["path"]},
    )
    opaque = {name for name, seen in outcome.items() if seen == "opaque"}
    assert opaque <= {"plain", "fire"}  # an opaque answer is a refusal that the page cannot read
    assert {seen for name, seen in outcome.items() if name not in opaque} == {"blocked"}, outcome
    after = cloud.state()
    jobs = [t for t in after["tasks"] if t.get("startedBy", "").startswith("job/")]
    assert jobs == []
    assert after["dispatcher"] == before["dispatcher"]
    registered = {job["name"] for job in cloud.http("GET", "/jobs")[1]["jobs"]}
    assert registered <= {"usher_judge"}  # our own, registered by the start
    assert cloud.http("DELETE", f"/sessions/{session['id']}")[0] == 200


@needs_chromium
def test_a_form_and_a_frame_of_a_foreign_page_are_refused(page, cloud, other_page):  # noqa: F811
    page.goto(f"{other_page}/")
    with page.expect_navigation():
        page.evaluate(
            """(url) => {
              const form = document.createElement("form");
              form.method = "POST"; form.action = url; form.enctype = "text/plain";
              document.body.append(form); form.submit();
            }""",
            f"{cloud.dispatcher}/session",
        )
    assert "not allowed" in page.content()
    page.goto(f"{other_page}/")
    with page.expect_response(lambda answer: answer.url.endswith("/session")) as framed:
        page.evaluate(
            """(url) => {
              const frame = document.createElement("iframe");
              frame.src = url; document.body.append(frame);
            }""",
            f"{cloud.dispatcher}/session",
        )
    assert framed.value.status == 403


@needs_chromium
def test_a_rebound_name_in_chromium_is_refused(cloud, browser):
    """The attacker's name resolves to loopback: to the browser the attack is same-origin."""
    rebound = browser.browser_type.launch(
        executable_path=chromium_path(),
        args=["--headless", "--no-sandbox", "--host-resolver-rules=MAP attacker.example 127.0.0.1"],
    )
    try:
        tab = rebound.new_page()
        answer = tab.goto(f"http://attacker.example:{port_of(cloud.dispatcher)}/jobs")
        assert answer is not None
        assert answer.status == 403
        assert tab.evaluate("fetch('/session').then(a => a.status)") == 403
        put = "fetch('/jobs/evil', {method: 'PUT', body: '{}'}).then(a => a.status)"
        assert tab.evaluate(put) == 403
    finally:
        rebound.close()


# Requests that must still be served.


def test_tools_without_a_browser_are_served(cloud):
    """curl, boto3, containers' callbacks: no header of a browser, a known Host."""
    port = port_of(cloud.dispatcher)
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}",
                 f"devbox.example:{port}"):  # fmt: skip
        assert ask(port, "GET", "/health", {"Host": host})[0] == 200, host
    assert cloud.client("dynamodb", counted=True).list_tables()["TableNames"]
    assert cloud.client("ecs").list_clusters()["clusterArns"]


def test_the_page_itself_and_allowed_origins_are_served(cloud, friend):
    port = port_of(cloud.dispatcher)
    own = f"http://127.0.0.1:{port}"
    assert ask(port, "GET", "/", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"})[0] == 200
    assert ask(port, "GET", "/health", {"Sec-Fetch-Site": "same-origin"})[0] == 200
    assert ask(port, "GET", "/health", {"Origin": own})[0] == 200
    crossed = {"Origin": friend, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
    status, headers, body = ask(port, "GET", "/session", crossed)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, friend)
    session = json.loads(body)
    status, headers, _ = ask(
        port,
        "OPTIONS",
        f"/sessions/{session['id']}",
        {**crossed, "Access-Control-Request-Method": "DELETE"},
    )
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")  # to allowed pages alone
    status, headers, _ = ask(port, "GET", "/jobs", crossed)
    assert "Access-Control-Allow-Origin" not in headers
    cloud.http("DELETE", f"/sessions/{session['id']}")


@needs_chromium
def test_a_page_of_an_allowed_origin_reaches_both(page, other_page, start_cloud_for):  # noqa: F811
    cloud = start_cloud_for(other_page)
    page.goto(f"{other_page}/")
    hello = page.evaluate(
        """async (dispatcher) => {
          const session = await (await fetch(`${dispatcher}/session`)).json();
          return await new Promise((done, fail) => {
            const socket = new WebSocket(session.url);
            socket.onmessage = (event) => { done(JSON.parse(event.data).type); socket.close(); };
            socket.onerror = () => fail(new Error("refused"));
          });
        }""",
        cloud.dispatcher,
    )
    assert hello == "hello"


@pytest.fixture
def start_cloud_for(tmp_path: Path):
    started = []

    def start(origin: str) -> RunningCloud:
        started.append(launch(tmp_path, allowed_origin=origin))
        return started[-1]

    yield start
    for running in started:
        finish(running)


@needs_docker
def test_containers_reach_the_dispatcher_by_the_gateway_of_their_network(tmp_path):
    """Callbacks carry the gateway's address as Host; a session becomes ACTIVE only by them."""
    running = launch(tmp_path, runtime="docker", pool=1)
    try:
        status, session = running.http("GET", "/session?wait=25", timeout=90)
        assert (status, session["state"]) == (200, "RESERVED")
    finally:
        finish(running)
