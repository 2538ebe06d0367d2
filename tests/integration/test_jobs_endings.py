"""Jobs that fail, all at once on one cloud: each has its own reason, and none affects another."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT, RunningCloud, finish, launch, wait_until
from tests.integration.light_job import DESCRIPTION, Runs, make_light_job
from tests.needs import needs_docker

Story = tuple[RunningCloud, dict[str, str]]
"""A cloud, and the invocations by what is special about each."""
PROJECT = Path(__file__).parent / "usher_project"
CRASHES = '''
from usher import Job

class Crashes(Job):
    """Never gets as far as that."""

    def run(self, parameters):
        return "never"

raise LookupError("no such thing at import")
'''
ANYTHING = {"type": "object"}
JOBS: dict[str, dict[str, Any]] = {
    "hog": {"memory": 96, "timeoutSeconds": 60, "parameters": ANYTHING},
    "bomb": {"memory": 256, "timeoutSeconds": 3, "parameters": ANYTHING},
    "endless": {"memory": 96, "timeoutSeconds": 2, "parameters": ANYTHING},
    "prints": {"memory": 96, "timeoutSeconds": 60, "parameters": ANYTHING},
    "ends": {"memory": 96, "timeoutSeconds": 60, "parameters": ANYTHING},
    "crashes": {"memory": 96, "timeoutSeconds": 60},
}
ENDINGS: dict[str, tuple[str, dict[str, Any], str, int | None, str]] = {
    "takes all memory": ("hog", {}, "failed", 137, "memory"),
    "forks without end": ("bomb", {"most": 60}, "timed_out", 124, "3 s"),
    "ignores SIGTERM": ("endless", {"file": "/tmp/x", "how": "ignores"}, "timed_out", 124, "2 s"),
    "prints 100 MB": ("prints", {"megabytes": 100}, "succeeded", 0, "succeeded"),
    "exits with 75": ("ends", {"how": "exits_hard", "code": 75}, "failed", 1, "exited with 75"),
    "crashes": ("ends", {"how": "crashes"}, "failed", 139, "SIGSEGV"),
    "has parameters that do not fit": ("ends", {"how": 7}, "invalid", 65, "how"),
    "crashes on import": ("crashes", {}, "failed", 1, "LookupError"),
}


def make_project(folder: Path) -> str:
    """A project with the jobs above; returns the `image` of PUT /jobs/…."""
    shutil.copytree(PROJECT / "jobs", folder / "jobs")
    (folder / "jobs" / "crashes.py").write_text(CRASHES, encoding="utf-8")
    (folder / "requirements.txt").touch()
    shutil.copy(ROOT / "usher" / "Dockerfile", folder / "Dockerfile")
    folder.chmod(0o755)
    return f"dir:{folder}"


def register(cloud: RunningCloud, name: str, image: str, facts: dict[str, Any]) -> None:
    body = {"image": image, "description": {"name": name, "cpu": 64} | facts}
    status, answer = cloud.http("PUT", f"/jobs/{name}", body, timeout=300)
    assert status == 200, answer


def invoke(cloud: RunningCloud, job: str, parameters: Any) -> str:
    status, made = cloud.http("POST", f"/jobs/{job}/invocations", {"parameters": parameters})
    assert status == 201, made
    return str(made["id"])


def end_of(cloud: RunningCloud, invocation_id: str, seconds: float = 90) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        _, found = cloud.http("GET", f"/invocations/{invocation_id}")
        return found if found["finishedAt"] else None

    found: dict[str, Any] = wait_until(ended, seconds, f"the end of {invocation_id}", every=0.2)
    return found


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningCloud, dict[str, str]]]:
    """All of them under way, with one beside them that is well."""
    folder = tmp_path_factory.mktemp("endings")
    cloud, runs = launch(folder, hosts=2, host_cpu=16_384, host_memory=16_384), Runs()
    try:
        # A job can be made from a folder with any name.
        image = make_project(folder / " -pro jekt 'für\" alle")
        for name, facts in JOBS.items():
            register(cloud, name, image, facts)
        register(cloud, "light", make_light_job(folder / "light"), DESCRIPTION)
        register(cloud, "missing", "nowhere/to-be-found:1", {})
        made = {"is well": invoke(cloud, "light", {"port": runs.port, "seconds": 8.0})}
        made["has no image"] = invoke(cloud, "missing", None)
        for words, (job, parameters, *_) in ENDINGS.items():
            made[words] = invoke(cloud, job, parameters or None)
        yield cloud, made
        wait_until(lambda: not cloud.tasks(), 30, "the end of all tasks")
    finally:
        runs.close()
        finish(cloud)


@pytest.mark.parametrize("words", ENDINGS)
def test_a_job_that(story: Story, words: str) -> None:
    cloud, made = story
    _, _, reason, code, detail = ENDINGS[words]
    found = end_of(cloud, made[words])
    print(words, json.dumps({key: found[key] for key in ("reason", "exitCode", "detail")}))
    assert (found["reason"], found["exitCode"]) == (reason, code), found
    assert detail in found["detail"]
    assert found["attempt"] == 1, "user code may have run: never again"


def test_a_job_whose_image_is_missing_is_tried_some_times_and_given_up(
    story: Story,
) -> None:
    cloud, made = story
    found = end_of(cloud, made["has no image"])
    assert (found["reason"], found["exitCode"], found["attempt"]) == ("start_failed", None, 5)
    assert "CannotPullContainerError" in found["detail"]


def test_the_one_beside_them_noticed_nothing(story: Story) -> None:
    cloud, made = story
    found = end_of(cloud, made["is well"])
    assert (found["reason"], found["attempt"]) == ("succeeded", 1)


@needs_docker
def test_in_docker_memory_and_processes_end_with_the_container(tmp_path: Path) -> None:
    cloud = launch(tmp_path, runtime="docker", hosts=1, host_cpu=4096, host_memory=8192)
    try:
        image = make_project(tmp_path / "project")
        for name in ("hog", "bomb", "ends"):
            register(cloud, name, image, JOBS[name])
        made = {
            words: invoke(cloud, ENDINGS[words][0], ENDINGS[words][1])
            for words in ("takes all memory", "forks without end", "crashes")
        }
        for words, one in made.items():
            _, _, reason, code, _ = ENDINGS[words]
            found = end_of(cloud, one, 180)
            print(words, found["reason"], found["exitCode"], found["detail"])
            assert (found["reason"], found["exitCode"]) == (reason, code), found
    finally:
        finish(cloud)
