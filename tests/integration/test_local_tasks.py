"""Tasks of the local cloud: images from folders, their environment, and their output."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.hosts.images import folder_image
from tests.integration.conftest import RunningCloud, finish, launch, wait_until
from tests.needs import docker_missing, needs_docker

GROUP = "/usher/local/jobs"
PROGRAM = """
import json, os, sys, urllib.request
import usher, chalicelib.contract.jobs
words = sys.argv[1:]
if "where" in words:
    print("task", json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task"))["TaskARN"])
    print("container", json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"]))["Name"])
if "flood" in words:
    line = b"x" * 999 + b"\\n"
    for _ in range(40_000):
        os.write(1, line)
print("to stderr", file=sys.stderr, flush=True)
print("the last line", flush=True)
"""  # noqa: E501 - a program in a string
DOCKERFILE = """
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
WORKDIR /job
COPY wheels /wheels
COPY chalicelib ./chalicelib
COPY usher ./usher
COPY program.py ./
ENTRYPOINT ["python3", "program.py"]
"""


@pytest.fixture(scope="module", params=["process", needs_docker.parameter("docker")])
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCloud]:
    running = launch(tmp_path_factory.mktemp("runs"), runtime=request.param, pool=0)
    yield running
    finish(running)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("job")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "program.py").write_text(PROGRAM)
    yield folder
    if not docker_missing():
        remove_images(folder_image(f"dir:{folder}").name)


def remove_images(name: str) -> None:
    label = f"label=usher.local.image={name}"
    listed = subprocess.run(
        ["docker", "images", "--quiet", "--filter", label],
        check=False,
        capture_output=True,
        text=True,
    )
    for image in set(listed.stdout.split()):
        subprocess.run(["docker", "rmi", "--force", image], check=False, capture_output=True)


def run(cloud: RunningCloud, image: str, *words: str) -> dict:
    """Run a task to its end, and return it."""
    ecs = cloud.client("ecs")
    ecs.register_task_definition(
        family="printer",
        networkMode="bridge",
        containerDefinitions=[
            {
                "name": "job",
                "image": image,
                "cpu": 256,
                "memory": 128,
                "command": list(words),
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": GROUP,
                        "awslogs-region": cloud.ready["region"],
                        "awslogs-stream-prefix": "printer",
                    },
                },
            }
        ],
    )
    cluster = "usher-local"
    (task,) = ecs.run_task(cluster=cluster, taskDefinition="printer")["tasks"]

    def ended() -> dict | None:
        found = ecs.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
        return next((now for now in found if now["lastStatus"] == "STOPPED"), None)

    return wait_until(ended, 120, "the end of the task", every=0.1)


def lines(cloud: RunningCloud, task: dict) -> list[str]:
    """Returns all its output, page by page."""
    logs, found = cloud.client("logs"), []
    stream = f"printer/job/{task['taskArn'].rpartition('/')[2]}"
    query = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
    page = logs.get_log_events(**query)
    while page["events"]:
        found += [event["message"] for event in page["events"]]
        page = logs.get_log_events(**query, nextToken=page["nextForwardToken"])
    return found


def test_a_folder_runs_with_its_metadata_and_its_output_is_kept(
    cloud: RunningCloud, folder: Path
) -> None:
    task = run(cloud, f"dir:{folder}", "where")
    assert task["containers"][0].get("exitCode") == 0, task
    assert set(lines(cloud, task)) == {
        f"task {task['taskArn']}",
        "container job",
        "to stderr",
        "the last line",
    }


def test_a_changed_folder_is_another_image(cloud: RunningCloud, folder: Path) -> None:
    before = (folder / "program.py").read_text()
    (folder / "program.py").write_text("print('changed')")
    task = run(cloud, f"dir:{folder}")
    (folder / "program.py").write_text(before)
    assert lines(cloud, task) == ["changed"]


def test_a_flood_of_output_is_kept_within_bounds(cloud: RunningCloud, folder: Path) -> None:
    task = run(cloud, f"dir:{folder}", "flood")
    assert task["containers"][0].get("exitCode") == 0, task
    found = lines(cloud, task)
    assert "the last line" in found[-2:]  # stdout and stderr have no order between them
    assert [text for text in found if "did not keep" in text]
    assert 8_000 < len(found) < 20_000
    streams = cloud.folder / cloud.run_id / "logs" / "streams"
    name = task["taskArn"].rpartition("/")[2]
    kept = sum(os.stat(path).st_size for path in streams.rglob(f"*{name}*"))
    assert kept < 13 * 1024 * 1024


@pytest.mark.parametrize("image", ["dir:/no/such/folder", "dir:/usr/share"])
def test_a_folder_that_is_no_image_fails_as_on_ecs(cloud: RunningCloud, image: str) -> None:
    task = run(cloud, image)
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError")
