"""`local up` with real containers, from the outside: sessions in them, and nothing left of them."""

import json
import os
import signal
import subprocess
import textwrap
from contextlib import ExitStack

import pytest

from tests.integration.conftest import ROOT, launch, up_command, wait_until
from tests.integration.sessions import client_of, dispatch, no_tasks, wait_for
from tests.needs import needs_docker


def docker(*words):
    answer = subprocess.run(
        ["docker", *words], capture_output=True, text=True, check=True, timeout=60
    )
    return answer.stdout


def containers_of(run_id):
    return docker(
        "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=usher.local.run={run_id}"
    ).split()


def networks_of(run_id):
    return docker("network", "ls", "--quiet", "--filter", f"label=usher.local.run={run_id}").split()


def assert_nothing_in_docker(run_id):
    assert containers_of(run_id) == []
    assert networks_of(run_id) == []


@pytest.fixture(scope="module")
def docker_cloud(tmp_path_factory):
    """A run that was to choose its runtime by itself."""
    running = launch(tmp_path_factory.mktemp("runs"), runtime="auto")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, "".join(running.errors)
    running.process.stdout.close()
    assert_nothing_in_docker(running.run_id)


@needs_docker
def test_docker_is_chosen_where_it_runs(docker_cloud):
    assert docker_cloud.ready["runtime"] == "docker"


@needs_docker
def test_three_sessions_have_a_container_each_until_they_disconnect(docker_cloud):
    sessions = [dispatch(docker_cloud, "?wait=25") for _ in range(3)]
    with ExitStack() as clients:
        hellos = [clients.enter_context(client_of(session))[1] for session in sessions]
        assert {hello["session"] for hello in hellos} == {session["id"] for session in sessions}
        assert len(containers_of(docker_cloud.run_id)) == 3
    for session in sessions:
        assert wait_for(docker_cloud, session["id"], "ENDED")["reason"] == "disconnected"
    no_tasks(docker_cloud)
    wait_until(lambda: containers_of(docker_cloud.run_id) == [])


INSIDE = textwrap.dedent("""
    import json, os, pathlib, resource
    def writable(path):
        try:
            (pathlib.Path(path) / "probe").write_text("x")
        except OSError:
            return False
        return True
    status = dict(
        line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    )
    print(json.dumps({
        "user": os.getuid(),
        "writable": [path for path in ("/", "/usr", "/etc", "/home") if writable(path)],
        "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
        "no_new_privileges": int(status["NoNewPrivs"]),
    }))
""")


@needs_docker
def test_the_task_definition_is_kept_inside_the_container(docker_cloud):
    session = dispatch(docker_cloud, "?wait=25")
    with client_of(session):
        (container,) = containers_of(docker_cloud.run_id)
        seen = json.loads(docker("exec", container, "python3", "-c", INSIDE))
        (inspected,) = json.loads(docker("inspect", container))
    assert seen["user"] != 0
    assert seen["writable"] == []
    assert seen["capabilities"] == 0
    assert seen["no_new_privileges"] == 1
    limits, definition = inspected["HostConfig"], _container_definition(docker_cloud)
    assert limits["Memory"] == definition["memory"] * 1024 * 1024
    assert limits["CpuShares"] == definition["cpu"]
    assert limits["ReadonlyRootfs"] is True
    wanted = {(u["name"], u["softLimit"], u["hardLimit"]) for u in definition["ulimits"]}
    assert wanted <= {(u["Name"], u["Soft"], u["Hard"]) for u in limits["Ulimits"] or ()}
    bindings = [one for many in limits["PortBindings"].values() for one in many]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}
    wait_for(docker_cloud, session["id"], "ENDED")


def _container_definition(cloud):
    answer = cloud.client("ecs").describe_task_definition(taskDefinition="usher-local-listings")
    (container,) = answer["taskDefinition"]["containerDefinitions"]
    return {"ulimits": []} | container


@needs_docker
def test_a_container_that_is_killed_ends_its_session_and_the_next_one_works(docker_cloud):
    session = dispatch(docker_cloud, "?wait=25")
    (container,) = containers_of(docker_cloud.run_id)
    docker("kill", container)
    assert wait_for(docker_cloud, session["id"], "ENDED")["reason"] != "disconnected"
    following = dispatch(docker_cloud, "?wait=25")
    with client_of(following):
        assert len(containers_of(docker_cloud.run_id)) == 1


@needs_docker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_everything_away_in_the_middle_of_a_session(tmp_path, number):
    running = launch(tmp_path, runtime="docker")
    session = dispatch(running, "?wait=25")
    with client_of(session):
        assert running.stop(number) == 0
    running.process.stdout.close()
    assert_nothing_in_docker(running.run_id)
    assert not running.folder.exists()


@needs_docker
def test_what_a_killed_run_left_is_removed_by_the_next_start(tmp_path):
    killed = launch(tmp_path, runtime="docker")
    dispatch(killed, "?wait=25")
    killed.process.kill()
    killed.process.wait()
    killed.process.stdout.close()
    assert containers_of(killed.run_id)
    assert networks_of(killed.run_id)
    following = launch(tmp_path, runtime="process")
    try:
        assert "removed what 1 dead run left behind" in "".join(following.errors)
        assert_nothing_in_docker(killed.run_id)
    finally:
        assert following.stop() == 0
        following.process.stdout.close()


@needs_docker
def test_the_end_does_not_wait_for_an_image_that_is_being_built(tmp_path):
    folder = tmp_path / "slow"
    folder.mkdir()
    base = "ARG BASE_IMAGE=python:3.12-slim\nFROM ${BASE_IMAGE}\n"
    # A unique comment makes a unique image: no layer is in a cache.
    (folder / "Dockerfile").write_text(f"{base}# {tmp_path}\nRUN echo now-slow && sleep 600\n")
    process = subprocess.Popen(
        up_command(runtime="docker", image=f"slow={folder}"),
        cwd=ROOT,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any("building slow" in line for line in process.stderr)
    (run_id,) = [path.name for path in (tmp_path / "usher").iterdir() if path.is_dir()]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert_nothing_in_docker(run_id)
    assert not (tmp_path / "usher").exists()
