"""A user at their limit gets a new session only if the connection of an old one was lost."""

from contextlib import ExitStack, contextmanager, suppress
from socket import create_connection

import pytest
from websockets.sync.client import connect

from tests.integration.conftest import wait_until
from tests.integration.sessions import client_of, dispatch, kill_container, look, wait_for
from tests.silent_proxy import SilentProxy

APPS = """
[limits]
per_owner = {per_owner}

[apps.chat]
image = "usher-session"
memory = 128
reconnect_grace_seconds = {grace}
"""


@pytest.fixture
def start(start_cloud, tmp_path):
    def start(per_owner=1, grace=0, **options):
        file = tmp_path / "apps.toml"
        file.write_text(APPS.format(per_owner=per_owner, grace=grace))
        return start_cloud(apps=file, **options)

    return start


@contextmanager
def silent_client(session):
    """A client at this session's address; its line goes silent when the block begins."""
    with ExitStack() as stack:
        proxy = stack.enter_context(SilentProxy(session["port"]))
        url = f"ws://127.0.0.1:{proxy.port}{session['path']}"
        client = stack.enter_context(connect(url, max_size=None, close_timeout=0.1))
        client.recv(timeout=20)
        proxy.go_silent()
        yield


@pytest.mark.parametrize("grace", [0, 10])
def test_who_comes_back_with_a_new_request_is_served(start, grace):
    cloud = start(grace=grace)
    old = dispatch(cloud, "?wait=20")
    with silent_client(old):
        wait_for(cloud, old["id"], "ACTIVE")
        new = dispatch(cloud, "?wait=20", **{"Idempotency-Key": "another"})
        assert new["id"] != old["id"]
        assert look(cloud, old["id"])["reason"] == "disconnected"
        with client_of(new):
            wait_for(cloud, new["id"], "ACTIVE")
            wait_for(cloud, old["id"], "ENDED")
            status, body = cloud.http("GET", "/session")
            assert (status, body["error"]["code"]) == (429, "limit_reached")


def test_a_client_that_answers_keeps_its_session_and_one_that_was_not_there_yet_too(start):
    cloud = start(per_owner=2)
    alive, unused = (dispatch(cloud, "?wait=20") for _ in range(2))
    with client_of(alive):
        wait_for(cloud, alive["id"], "ACTIVE")
        assert cloud.http("GET", "/session")[0] == 429
        assert look(cloud, alive["id"])["state"] == "ACTIVE"
        assert look(cloud, unused["id"])["state"] == "RESERVED"


def test_of_several_sessions_the_silent_one_makes_room(start):
    cloud = start(per_owner=3)
    sessions = [dispatch(cloud, "?wait=20") for _ in range(3)]
    with client_of(sessions[0]), silent_client(sessions[1]), client_of(sessions[2]):
        for session in sessions:
            wait_for(cloud, session["id"], "ACTIVE")
        with client_of(dispatch(cloud, "?wait=20")):
            states = [look(cloud, session["id"])["state"] for session in sessions]
            assert states[0] == states[2] == "ACTIVE"
            assert states[1] in {"STOPPING", "ENDED"}


def test_a_session_in_its_grace_makes_room_for_its_owner(start):
    cloud = start(grace=60)
    old = dispatch(cloud, "?wait=20")
    with client_of(old):
        wait_for(cloud, old["id"], "ACTIVE")
    assert dispatch(cloud, "?wait=20")["id"] != old["id"]


def test_a_repeated_key_is_not_answered_with_a_dead_container(start):
    """ECS reports the end late, if ever; no process listens at the address."""
    cloud = start()
    key = {"Idempotency-Key": "the-same"}
    first = dispatch(cloud, "?wait=20", **key)
    assert dispatch(cloud, "?wait=20", **key)["id"] == first["id"]
    cloud.faults(late_events={"probability": 1, "seconds": 6})
    kill_container(first["id"])
    wait_until(lambda: cannot_connect(first), 10, "the port is closed")
    second = dispatch(cloud, "?wait=25", **key)
    assert second["id"] != first["id"]
    with client_of(second):
        assert look(cloud, first["id"])["reason"] == "lost"
        assert dispatch(cloud, "?wait=20", **key)["id"] == second["id"]


def cannot_connect(session):
    with suppress(ConnectionRefusedError), create_connection((session["ip"], session["port"])):
        return False
    return True
