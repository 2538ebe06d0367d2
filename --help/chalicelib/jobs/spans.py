"""Spans of an invocation's states before its container began. Pure."""

import itertools

from chalicelib.jobs.model import ENDS, Invocation, State

NAMES = {
    State.SCHEDULED: "scheduled",
    State.ACCEPTED: "wait",
    State.QUEUED: "wait",
    State.LAUNCHING: "launch",
    State.LAUNCHED: "ECS start",
}
"""The span of the time in a state."""

Step = tuple[str, float, float]
"""Name, begin and end of a span."""


def ends_before_the_run(before: Invocation, after: Invocation) -> bool:
    """Whether nothing is to come before the run: it began, or it never will."""
    if before.state is after.state or before.started_at is not None:
        return False
    return after.state is State.STARTED or after.state in ENDS


def steps_of(invocation: Invocation) -> list[Step]:
    """The spans up to the run, in order; states that follow each other with one name are one."""
    steps: list[Step] = []
    for change, following in itertools.pairwise(invocation.history):
        name = NAMES.get(change.state)
        if name is None:
            continue
        if steps and steps[-1][0] == name and steps[-1][2] == change.at:
            steps[-1] = name, steps[-1][1], following.at
        else:
            steps.append((name, change.at, following.at))
    return steps


def attributes_of(invocation: Invocation) -> dict[str, str | None]:
    """A span's attributes: neither parameters nor owner."""
    return {
        "usher.invocation": invocation.id,
        "usher.job": invocation.job,
        "usher.state": invocation.state.value,
        "usher.reason": invocation.reason,
    }
