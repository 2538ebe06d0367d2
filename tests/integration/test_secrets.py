"""Secrets by reference: fetched when a task starts, in no description, record or answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.hosts.images import folder_image
from tests.integration.conftest import RunningCloud, finish, launch, wait_until
from tests.integration.test_local_tasks import remove_images
from tests.needs import docker_missing, needs_docker

VALUE = "correct-horse-battery-staple"
PROGRAM = """
import os
for name in ("WHOLE", "PART", "PARAMETER"):
    print(name, os.environ[name][::-1], flush=True)
"""
DOCKERFILE = """
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
WORKDIR /job
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


def put_job(cloud: RunningCloud, folder: Path, secrets: dict[str, str]) -> None:
    description = {"name": "printer", "secrets": secrets}
    body = {"image": f"dir:{folder}", "description": description}
    assert cloud.http("PUT", "/jobs/printer", body)[0] == 200


def test_values_reach_the_job_and_nothing_else(cloud, folder):
    manager, store = cloud.client("secretsmanager"), cloud.client("ssm")
    name = "usher/local/whole"
    whole = manager.create_secret(Name=name, SecretString=VALUE)["ARN"]
    parts = json.dumps({"token": VALUE})
    part = manager.create_secret(Name="usher/local/part", SecretString=parts)["ARN"]
    store.put_parameter(Name="/usher/local/parameter", Value=VALUE, Type="SecureString")
    secrets = {"WHOLE": whole, "PART": f"{part}:token::", "PARAMETER": "/usher/local/parameter"}
    put_job(cloud, folder, secrets)
    _, run = cloud.http("POST", "/jobs/printer/invocations", {})
    path = f"/invocations/{run['id']}"

    def printed() -> list[str]:
        return [line["text"] for line in cloud.http("GET", f"{path}/logs")[1].get("lines", ())]

    # The image asks for no start permit, so it would be tried again: it is killed instead.
    log = wait_until(lambda: lines if len(lines := printed()) == 3 else None, 60)
    run = cloud.http("POST", f"{path}/kill")[1]
    assert log == [f"{name} {VALUE[::-1]}" for name in secrets]

    (definition,) = cloud.client("ecs").list_task_definitions(
        familyPrefix="usher-local-job-printer"
    )["taskDefinitionArns"][-1:]
    described = cloud.client("ecs").describe_task_definition(taskDefinition=definition)
    tasks = cloud.client("ecs").list_tasks(cluster="usher-local", desiredStatus="STOPPED")
    shown = cloud.client("ecs").describe_tasks(cluster="usher-local", tasks=tasks["taskArns"])
    told = [described, shown, run, log, *(cloud.http("GET", p) for p in ("/jobs", "/invocations"))]
    assert VALUE not in json.dumps(told, default=str)
    assert whole in json.dumps(described, default=str)


def test_what_is_not_there_ends_the_start_with_the_reason(cloud, folder):
    put_job(cloud, folder, {"WHOLE": "/usher/local/nowhere"})
    _, invocation = cloud.http("POST", "/jobs/printer/invocations", {})
    path = f"/invocations/{invocation['id']}"
    words = "ResourceInitializationError: unable to pull secrets"
    wait_until(lambda: words in json.dumps(cloud.http("GET", path)[1]), 30)
    cloud.http("POST", f"{path}/kill")


@pytest.mark.parametrize(
    "secrets",
    [
        {"TOKEN": VALUE},
        {"TOKEN": "relative/name"},
        {"PYTHONSTARTUP": "/usher/local/x"},
        {"A-B": "/usher/local/x"},
        {"TOKEN": 1},
        ["TOKEN"],
    ],
)
def test_what_is_no_reference_is_refused(cloud, folder, secrets):
    body = {"image": f"dir:{folder}", "description": {"name": "other", "secrets": secrets}}
    status, told = cloud.http("PUT", "/jobs/other", body)
    assert (status, told["error"]["code"]) == (400, "bad_request")
    assert VALUE not in told["error"]["message"]
