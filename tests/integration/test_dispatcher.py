"""The dispatcher's HTTP API against the whole embedded cloud, as docs/contracts.md has it."""

import re
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from tests.integration.conftest import request, wait_until
from tests.integration.sessions import (
    client_of,
    dispatch,
    kill_container,
    look,
    no_tasks,
    task_of,
    wait_for,
)
from tests.needs import needs_node

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_one_get_gives_one_container_that_ends_with_its_client(cloud):
    session = dispatch(cloud)
    assert UUID4.fullmatch(session["id"])
    assert UUID4.fullmatch(session["path"].removeprefix("/"))
    assert session["id"] != session["path"].removeprefix("/")
    assert session["url"] == f"ws://{session['ip']}:{session['port']}{session['path']}"
    assert (session["state"], session["warm"], session["app"]) == ("RESERVED", False, "listings")
    assert datetime.fromisoformat(session["connectBy"]) > datetime.now(UTC)
    with client_of(session) as (_, hello):
        assert (hello["session"], hello["app"]) == (session["id"], "listings")
        assert hello["revision"] == str(session["revision"])
        active = wait_for(cloud, session["id"], "ACTIVE")
        assert active["connectBy"] is None
        assert active["url"] == session["url"]
    ended = wait_for(cloud, session["id"], "ENDED")
    assert ended["reason"] == "disconnected"
    assert session["path"].strip("/") not in str(ended)
    no_tasks(cloud)
    assert task_of(cloud, session["id"])["containers"][0]["exitCode"] == 0


def test_two_users_get_two_containers(cloud):
    with ThreadPoolExecutor(8) as users:
        sessions = list(users.map(lambda _: dispatch(cloud), range(8)))
    for what in ("id", "path", "port"):
        assert len({session[what] for session in sessions}) == 8
    for session in sessions:
        cloud.http("DELETE", f"/sessions/{session['id']}")
    no_tasks(cloud)


def test_what_is_not_ready_in_time_is_accepted_and_found_again(cloud):
    status, body = cloud.http("POST", "/session?wait=0")
    assert status == 202
    assert set(body) >= {"id", "state", "retryAfter"}
    assert "url" not in body
    assert wait_for(cloud, body["id"], "RESERVED")["path"].startswith("/")
    cloud.http("DELETE", f"/sessions/{body['id']}")


def test_a_202_says_where_and_when_to_look(cloud):
    asked = urllib.request.Request(
        f"{cloud.dispatcher}/session?wait=0", headers={"Origin": cloud.dispatcher}
    )
    with urllib.request.urlopen(asked) as answer:
        headers = answer.headers
    assert re.fullmatch(r"/sessions/[0-9a-f-]{36}", headers["Location"])
    assert int(headers["Retry-After"]) >= 1
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] == cloud.dispatcher
    cloud.http("DELETE", headers["Location"])


def test_the_same_key_gets_the_same_session_while_it_lives(cloud):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with ThreadPoolExecutor(6) as clicks:
        sessions = list(clicks.map(lambda _: dispatch(cloud, **key), range(6)))
    assert len({session["id"] for session in sessions}) == 1
    assert dispatch(cloud, **{"Idempotency-Key": str(uuid.uuid4())})["id"] != sessions[0]["id"]
    cloud.http("DELETE", f"/sessions/{sessions[0]['id']}")
    wait_for(cloud, sessions[0]["id"], "ENDED")
    assert dispatch(cloud, **key)["id"] != sessions[0]["id"]


def test_deleting_stops_the_container_and_twice_is_as_good_as_once(cloud):
    session = dispatch(cloud)
    with client_of(session) as (websocket, _):
        status, body = cloud.http("DELETE", f"/sessions/{session['id']}")
        assert (status, body["state"], body["reason"]) == (200, "STOPPING", "stopped")
        assert '"bye"' in websocket.recv(timeout=10)
    assert wait_for(cloud, session["id"], "ENDED")["reason"] == "stopped"
    assert cloud.http("DELETE", f"/sessions/{session['id']}")[1]["reason"] == "stopped"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/session?app=nope", {}, 400, "unknown_app"),
        ("GET", "/session?wait=26", {}, 400, "bad_request"),
        ("GET", "/session?wait=soon", {}, 400, "bad_request"),
        ("GET", "/session", {"Idempotency-Key": "x" * 129}, 400, "bad_request"),
        ("GET", "/session", {"Idempotency-Key": "a b"}, 400, "bad_request"),
        ("GET", "/sessions/nope", {}, 404, "not_found"),
        ("GET", "/sessions/6d6cf8ce-6d4e-4a8c-9a38-0c5a51b5b1d3", {}, 404, "not_found"),
        ("DELETE", "/sessions/6d6cf8ce-6d4e-4a8c-9a38-0c5a51b5b1d3", {}, 404, "not_found"),
        ("DELETE", "/session", {}, 405, "method_not_allowed"),
        ("PUT", "/health", {}, 405, "method_not_allowed"),
        ("POST", "/sessions/6d6cf8ce-6d4e-4a8c-9a38-0c5a51b5b1d3/events", {}, 401, "unauthorized"),
    ],
)
def test_bad_input_gets_the_documented_error(cloud, method, path, headers, status, code):
    body = {"type": "ready"} if method == "POST" else None
    answered, told = cloud.http(method, path, body, headers)
    assert (answered, told["error"]["code"]) == (status, code)
    assert told["error"]["message"]


def test_a_container_is_believed_only_with_its_own_key(cloud):
    session = dispatch(cloud)
    events = f"/sessions/{session['id']}/events"
    wrong = {"Authorization": "Bearer wrong"}
    assert cloud.http("POST", events, {"type": "disconnected"}, wrong)[0] == 401
    assert cloud.http("POST", events, {"type": "disconnected"})[0] == 401
    assert look(cloud, session["id"])["state"] == "RESERVED"
    environment = task_environment(cloud, session["id"])
    right = {"Authorization": f"Bearer {environment['SESSION_KEY']}"}
    assert cloud.http("POST", events, {"type": "explode"}, right)[0] == 400
    assert cloud.http("POST", events, [], right)[0] == 400
    assert cloud.http("POST", events, {"type": "ready"}, right) == (200, {})
    assert environment["SESSION_KEY"] not in cloud.logs()
    assert session["path"] not in cloud.logs()
    cloud.http("DELETE", f"/sessions/{session['id']}")
    wait_for(cloud, session["id"], "ENDED")
    assert cloud.http("POST", events, {"type": "ready"}, right)[0] == 409


def task_environment(cloud, session_id: str) -> dict[str, str]:
    """Returns the container's environment as ECS reports it."""
    arn = task_of(cloud, session_id)["taskArn"]
    ecs = cloud.client("ecs")
    (cluster,) = ecs.list_clusters()["clusterArns"]
    (task,) = wait_until(lambda: ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"])
    (override,) = task["overrides"]["containerOverrides"]
    return {pair["name"]: pair["value"] for pair in override["environment"]}


def test_health_and_metrics(cloud):
    status, body = cloud.http("GET", "/health")
    assert (status, body["status"]) == (200, "ok")
    assert "# TYPE" in cloud.http("GET", "/metrics")[1]


def test_a_preflight_allows_the_key_header(cloud):
    asked = urllib.request.Request(f"{cloud.dispatcher}/session", method="OPTIONS")
    with urllib.request.urlopen(asked) as answer:
        assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
        assert "GET" in answer.headers["Access-Control-Allow-Methods"]


APPS = """
default = "listings"

[apps.listings]
image = "usher-session"
connect_deadline_seconds = 2

[apps.streamless]
image = "usher-session"
feed_url = "kinesis://nobody-made-this"

[apps.missing]
image = "nobody-has-this"

[apps.crashing]
image = "usher-session"
entry_point = ["python3", "-c", "raise SystemExit(3)"]
"""


@pytest.fixture
def own_cloud(start_cloud, tmp_path):
    apps = tmp_path / "apps.toml"
    apps.write_text(APPS, encoding="utf-8")
    return start_cloud(apps=apps)


def test_what_goes_wrong_ends_with_the_right_reason_and_the_next_get_works(own_cloud):
    nobody_came = dispatch(own_cloud)
    status, body = own_cloud.http("GET", "/session?app=missing")
    assert (status, body["error"]["code"]) == (503, "failed_to_start")
    assert "CannotPullContainerError" in body["error"]["message"]
    status, body = own_cloud.http("GET", "/session?app=crashing")
    assert (status, body["error"]["code"]) == (503, "failed_to_start")
    assert "exit code 3" in body["error"]["message"]
    status, body = own_cloud.http("GET", "/session?app=streamless")
    assert (status, body["error"]["code"]) == (503, "failed_to_start")
    assert "nobody-made-this" in body["error"]["message"]
    ended = wait_for(own_cloud, nobody_came["id"], "ENDED")
    assert ended["reason"] == "never_connected"

    killed = dispatch(own_cloud)
    with client_of(killed):
        wait_for(own_cloud, killed["id"], "ACTIVE")
        kill_container(killed["id"])
        assert wait_for(own_cloud, killed["id"], "ENDED")["reason"] == "lost"

    with client_of(dispatch(own_cloud)):
        pass
    no_tasks(own_cloud)


@pytest.mark.parametrize("looks", [0, 1, 2, 4, 8, 16, 32])
def test_a_session_deleted_while_its_container_starts_ends_at_once(cloud, looks):
    """A SIGTERM that is lost shows: after the stop timeout of 10 s a SIGKILL follows."""
    status, session = cloud.http("GET", "/session?wait=0")
    assert status == 202
    started_by = f"session/{session['id']}"

    def statuses() -> list[str]:  # those of other tests may still be ending
        return [t["lastStatus"] for t in cloud.tasks() if t["startedBy"] == started_by]

    wait_until(lambda: statuses() == ["RUNNING"], every=0.001)
    for _ in range(looks):
        look(cloud, session["id"])
    cloud.http("DELETE", f"/sessions/{session['id']}")
    wait_until(lambda: statuses() == [], 5, "the end of the task")
    assert wait_for(cloud, session["id"], "ENDED")["reason"] == "stopped"


def test_a_broken_image_trips_the_breaker(own_cloud):
    def refusal():
        status, body = own_cloud.http("GET", "/session?app=missing")
        assert status == 503
        return body["error"]

    assert [refusal()["code"] for _ in range(5)] == ["failed_to_start"] * 5
    # A failure is counted just after its own request was answered, and the index that shows it
    # lags: a sixth and more may slip through.
    last = wait_until(lambda: found if (found := refusal())["code"] == "app_failing" else None)
    assert "CannotPullContainerError" in last["message"]
    dispatch(own_cloud)


def test_without_room_a_request_waits_and_gets_its_container_when_there_is_some(start_cloud):
    cloud = start_cloud(hosts=1, host_cpu=128, host_memory=512)
    first = dispatch(cloud)
    status, waiting = cloud.http("GET", "/session?wait=1")
    assert (status, waiting["state"]) == (202, "QUEUED")
    cloud.http("DELETE", f"/sessions/{first['id']}")
    assert wait_for(cloud, waiting["id"], "RESERVED")["port"]
    assert wait_until(lambda: len(cloud.tasks()) == 1)


def test_a_pool_whose_clients_never_connect_is_full_again_before_any_sweep(start_cloud):
    cloud = start_cloud(pool=2)
    claimed = [dispatch(cloud) for _ in range(2)]
    assert [session["warm"] for session in claimed] == [True, True]
    # Their clients have 30 seconds to connect, and the sweep runs once a minute.
    wait_until(lambda: len(cloud.tasks()) == 4, 15, "the refilled pool")
    assert {look(cloud, session["id"])["state"] for session in claimed} == {"RESERVED"}
    wait_until(lambda: dispatch(cloud)["warm"], 15, "a warm session")


@needs_node
def test_a_container_of_another_language_is_dispatched_like_any_other(start_cloud, tmp_path):
    apps = tmp_path / "apps.toml"
    apps.write_text('[apps.node]\nimage = "node-session"\n', encoding="utf-8")
    cloud = start_cloud(apps=apps, image="node-session=tests/containers/node")
    session = dispatch(cloud)
    with client_of(session) as (websocket, hello):
        assert hello["app"] == "node"
        websocket.send('{"type": "app", "say": "hello"}')
        assert '"say"' in websocket.recv(timeout=10)
        wait_for(cloud, session["id"], "ACTIVE")
    assert wait_for(cloud, session["id"], "ENDED")["reason"] == "disconnected"


def test_the_dispatcher_killed_in_the_middle_loses_nothing(start_cloud):
    cloud = start_cloud()
    live = dispatch(cloud)
    with client_of(live) as (websocket, _):
        wait_for(cloud, live["id"], "ACTIVE")
        status, starting = cloud.http("GET", "/session?wait=0")
        assert status == 202
        pid = cloud.state()["dispatcher"]["pid"]
        cloud.control("POST", "dispatcher/kill")
        wait_until(lambda: cloud.state()["dispatcher"]["pid"] not in {None, pid})
        wait_until(lambda: _answers(f"{cloud.dispatcher}/health"))
        assert wait_for(cloud, starting["id"], "RESERVED")["url"]
        assert look(cloud, live["id"])["state"] == "ACTIVE"
        websocket.ping().wait(5)
    assert wait_for(cloud, live["id"], "ENDED")["reason"] == "disconnected"


def _answers(url: str) -> bool:
    try:
        return request("GET", url)[0] == 200
    except OSError:
        return False
