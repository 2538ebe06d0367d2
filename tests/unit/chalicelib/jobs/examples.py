"""An invocation, a job and news of tasks, for the tests of this folder."""

from dataclasses import replace
from typing import Any

from chalicelib.ecs.failures import LaunchError, LaunchFailure
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.jobs import lifecycle
from chalicelib.jobs.description import DeployedJob, JobDescription
from chalicelib.jobs.model import Change, Invocation, Priority, State

ID = "6d6cf8ce-6d4e-4a8c-9a38-0c5a51b5b1d3"
ARN = "arn:aws:ecs:us-east-1:123456789012:task/usher-test/1"
OTHER_ARN = ARN.replace("/1", "/2")
DEFINITION = "arn:aws:ecs:us-east-1:123456789012:task-definition/usher-test-job-report:7"
PROCESS, OTHER_PROCESS = "process-one", "process-two"
CREATED, NOT_AFTER = 1_000.0, 5_000.0
REQUEST = {"cluster": "usher-test", "count": 1}

NO_ROOM = LaunchError(LaunchFailure.CAPACITY, "RESOURCE:MEMORY")
THROTTLED = LaunchError(LaunchFailure.THROTTLED, "Rate exceeded")
SILENT = LaunchError(LaunchFailure.UNCERTAIN, "Connection was closed")
WRONG = LaunchError(LaunchFailure.REFUSED, "ClientException: no such task definition")


def accepted(**facts: Any) -> Invocation:
    """Returns an invocation that was just recorded."""
    given: dict[str, Any] = {
        "id": ID,
        "job": "report",
        "owner": "ann",
        "key": "secret",
        "priority": Priority.NORMAL,
        "created_at": CREATED,
        "not_after": NOT_AFTER,
        "state": State.ACCEPTED,
        "history": (Change(CREATED, State.ACCEPTED, "asked for by ann"),),
    }
    return Invocation(**given | facts)


def scheduled(at: float = 2_000.0) -> Invocation:
    return accepted(at=at, state=State.SCHEDULED, history=())


def queued(now: float = CREATED) -> Invocation:
    return lifecycle.queue(accepted(), now)


def claimed(before: Invocation | None = None, now: float = CREATED) -> Invocation:
    return lifecycle.claim(
        before or queued(),
        task_definition=DEFINITION,
        image="any",
        timeout_seconds=600,
        request=REQUEST,
        attempt_counters=("capacity#jobs",),
        now=now,
    )


def task(version: int = 1, arn: str = ARN, attempt: int = 1, **facts: Any) -> TaskChange:
    facts = {"last_status": "RUNNING", "desired_status": "RUNNING"} | facts
    return TaskChange(arn, version, started_by=f"job/{ID}/{attempt}", **facts)


def stopped(exit_code: int | None = 0, version: int = 9, **facts: Any) -> TaskChange:
    ended = {"last_status": "STOPPED", "desired_status": "STOPPED", "exit_code": exit_code}
    return task(version, **ended | facts)


def launched(now: float = CREATED) -> Invocation:
    return lifecycle.fold_launch(claimed(), 1, task(), now)


def started(now: float = CREATED) -> Invocation:
    after = lifecycle.give_permit(launched(), 1, ARN, PROCESS, now)
    assert isinstance(after, Invocation)
    return after


def killed(before: Invocation, now: float = CREATED) -> Invocation:
    return lifecycle.ask_for_end(before, "ann asked", now)


def waiting(number: int, **facts: Any) -> Invocation:
    """Returns one of several waiting invocations; a smaller number is older."""
    return replace(queued(), id=f"{number:08x}{ID[8:]}", created_at=CREATED + number, **facts)


def deployed(**facts: Any) -> DeployedJob:
    return DeployedJob(JobDescription("report", **facts), DEFINITION, "registry/report:1")
