"""`usher run --docker`: a project's image, built and run from its Dockerfile."""

import json
import signal
import subprocess
import sys

import docker
import pytest

from local.hosts.base_image import ensure_base
from local.hosts.image_builder import download_wheels
from tests.integration.conftest import wait_until
from tests.integration.test_usher_run import start
from tests.integration.usher_fake import PROJECT, ROOT, Done, environment
from tests.needs import needs_docker
from usher.docker import local_tag


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A new project with the jobs of these tests in it, and the arguments that build it here."""
    folder = tmp_path_factory.mktemp("projects") / "in_docker"
    command = [sys.executable, "-m", "usher", "new", "hello", "--into", str(folder)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    for module in ("tame", "wild"):
        (folder / "jobs" / f"{module}.py").write_text(
            (PROJECT / "jobs" / f"{module}.py").read_text(encoding="utf-8"), encoding="utf-8"
        )
    client = docker.from_env().api
    base = ensure_base(client, "python:3.12-slim", print)
    wheels = tmp_path_factory.mktemp("wheels")
    requirements = [ROOT / "usher" / "requirements.lock"]
    assert download_wheels(requirements, client.inspect_image(base), wheels) is None
    yield folder, ["--docker", "--base", base, "--wheels", str(wheels)]
    for image in client.images(local_tag(folder)):
        client.remove_image(image["Id"], force=True)
    client.close()


def run(project, *words):
    folder, how = project
    process = start(*how, *words, project=folder)
    out, log = process.communicate(timeout=120)
    return Done(process.returncode, out, log.splitlines())


@needs_docker
def test_a_new_projects_job_runs_in_its_image(project):
    done = run(project, "hello", "times=2")
    assert done.code == 0, done.log
    assert done.out.startswith("hello you (1)\nhello you (2)\n{")
    assert json.loads(done.out[done.out.index("{") :]) == {"greeted": "you", "times": 2}
    assert "usher: job=hello invocation=local attempt=1 revision=0" in done.log
    assert done.log[-1].startswith("usher: finished outcome=succeeded exit=0 ")


@needs_docker
def test_exit_codes_and_invalid_parameters_come_through(project):
    assert run(project, "ends", "how=exits", "code=3").code == 3
    done = run(project, "echo", "times=0")
    assert done.code == 65
    assert any("text: Field required" in line for line in done.log)


@needs_docker
def test_the_kernel_ends_a_job_that_takes_too_much_memory(project):
    done = run(project, "hog")
    assert done.code == 137
    assert any("OutOfMemoryError" in line and "96 MiB" in line for line in done.log)
    assert "outcome=failed exit=137" in done.log[-1]


@needs_docker
def test_as_process_1_it_reaps_and_ends_what_the_job_leaves_behind(project):
    done = run(project, "leaves")
    assert done.code == 0, done.log
    assert len(json.loads(done.out)) == 3


@needs_docker
def test_a_signal_reaches_the_job_in_its_container(project):
    folder, how = project
    # The image is there by now: nothing stands between the start and the job.
    process = start(*how, "endless", "file=/tmp/note", "how=says so", project=folder)
    lines = []
    wait_until(lambda: _read(process, lines, "it runs"), 60, "the job's first line")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "outcome=killed exit=143" in log


def _read(process, lines, wanted):
    lines.append(process.stderr.readline())
    return wanted in lines[-1]
