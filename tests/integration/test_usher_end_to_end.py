"""The commands of docs/jobs.md, one by one, on a local cloud; and the ends of runs there."""

import os
import re
import shlex
import subprocess
import sys

import pytest

import usher
from tests.integration.usher_fake import PROJECT, ROOT, environment


@pytest.fixture(scope="module")
def command(cloud, tmp_path_factory):
    """Run `usher …` in a folder, towards the cloud; its stdout."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "usher").write_text(f'#!/bin/sh\nexec {sys.executable} -m usher "$@"\n')
    (programs / "usher").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"

    def run(line, folder, code=0):
        done = subprocess.run(
            shlex.split(line),
            cwd=folder,
            env=environment(USHER_URL=cloud.dispatcher, PATH=path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def client(cloud):
    return usher.Client(cloud.dispatcher)


def test_the_way_to_a_scheduled_job_is_as_the_document_says(command, client, tmp_path):
    text = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    story = text.split("## From nothing to a scheduled job\n", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"^\$ (.+)$", story, flags=re.MULTILINE)
    assert len(lines) == 8
    said = {}
    folder = tmp_path
    for line in lines:
        if line.startswith("cd "):
            folder = folder / line.removeprefix("cd ")
        else:
            said[" ".join(line.split()[1:3])] = command(line, folder)
    assert "hello Ada (2)" in said["run price_alert"]
    assert "registered price_alert, revision 1" in said["deploy"]
    assert "hello Ada (3)" in said["invoke price_alert"]
    assert said["schedule put"].count("05:00:00Z") + said["schedule put"].count("06:00:00Z") == 10
    run = client.wait(said["schedule run"].strip(), timeout_seconds=60)
    assert run.succeeded
    assert run.result == {"greeted": "Ada", "times": 3}
    assert run.schedule == "every-monday"
    assert said["invocations --job"].count("price_alert") >= 1
    command("usher schedule delete every-monday", folder)


@pytest.fixture(scope="module")
def deployed(command, tmp_path_factory):
    """The jobs of these tests, deployed."""
    folder = tmp_path_factory.mktemp("projects") / "tests"
    command(f"usher new hello --into {folder}", ROOT)
    for module in ("tame", "wild"):
        (folder / "jobs" / f"{module}.py").write_text(
            (PROJECT / "jobs" / f"{module}.py").read_text(encoding="utf-8"), encoding="utf-8"
        )
    command("usher deploy", folder)
    return folder


@pytest.mark.parametrize(
    ("job", "parameters", "reason", "code", "detail"),
    [
        ("echo", {"text": "a"}, "succeeded", 0, "succeeded"),
        ("ends", {"how": "exits", "code": 3}, "failed", 3, "it exited with 3"),
        ("ends", {"how": "raises"}, "failed", 1, "LookupError: nobody home"),
        ("hog", {}, "failed", 137, "OutOfMemoryError"),
        ("bomb", {"apart": True}, "timed_out", 124, "it was still running after 2 s"),
    ],
)
def test_ends_are_told_as_they_are(deployed, client, job, parameters, reason, code, detail):
    run = client.wait(client.invoke(job, parameters), timeout_seconds=60)
    assert (run.reason, run.exit_code) == (reason, code)
    assert detail in run.detail


def test_a_job_that_runs_is_killed(deployed, client):
    made = client.invoke("endless", {"file": "/tmp/note"})
    for line in client.logs(made, follow=True):
        assert line.text.startswith("usher: job=endless ")
        break
    client.kill(made)
    run = client.wait(made, timeout_seconds=30)
    assert (run.state, run.reason) == ("FINISHED", "killed")


def test_what_runs_stays_on_its_revision_and_outlives_the_removal_of_its_job(deployed, client):
    found = client.job("endless")
    image = found.image
    description = {"name": "endless", "cpu": 64, "memory": 96, "parameters": {"type": "object"}}
    running = client.invoke("endless", {"file": "/tmp/note"})
    for _ in client.logs(running, follow=True):
        break
    assert client.register(image, description)["revision"] == found.revision + 1
    assert client.register(image, description)["revision"] == found.revision + 1, "unchanged"
    later = client.invoke("endless", {"file": "/tmp/note"})
    for _ in client.logs(later, follow=True):
        break
    client.remove_job("endless")
    with pytest.raises(usher.AnswerError) as caught:
        client.invoke("endless", {"file": "/tmp/note"})
    assert caught.value.code == "unknown_job"
    assert "endless" not in {job.name for job in client.jobs()}
    for made, revision in ((running, found.revision), (later, found.revision + 1)):
        assert client.invocation(made).state == "STARTED"
        client.kill(made)
        run = client.wait(made, timeout_seconds=30)
        assert (run.reason, run.revision) == ("killed", revision)


def test_what_does_not_fit_is_refused_and_not_queued(deployed, client):
    with pytest.raises(usher.AnswerError) as caught:
        client.invoke("echo", {"text": "a", "times": 99})
    assert caught.value.code == "invalid_parameters"
    assert all(run.state == "FINISHED" for run in client.invocations(job="echo"))
