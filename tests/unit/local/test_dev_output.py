"""Messages of `usher dev` on containers that ended."""

from dataclasses import replace

import pytest

from chalicelib.sessions.reaping import NOT_READY
from local.aws.ecs.model import Container, Status, StopCode, Task
from local.dev.output import TaskEnds

CONTAINER = Container("arn", "session", "image", True, 128, 128, None, last_status=Status.STOPPED)
TASK = Task(
    id="0123456789abcdef0123456789abcdef",
    arn="arn",
    cluster="c",
    cluster_arn="c",
    sequence=1,
    definition_arn="d",
    family="f",
    instance_arn=None,
    availability_zone=None,
    group="g",
    started_by=None,
    cpu=None,
    memory=None,
    overrides={},
    containers=(CONTAINER,),
    created_at=0.0,
    last_status=Status.STOPPED,
    stop_code=StopCode.ESSENTIAL_CONTAINER_EXITED,
    stopped_reason="Essential container in task exited",
)


def ended(exit_code, reason=None, **changes):
    container = replace(CONTAINER, exit_code=exit_code, reason=reason)
    return replace(TASK, containers=(container,), **changes)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (ended(0), []),
        (ended(1), ["[01234567] ended: exit code 1; Essential container in task exited"]),
        (ended(137, "OutOfMemoryError"), ["[01234567] ended: exit code 137; OutOfMemoryError"]),
        (
            ended(None, stop_code=StopCode.TASK_FAILED_TO_START, stopped_reason="no image"),
            ["[01234567] ended: it was never started; no image"],
        ),
        (ended(143, stop_code=StopCode.USER_INITIATED), []),
        (ended(None, stop_code=StopCode.USER_INITIATED), []),
        (
            ended(0, stop_code=StopCode.USER_INITIATED, stopped_reason=NOT_READY),
            ["[01234567] ended: not ready in time: it did not report `ready`"],
        ),
        (replace(ended(1), last_status=Status.RUNNING), []),
    ],
)
def test_a_bad_end_is_said_once(task, says):
    ends = TaskEnds()
    assert list(ends.new_lines([task])) == says
    assert list(ends.new_lines([task])) == []
