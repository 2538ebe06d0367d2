"""The router: one certificate before all containers; it asks the dispatcher where they are."""

import ssl
import threading
import uuid

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.certificates import Authority
from tests.integration.conftest import request
from tests.integration.sessions import dispatch, wait_for
from tests.integration.test_certificates import serial
from tests.needs import needs_nginx
from tests.router import KEY, KEY_HASH, Router, free_port
from tests.session_process import until


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def trusting(authority):
    return ssl.create_default_context(cafile=authority.file)


@pytest.fixture
def routed(start_cloud, tmp_path, authority):
    """A router, and a cloud whose session URLs have the router's address."""
    port = free_port()
    told = {
        "ROUTER_KEY": KEY_HASH,
        "SESSION_URL_TEMPLATE": f"wss://localhost:{port}/{{id}}{{path}}",
    }
    cloud = start_cloud(environment=told)
    with Router(tmp_path, cloud.dispatcher, authority.issue(tmp_path), port) as router:
        yield cloud, router


def status_of(url, context):
    """101 where the websocket opens, else the status it is refused with."""
    try:
        with connect(url, ssl=context, max_size=None) as websocket:
            websocket.recv(timeout=10)
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@needs_nginx
def test_a_session_through_the_router_and_its_end(routed, trusting, tmp_path, authority):
    cloud, router = routed
    session = dispatch(cloud)
    assert session["url"].startswith(f"wss://localhost:{router.port}/{session['id']}/")
    with connect(session["url"], ssl=trusting) as websocket:
        assert '"hello"' in websocket.recv(timeout=20)
        wait_for(cloud, session["id"], "ACTIVE")
        assert status_of(session["url"], trusting) == 409  # the container's own word: one client

        before = serial(router.port, trusting, "localhost")
        authority.issue(tmp_path)
        until(
            lambda: serial(router.port, trusting, "localhost") != before,
            "the renewed certificate",
        )
        websocket.ping().wait(10)  # the same connection continues

        status, _ = cloud.http("DELETE", f"/sessions/{session['id']}")
        assert status == 200
        threading.Event().wait(1.0)  # cached results have expired
        assert status_of(session["url"], trusting) == 404
    secret = session["path"].strip("/")
    assert secret not in "".join(router.log)
    assert session["id"] in "".join(router.log)


@needs_nginx
def test_nobody_reaches_a_container_without_its_id_and_its_path(routed, trusting):
    cloud, router = routed
    session = dispatch(cloud)
    base = f"wss://localhost:{router.port}"
    for path in (
        f"/{session['id']}/{uuid.uuid4()}",
        f"/{uuid.uuid4()}{session['path']}",
        f"/{session['id']}{session['path']}/healthz",
        session["path"],
        "/_route",
    ):
        assert status_of(base + path, trusting) == 404, path
    assert status_of(session["url"], trusting) == 101


@needs_nginx
def test_the_dispatcher_tells_routers_alone(routed):
    cloud, _ = routed
    session = dispatch(cloud)
    asked = {"X-Session-Id": session["id"], "X-Session-Path": session["path"]}

    def ask(key, **changes):
        headers = {"Authorization": f"Bearer {key}", **asked, **changes}
        return request("GET", cloud.dispatcher + "/route", headers=headers)

    assert ask(KEY) == (200, {})
    status, body = ask("a guess")
    assert (status, body["error"]["code"]) == (403, "no_route")
    assert ask(KEY, **{"X-Session-Path": "/" + str(uuid.uuid4())})[0] == 403
    assert ask(KEY, **{"X-Session-Id": ""})[0] == 403
    assert request("GET", cloud.dispatcher + "/route", headers=asked)[0] == 401


def test_where_no_router_is_set_up_no_key_is_good(cloud):
    headers = {"Authorization": "Bearer "}
    assert request("GET", cloud.dispatcher + "/route", headers=headers)[0] == 401
    headers = {"Authorization": f"Bearer {KEY}"}
    assert request("GET", cloud.dispatcher + "/route", headers=headers)[0] == 403
