"""A task's states: forward only, each change a version."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.ecs import model
from local.aws.ecs.model import ORDER, Container, Health, Status, StopCode, Task
from local.hosts.base import Exit

CONTAINERS = ("main", "side")


def task(*essential: bool) -> Task:
    return Task(
        id="t",
        arn="arn:task/t",
        cluster="c",
        cluster_arn="arn:cluster/c",
        sequence=1,
        definition_arn="arn:definition",
        family="f",
        instance_arn="arn:instance",
        availability_zone="az",
        group="family:f",
        started_by=None,
        cpu="256",
        memory="256",
        overrides={},
        containers=tuple(
            Container(f"arn:{name}", name, "image", is_essential, 256, 256, None)
            for name, is_essential in zip(CONTAINERS, essential, strict=False)
        ),
        created_at=0.0,
    )


def running(*essential: bool) -> Task:
    started = model.pulling(task(*essential), 1.0)
    for container in started.containers:
        started = model.container_started(started, container.name, f"rt-{container.name}", 2.0)
    return started


CHANGES = {
    "pulling": lambda t: model.pulling(t, 1.0),
    "started": lambda t: model.container_started(t, "main", "rt", 1.0),
    "side started": lambda t: model.container_started(t, "side", "rt", 1.0),
    "failed": lambda t: model.container_failed(t, "main", "CannotStartContainerError", 1.0),
    "asked": lambda t: model.stop_requested(t, StopCode.USER_INITIATED, "asked", 1.0),
    "stopping": lambda t: model.stopping(t, 1.0),
    "exited": lambda t: model.container_exited(t, "main", Exit(0), 1.0),
    "side exited": lambda t: model.container_exited(t, "side", Exit(1), 1.0),
    "healthy": lambda t: model.health_changed(t, "main", Health.HEALTHY, 1.0),
    "deprovisioning": lambda t: model.deprovisioning(t, 1.0),
    "stopped": lambda t: model.stopped(t, 1.0),
    "terminated": lambda t: model.host_terminated(t, "i-1", 1.0),
}


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=20))
def test_statuses_only_move_forward_and_versions_strictly_increase(names: list[str]) -> None:
    now = task(True, False)
    for name in names:
        try:
            after = CHANGES[name](now)
        except ValueError:
            continue  # refused
        assert ORDER[after.last_status] >= ORDER[now.last_status]
        assert after.version > now.version
        assert now.desired_status is Status.RUNNING or after.desired_status is Status.STOPPED
        assert now.stop_code is None or after.stop_code is now.stop_code
        now = after


def test_a_stopped_task_does_not_change_any_more() -> None:
    ended = model.stopped(running(True), 3.0)
    with pytest.raises(ValueError, match="STOPPED"):
        model.health_changed(ended, "main", Health.HEALTHY, 4.0)


def test_a_task_runs_when_the_last_of_its_containers_does() -> None:
    started = model.container_started(model.pulling(task(True, True), 1.0), "main", "rt", 2.0)
    assert started.last_status is Status.PENDING
    started = model.container_started(started, "side", "rt", 3.0)
    assert (started.last_status, started.started_at) == (Status.RUNNING, 3.0)


def test_an_essential_container_takes_the_task_with_it_another_does_not() -> None:
    before = running(True, False)
    assert model.container_exited(before, "side", Exit(1), 3.0).is_wanted
    after = model.container_exited(before, "main", Exit(3), 3.0)
    assert after.stop_code is StopCode.ESSENTIAL_CONTAINER_EXITED
    assert after.stopped_reason == "Essential container in task exited"
    assert after.last_status is Status.RUNNING, "the other one still runs"


def test_an_image_that_cannot_be_pulled_is_the_reason_of_the_task() -> None:
    reason = "CannotPullContainerError: no such image"
    after = model.container_failed(model.pulling(task(True), 1.0), "main", reason, 2.0)
    assert (after.stop_code, after.stopped_reason) == (StopCode.TASK_FAILED_TO_START, reason)


def test_the_first_reason_to_stop_stays() -> None:
    asked = model.stop_requested(running(True), StopCode.USER_INITIATED, "asked", 3.0)
    ended = model.container_exited(asked, "main", Exit(143), 4.0)
    assert (ended.stop_code, ended.stopped_reason, ended.stopping_at) == (
        StopCode.USER_INITIATED,
        "asked",
        3.0,
    )


@pytest.mark.parametrize(
    ("main", "side", "expected"),
    [
        (Health.HEALTHY, Health.UNHEALTHY, Health.UNHEALTHY),
        (Health.HEALTHY, Health.UNKNOWN, Health.UNKNOWN),
        (Health.HEALTHY, Health.HEALTHY, Health.HEALTHY),
    ],
)
def test_a_task_is_as_healthy_as_its_essential_containers(
    main: Health, side: Health, expected: Health
) -> None:
    containers = tuple(
        dataclasses.replace(container, checks_health=True, health=health)
        for container, health in zip(task(True, True).containers, (main, side), strict=True)
    )
    assert dataclasses.replace(task(), containers=containers).health is expected
