"""Tasks on Fargate, from the outside: their addresses, how they end, their logs and their /tmp."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import usher
from tests.integration.conftest import ROOT, finish, launch
from tests.integration.sessions import client_of, dispatch, no_tasks, task_of, wait_for
from tests.integration.usher_fake import environment
from tests.needs import needs_docker
from usher.errors import AnswerError

APPS = """
default = "far"

[apps.far]
image = "usher-session"
launch_type = "FARGATE"
network_mode = "awsvpc"
cpu = 256
memory = 512
"""

JOB = '''
import os
from pathlib import Path

import usher


class Scratch(usher.Job):
    """Writes to /tmp, as which user, and what it finds there."""

    cpu = 256
    memory = 512

    def run(self, parameters):
        print("the user is", os.getuid(), flush=True)
        place = Path("/tmp")
        (place / "x").write_text("written")
        return {"read": (place / "x").read_text(), "user": os.getuid()}
'''


@pytest.fixture(scope="module", params=["process", needs_docker.parameter("docker", id="docker")])
def fargate_cloud(request, tmp_path_factory):
    """A cloud whose app and jobs run on Fargate, with tasks that wait for their network first."""
    folder = tmp_path_factory.mktemp("runs")
    apps = folder / "apps.toml"
    apps.write_text(APPS)
    running = launch(
        folder, runtime=request.param, apps=apps, launch_type="fargate", start_delay=0.3
    )
    yield running
    finish(running)


def test_sessions_have_an_address_each_and_the_same_port(fargate_cloud):
    first, second = (dispatch(fargate_cloud, "?wait=25") for _ in range(2))
    assert first["port"] == second["port"] == 8080
    assert first["ip"] != second["ip"]
    with client_of(first) as (_, one), client_of(second) as (_, two):
        assert (one["session"], two["session"]) == (first["id"], second["id"])
        task = task_of(fargate_cloud, first["id"])
        assert (task["launchType"], "containerInstanceArn" in task) == ("FARGATE", False)
        (attachment,) = task["attachments"]
        details = {pair["name"]: pair["value"] for pair in attachment["details"]}
        answer = fargate_cloud.client("ec2").describe_network_interfaces(
            NetworkInterfaceIds=[details["networkInterfaceId"]]
        )
        (interface,) = answer["NetworkInterfaces"]
        assert interface["Association"]["PublicIp"] == first["ip"]
        assert interface["SubnetId"] == "subnet-local"
    for session in (first, second):
        assert wait_for(fargate_cloud, session["id"], "ENDED")["reason"] == "disconnected"
    no_tasks(fargate_cloud)


def test_a_session_is_stopped_like_any_other(fargate_cloud):
    session = dispatch(fargate_cloud, "?wait=25")
    with client_of(session) as (websocket, _):
        assert fargate_cloud.http("DELETE", f"/sessions/{session['id']}")[0] == 200
        last = [json.loads(frame) for frame in websocket][-1]
        assert last["type"] == "bye"
    assert wait_for(fargate_cloud, session["id"], "ENDED")["reason"] == "stopped"
    assert task_of(fargate_cloud, session["id"])["containers"][0]["exitCode"] == 0


def deployed(cloud, folder: Path, job: str = JOB, *, declares_tmp: bool = True) -> usher.Client:
    """The client of a cloud that has a job of this source, in an image of the shipped kind."""

    def command(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "usher", *words],
            cwd=folder if folder.is_dir() else ROOT,
            env=environment(USHER_URL=cloud.dispatcher),
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )

    command("new", "scratch", "--into", str(folder))
    (folder / "jobs" / "scratch.py").write_text(job)
    if not declares_tmp:
        dockerfile = folder / "Dockerfile"
        text, count = re.subn(r"(?m)^VOLUME .*\n", "", dockerfile.read_text())
        assert count == 1
        dockerfile.write_text(text)
    command("deploy")
    return usher.Client(cloud.dispatcher)


def test_a_job_writes_to_tmp(fargate_cloud, tmp_path):
    client = deployed(fargate_cloud, tmp_path / "project")
    run = client.wait(client.invoke("scratch", {}), timeout_seconds=90)
    assert run.succeeded, run.detail
    assert run.result == {"read": "written", "user": 65534}
    assert "the user is 65534" in [line.text for line in client.logs(run.id)]


@pytest.mark.parametrize("fargate_cloud", [needs_docker.parameter("docker")], indirect=True)
def test_a_volume_that_the_image_does_not_declare_belongs_to_root(fargate_cloud, tmp_path):
    client = deployed(fargate_cloud, tmp_path / "undeclared", declares_tmp=False)
    run = client.wait(client.invoke("scratch", {}), timeout_seconds=90)
    assert (run.reason, run.exit_code) == ("failed", 1)
    assert "/tmp/x" in run.detail


def test_a_size_that_fargate_does_not_have_is_refused_with_the_words_of_ecs(fargate_cloud):
    description = {"name": "odd", "cpu": 300, "memory": 512, "parameters": {"type": "object"}}
    with pytest.raises(
        AnswerError, match="No Fargate configuration exists for given values"
    ) as said:
        usher.Client(fargate_cloud.dispatcher).register("usher-session", description)
    assert said.value.status == 400
