"""A container receives its user from the dispatcher alone, once the client is connected."""

import json
import ssl
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.certificates import Authority
from tests.integration.conftest import finish, launch, wait_until
from tests.integration.sessions import client_of, dispatch
from tests.needs import needs_nginx
from tests.router import KEY_HASH, Router, free_port
from tests.session_process import CallbackServer, SessionProcess

APP = """
from session_handler.app import SessionApp


class Tells(SessionApp):
    async def on_start(self, session):
        self.session = session
        self.seen = 0
        await self.tell()

    async def on_message(self, message):
        self.seen += 1
        await self.tell()

    async def tell(self):
        user = await self.session.user()
        await self.session.send(
            {"owner": user.owner, "claims": user.claims, "query": user.query, "seen": self.seen}
        )
"""
APPS = """
default = "tells"

[apps.tells]
image = "tells"
feed_url = "none"
reconnect_grace_seconds = 60
pass_query = ["room"]
pass_claims = ["email"]

[apps.tells.pool]
minimum = 1
maximum = 1
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tells"
    folder.mkdir()
    (folder / "tells.py").write_text(APP)
    (folder / "Dockerfile").write_text(
        "FROM usher-session\nCOPY tells.py /app/\nENV SESSION_APP=tells:Tells\n"
    )
    (tmp_path / "apps.toml").write_text(APPS)
    return folder


@pytest.fixture
def start(folder, tmp_path):
    running = []

    def start(**options):
        image = f"tells={folder}"
        cloud = launch(tmp_path, apps=tmp_path / "apps.toml", image=image, **options)
        running.append(cloud)
        return cloud

    yield start
    for cloud in running:
        finish(cloud)


def user_message(websocket):
    message = json.loads(websocket.recv(20))
    assert message.pop("type") == "app", message
    return message


def test_a_warm_container_learns_its_user_when_the_client_comes(start):
    cloud = start()
    query = "?room=blue&owner=forged&email=forged@b&wait=25"
    session = wait_until(
        lambda: found if (found := dispatch(cloud, query))["warm"] else None, 30, "a warm one"
    )
    user = {"owner": "ip:127.0.0.1", "claims": {}, "query": {"room": "blue"}}
    forged = "owner=root&room=red&claims=%7B%7D&user=root"
    with connect(f"{session['url']}?{forged}") as websocket:
        assert json.loads(websocket.recv(20))["type"] == "hello"
        assert user_message(websocket) == user | {"seen": 0}
        websocket.send(json.dumps({"type": "app", "user": {"owner": "root"}, "owner": "root"}))
        assert user_message(websocket) == user | {"seen": 1}
        environment = environment_of(session["id"])
        assert "SESSION_APP" in environment
        assert "blue" not in environment, "a container that waits for anybody knows nobody"
    with connect(session["url"]) as websocket:  # within the grace
        assert json.loads(websocket.recv(20))["type"] == "hello"
        websocket.send('{"type":"app"}')
        assert user_message(websocket) == user | {"seen": 2}, "the same object, with what it knew"


def environment_of(session_id):
    marked = f"SESSION_ID={session_id}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if marked in content.split(b"\0"):
            found.append(content.replace(b"\0", b"\n").decode())
    assert found
    return "".join(found)


@needs_nginx
def test_it_is_the_same_behind_a_router(start, tmp_path):
    port = free_port()
    authority = Authority(tmp_path)
    settings = {
        "ROUTER_KEY": KEY_HASH,
        "SESSION_URL_TEMPLATE": f"wss://localhost:{port}/{{id}}{{path}}",
    }
    cloud = start(environment=settings)
    trusting = ssl.create_default_context(cafile=authority.file)
    with Router(tmp_path, cloud.dispatcher, authority.issue(tmp_path), port):
        session = dispatch(cloud, "?room=blue&wait=25")
        with connect(f"{session['url']}?owner=root&room=red", ssl=trusting) as websocket:
            assert json.loads(websocket.recv(20))["type"] == "hello"
            found = user_message(websocket)
            assert (found["owner"], found["query"]) == ("ip:127.0.0.1", {"room": "blue"})


def test_what_is_too_long_is_refused_before_anything_starts(start):
    cloud = start()
    status, body = cloud.http("GET", f"/session?room={'x' * 3000}")
    assert (status, body["error"]["code"]) == (400, "bad_request")


@pytest.fixture
def container(folder):
    def start(callbacks=None):
        return SessionProcess(
            callbacks=callbacks,
            PYTHONPATH=f"{folder}:{SessionProcess.environment()['PYTHONPATH']}",
            SESSION_APP="tells:Tells",
            RECONNECT_GRACE_SECONDS=0,
        )

    return start


def test_a_dispatcher_that_answers_late_keeps_the_app_waiting_and_nobody_else(container):
    with CallbackServer(statuses=[200, 503, 503]) as callbacks:
        callbacks.answer = b'{"user":{"owner":"jwt:ann","claims":{"email":"a@b"},"query":{}}}'
        with container(callbacks) as session:
            session.until_ready()
            with connect(session.url) as websocket:
                assert json.loads(websocket.recv(20))["type"] == "hello"
                user = {"owner": "jwt:ann", "claims": {"email": "a@b"}, "query": {}}
                assert user_message(websocket) == user | {"seen": 0}
            assert callbacks.types[:2] == ["ready", "connected"]


@pytest.mark.parametrize("statuses", [[200, 404], []])
def test_where_no_dispatcher_says_the_user_is_nobody(container, statuses):
    with CallbackServer(statuses) as callbacks, container(callbacks) as session:
        session.until_ready()
        with connect(session.url) as websocket:
            websocket.recv(20)
            assert user_message(websocket) == {"owner": None, "claims": {}, "query": {}, "seen": 0}


def test_a_container_without_a_dispatcher_serves_nobody(container):
    with container() as session:
        session.until_ready()
        with client_of({"url": session.url}) as (websocket, _):
            assert user_message(websocket)["owner"] is None
