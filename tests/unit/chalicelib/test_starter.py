"""StartTask requests, and how their refusals are read."""

import pytest

from chalicelib.clients import ONCE, clients_for
from chalicelib.config import load_config
from chalicelib.ecs.failures import LaunchError, LaunchFailure
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.requests import PLUGIN, PluginPlacement, TaskRequest, run_task_for

REQUEST = TaskRequest(
    started_by="job/i/1",
    attempt=1,
    task_definition="arn:aws:ecs:r:1:task-definition/f:3",
    container="job",
    environment={"A": "b"},
    capacity_provider="hosts",
    constraints=("attribute:rack == 1",),
    tags={"usher-job": "report"},
)


def test_a_request_for_start_task_has_what_run_task_has_but_for_ecs_own_placement() -> None:
    run = run_task_for(REQUEST, "c")
    placed = TaskRequest(**{**vars(REQUEST), "plugin": PluginPlacement("own", "report", 256, 512)})
    start = run_task_for(placed, "c")
    wanted = start.pop(PLUGIN)
    same = ("cluster", "taskDefinition", "startedBy", "overrides", "tags", "enableECSManagedTags")
    assert start == {key: run[key] for key in same}
    assert wanted == {
        "name": "own",
        "of": "report",
        "cpu": 256,
        "memory": 512,
        "constraints": ["attribute:rack == 1"],
        "provider": "hosts",
    }


class Ecs:
    def __init__(self, reason: str) -> None:
        self.reason = reason

    def start_task(self, **_):
        return {"tasks": [], "failures": [{"arn": "a", "reason": self.reason}]}


@pytest.mark.parametrize("reason", ["MISSING", "AGENT", "DRAINING", "INACTIVE", "RESOURCE:MEMORY"])
def test_a_host_that_changed_meanwhile_is_no_failure_of_the_task(reason: str) -> None:
    with pytest.raises(LaunchError) as refused:
        Launcher(Ecs(reason), "c").start({"cluster": "c"}, "h")
    assert refused.value.failure is LaunchFailure.CAPACITY


def test_a_client_for_calls_without_a_token_repeats_none(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    create = clients_for(load_config({"STAGE": "local", "AWS_REGION": "us-east-1"})).create
    attempts = {
        n: create(n).meta.config.retries["total_max_attempts"] for n in ("ecs", "ecs" + ONCE)
    }
    assert attempts == {"ecs": 3, "ecs" + ONCE: 1}
