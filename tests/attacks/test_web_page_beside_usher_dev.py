"""A web page attacks the developer who has `usher dev` open.

Attacker: the author of any page that is open in a browser on the same machine, its host name under
the attacker's control (DNS rebinding). Goal: read the app's files, start its containers, run a
command. Reach: every port of the run; `usher dev` adds one for the app's page, whose origin the
dispatcher and the sessions allow.
"""

import json

import pytest

from tests.attacks.test_web_page_on_a_laptop import (
    CALLERS_OF_PAGES,
    FOREIGN,
    LOOPBACK,
    REQUESTS,
    ask,
    http_ports,
    port_of,
    ports_of,
    session_ports,
)
from tests.integration.conftest import RunningCloud, wait_until
from tests.integration.test_usher_dev import Dev
from usher.new_session import write_session_app

PAGE_REQUESTS = [
    ("GET", "/"), ("GET", "/index.html"), ("GET", "/usher.js"), ("HEAD", "/"), ("POST", "/"),
    ("OPTIONS", "/usher.js"),
]  # fmt: skip


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dev")
    write_session_app("counter", folder / "app")
    running = Dev(folder / "app", folder)
    yield running
    running.end()


@pytest.fixture(scope="module")
def ports(dev):
    """Returns the HTTP ports of the run, by name."""
    cloud = RunningCloud(dev.process, dev.ready, dev.said, dev.folder)
    page = port_of(dev.page)
    of_redis = 1 if dev.ready["feed"] == "redis" else 0

    def known():
        """Returns all ports but that of Redis, once the warm containers have reported theirs."""
        found = {**http_ports(cloud), "page": page}
        listening = ports_of(cloud)
        assert set(listening.values()) == {LOOPBACK}
        rest = set(listening) - set(found.values()) - session_ports(cloud)
        return found if len(rest) == of_redis else None

    return wait_until(known, 30, "every port that listens to be a known one", every=0.2)


def requests(ports):
    of_page = [("page", *request) for request in PAGE_REQUESTS]
    return of_page + [(name, *r) for name, rs in REQUESTS.items() if name in ports for r in rs]


@pytest.mark.parametrize("headers", CALLERS_OF_PAGES, ids=str)
def test_no_port_answers_a_foreign_page(ports, headers):
    for name, method, path in requests(ports):
        status, answered, content = ask(
            ports[name], method, path, {"Content-Type": "text/plain", **headers}
        )
        assert status == 403, (name, method, path, content)
        assert "Access-Control-Allow-Origin" not in answered


@pytest.mark.parametrize("host", ["attacker.example:{port}", "127.0.0.1:1", "", "[::1"])
def test_no_port_answers_by_a_rebound_name(ports, host):
    for name, method, path in requests(ports):
        status, _, content = ask(ports[name], method, path, {"Host": host.format(port=ports[name])})
        assert status == 403, (name, method, path, content)


def test_a_foreign_page_cannot_connect_to_a_session_of_the_app(dev):
    status, session = dev.session()
    assert status == 200
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for origin in (FOREIGN, "null", "http://localhost:1"):
        assert (
            ask(session["port"], "GET", session["path"], {**handshake, "Origin": origin})[0] == 403
        )


def test_no_file_beside_the_page_is_served(dev, ports):
    (dev.folder / "page" / "outside").symlink_to(dev.folder)
    for path in ("/../apps.toml", "/%2e%2e/apps.toml", "/..%2fcounter.py", "//etc/passwd",
                 "/outside/counter.py", "/%2fetc%2fpasswd", "/.%00./counter.py", "/..\\counter.py",
                 f"/{dev.folder}/counter.py"):  # fmt: skip
        assert ask(ports["page"], "GET", path, {})[0] == 404, path


def test_the_page_of_the_app_asks_for_sessions_and_for_nothing_else(dev, ports):
    """The app's own page may do this much: an XSS in it must not become a command."""
    own = {"Origin": dev.page.rstrip("/"), "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
    status, answered, body = ask(ports["dispatcher"], "GET", "/session?wait=20", own)
    assert (status, answered["Access-Control-Allow-Origin"]) == (200, own["Origin"])
    assert json.loads(body)["url"]
    for name, method, path in requests(ports):
        if name in {"aws", "invoke"} or path.startswith(("/jobs", "/schedules")):
            status, answered, _ = ask(ports[name], method, path, own, "{}")
            assert "Access-Control-Allow-Origin" not in answered
            assert status == 403, (name, method, path)
