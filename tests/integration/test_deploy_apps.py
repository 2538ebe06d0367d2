"""Session apps deployed over HTTP: register, prove, roll back, remove, with sessions open."""

import json
import os
import subprocess
import sys

import pytest

from tests.integration.conftest import ROOT, finish, launch, wait_until
from tests.integration.sessions import client_of
from tests.needs import needs_docker
from usher.new_session import write_session_app

POOL = "\n[apps.counter.pool]\nminimum = 1\nmaximum = 1\n"


HERE = {"runtime": "process"}
ON_LAMBDA = {"runtime": "process", "functions": "lambda"}
IN_DOCKER = {"runtime": "docker"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(HERE, id="process"),
        pytest.param(ON_LAMBDA, id="lambda"),
        needs_docker.parameter(IN_DOCKER, id="docker"),
    ],
)
def cloud(request, tmp_path_factory):
    """With functions as on Lambda each call is checked against the policy of its function."""
    running = launch(tmp_path_factory.mktemp("deployed"), feed="none", **request.param)
    yield running
    finish(running)


@pytest.fixture
def usher(cloud, tmp_path):
    """Runs the command towards this cloud; returns what it wrote, and checks its exit code."""

    def run(line, code=0, cwd=tmp_path, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "usher", *line.split()],
            cwd=cwd,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "USHER_URL": cloud.ready["dispatcher"],
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
            }
            | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def patient(cloud):
    """A session of counter; in Docker the image of a revision is built for its first one."""
    return wait_until(
        lambda: body if (body := cloud.http("GET", "/session?app=counter&wait=25")[1]).get("url")
        else None,
        240,
        "an address",
    )  # fmt: skip


def edit(folder, old, new, name="counter.py"):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


def welcome(session):
    with client_of(session) as (websocket, _):
        return next(iter(set(json.loads(websocket.recv(20))) - {"type"}))


def test_a_project_is_deployed_changed_and_rolled_back_while_its_sessions_live(
    cloud, usher, tmp_path
):
    folder = tmp_path / "counter"
    usher("new --session counter")
    assert "registered counter, revision 1" in usher("deploy", cwd=folder)
    assert "registered counter, revision 1" in usher("deploy", cwd=folder), "nothing changed"
    first = patient(cloud)
    assert first["revision"] == 1
    with client_of(first) as (old, _):
        assert "welcome" in json.loads(old.recv(20))
        edit(folder, '{"welcome"', '{"hello"')
        assert "registered counter, revision 2" in usher("deploy", cwd=folder)
        second = patient(cloud)
        assert second["revision"] == 2
        with client_of(second) as (new, _):
            assert "hello" in json.loads(new.recv(20))
            assert "took back counter, revision 2; the newest is 1" in usher("rollback counter")
            third = patient(cloud)
            assert (third["revision"], welcome(third)) == (1, "welcome")
            for websocket in (old, new):
                websocket.send('{"type":"app","want":"x"}')
                assert json.loads(websocket.recv(20)) == {"type": "app", "want": "x", "seen": 0}
    assert "has no revision before 1" in usher("rollback counter", code=1)

    def states() -> list[list[str]]:
        lines = usher("apps").splitlines()
        return [line.split()[:3] for line in lines if line.startswith("counter")]

    # The container that is ready proves its revision with a write after its own.
    wait_until(lambda: states() == [["counter", "1", "proven"]], 20, "revision 1 being proven")
    records = cloud.http("GET", "/audit?resource=apps/counter")[1]["records"]
    assert {(r["action"], r["outcome"]) for r in records} == {
        ("app.register", "done"),
        ("app.register", "unchanged"),
        ("app.rollback", "done"),
        ("app.rollback", "failed"),
    }
    assert "removed counter" in usher("apps --remove counter")
    status, body = cloud.http("GET", "/session?app=counter")
    assert (status, body["error"]["code"]) == (400, "unknown_app")


DOCKER = """#!/bin/sh
echo "$@" >> "$DOCKER_LOG"
if [ "$2" = inspect ]; then echo registry.example/counter@sha256:0123; fi
"""


def test_towards_aws_an_image_is_built_on_the_session_image_pushed_and_registered_by_its_digest(
    cloud, usher, tmp_path
):
    folder, log = tmp_path / "counter", tmp_path / "docker.log"
    write_session_app("counter", folder)
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    fake = {"PATH": f"{docker.parent}:{os.environ['PATH']}", "DOCKER_LOG": str(log)}
    line = "deploy --image registry.example/counter:7 --push"
    plan = usher(f"{line} --dry-run", cwd=folder, **fake).splitlines()
    assert "docker push registry.example/counter:7" in plan
    assert plan[-1].endswith(
        "/apps/counter with the image registry.example/counter:7 by its digest"
    )
    assert not log.exists(), "a dry run does nothing"
    assert "registered counter, revision" in usher(line, cwd=folder, **fake)
    built, pushed, *_ = log.read_text().splitlines()
    built_on = "--build-arg SESSION_IMAGE=usher-session"
    assert built.startswith(f"build --tag registry.example/counter:7 {built_on} ")
    assert pushed == "push registry.example/counter:7"
    app = cloud.http("GET", "/apps/counter")[1]
    assert app["image"] == "registry.example/counter@sha256:0123"
    usher(f"{line} --base my/session@sha256:1", cwd=folder, **fake)
    assert "SESSION_IMAGE=my/session@sha256:1 " in log.read_text()
    usher("apps --remove counter")
    elsewhere = {"USHER_URL": "https://dispatcher.example", **fake}
    assert "is not this machine: say --image" in usher("deploy", 2, folder, **elsewhere)
    assert "--push needs --image" in usher("deploy --push", 2, folder, **fake)
    assert "there is no app other" in usher("deploy other", 2, folder, **fake)
    (folder / "jobs").mkdir()
    assert "keep apart" in usher("deploy", 2, folder, **fake)


def test_a_pool_proves_a_revision_and_a_broken_one_leaves_the_one_before_serving(
    cloud, usher, tmp_path
):
    folder = tmp_path / "counter"
    write_session_app("counter", folder)
    with (folder / "apps.toml").open("a") as file:
        file.write(POOL)
    assert "is proven: new sessions start on it" in usher("deploy", cwd=folder)
    good = wait_until(lambda: warm_session(cloud), 60, "a warm container")
    edit(folder, "self._seen = 0", "self._seen = 1 / 0")
    said = usher("deploy --no-wait", cwd=folder)
    broken = good["revision"] + 1
    assert f"revision {broken}" in said

    def is_refused():
        cloud.fire("sweep")
        app = cloud.http("GET", "/apps/counter")[1]
        return app if app["state"] == "refused" else None

    app = wait_until(is_refused, 240, "the breaker", every=0.4)
    assert "ZeroDivisionError" in app["reason"]
    assert patient(cloud)["revision"] == good["revision"]
    assert "ZeroDivisionError" in usher("deploy", cwd=folder, code=1)
    assert f"took back counter, revision {broken}" in usher("rollback counter")
    assert patient(cloud)["revision"] == good["revision"]
    usher("apps --remove counter")


def warm_session(cloud):
    body = patient(cloud)
    return body if body["warm"] else None


def test_what_may_not_be_registered_is_refused_with_the_reason(cloud):
    def put(name, description, image="dir:/tmp"):
        body = {"image": image, "description": description}
        status, answer = cloud.http("PUT", f"/apps/{name}", body)
        return status, answer["error"]["message"]

    status, message = put("listings", {})
    assert status == 409
    assert "is in the apps file of the deployment" in message
    for description, says in [
        ({"memory": 100_000}, "memory: at most 8192 (APPS_MAX_MEMORY)"),
        ({"cpu": 5000}, "cpu: at most 4096"),
        ({"pool": {"minimum": 30}}, "pool.maximum: at most 20"),
        ({"user": "0:0"}, "user: never root"),
        ({"certificates": "/etc/ssl"}, "certificates cannot be set here"),
        ({"image": "x"}, "image cannot be set here"),
        ({"cpus": 1}, "apps.mine.cpus: unknown key"),
        ([], "a JSON object"),
        ({"launch_type": "FARGATE", "network_mode": "awsvpc", "cpu": 300}, "300"),
    ]:
        status, message = put("mine", description)
        assert status == 400
        assert says in message
    assert put("job-x", {})[0] == 400
    assert put("mine", {}, "two words")[0] == 400
    assert cloud.http("POST", "/apps/mine/rollback", {"revision": 1})[0] == 404
    assert cloud.http("POST", "/apps/listings/rollback", {"revision": 1})[0] == 409
    assert cloud.http("POST", "/apps/mine/rollback", {"revision": True})[0] == 400
    assert cloud.http("GET", "/apps/mine")[0] == 404
    assert cloud.http("DELETE", "/apps/mine")[0] == 404
    (app,) = cloud.http("GET", "/apps")[1]["apps"]
    assert (app["name"], app["origin"], app["revision"]) == ("listings", "file", 1)
