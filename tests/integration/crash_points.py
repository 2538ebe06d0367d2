"""The recorded AWS calls of the operations of the crash matrices, which give crash points names.

`python -m tests.integration.crash_points` records them again; a test of each operation compares.
It records as well which rights of each function the operations used: `rights.json`.
A run takes two fates of each call, other ones from call to call, and one of a call that changes
nothing; with CRASH_POINTS=all, as `make crash` sets it, every fate of every call.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.ecs.failures import StopError
from chalicelib.errors import UsherError
from chalicelib.grading.sweep import GradingsKind
from chalicelib.jobs.sweep import JobsKind
from chalicelib.sessions import table as sessions_table
from chalicelib.sessions.sweep import SessionsKind
from chalicelib.tasks import store
from tests import rights
from tests.integration.lab import Lab
from tests.integration.wire import Fate, Point, ProcessDiedError

OF_A_LOOK = ((Fate.FAILS,), (Fate.DIES_BEFORE,))
"""To a call that changes nothing, no more can happen; one and the other in turn."""
OF_A_TABLE = (
    (Fate.FAILS, Fate.REPLY_LOST_ONCE, Fate.DIES_AFTER),
    (Fate.DIES_BEFORE, Fate.REPLY_LOST_ONCE, Fate.REPLY_LOST),
)
"""Used in turn: no code catches DynamoDB's failures, so that one ends a process as a crash does."""
OF_OTHERS = (
    Fate.FAILS,
    Fate.REPLY_LOST_ONCE,
    Fate.REPLY_LOST,
    Fate.DIES_BEFORE,
    Fate.DIES_AFTER,
)
"""ECS's and SQS's failures are dealt with: each is another story."""
CONFLICTING = {"dynamodb.PutItem", "dynamodb.TransactWriteItems"}
LOOKS = ("Get", "Query", "Describe", "List", "BatchGet")
PASSING = {Fate.REPLY_LOST_ONCE}
"""Failures that happen once; the next attempt succeeds."""
MOST_OF_A_LOOK = 2
"""A call that changes nothing has so many fates at most."""
RECORDED = Path(__file__).with_suffix(".json")
PARTITIONS = 2
"""Partitions of the indexes of live records during the matrices, instead of eight: a sweep reads
each, and what fails in the second of two is what fails in the eighth of eight."""


REFUSALS = (UsherError, ClientError, BotoCoreError, StopError, ProcessDiedError)
"""Exceptions that an operation may raise when one of its calls fails."""


@dataclass(frozen=True)
class CrashPoint:
    """One failure of one AWS call of an operation."""

    operation: str
    number: int
    """Number of the call, from one."""
    call: str
    fate: Fate

    @property
    def point(self) -> Point:
        """Returns the point for a laboratory's wire."""
        return Point(self.number, self.fate)

    def __str__(self) -> str:
        return f"{self.operation}-{self.number}-{self.call}-{self.fate.name}"


def chosen(number: int, fates: Sequence[Fate]) -> list[Fate]:
    """Returns the fates that a run tries at the call of this number; see the module's docstring."""
    if os.environ.get("CRASH_POINTS") == "all":
        return list(fates)
    count = 1 if len(fates) <= MOST_OF_A_LOOK else 2
    return [fates[(number + 2 * each) % len(fates)] for each in range(count)]


def fates_of(call: str, number: int) -> tuple[Fate, ...]:
    """Returns the possible fates of a call in an operation of jobs or gradings."""
    service, _, name = call.partition(".")
    if name.startswith(LOOKS):
        return OF_A_LOOK[number % 2]
    if service == "dynamodb":
        fates = OF_A_TABLE[number % 2]
        return (*fates, Fate.CONFLICTS) if call in CONFLICTING else fates
    return (*OF_OTHERS, Fate.THROTTLED) if service == "ecs" else OF_OTHERS


def distinct(points: Iterable[CrashPoint], calls: Sequence[str]) -> Iterator[CrashPoint]:
    """Without repeated deaths: one before a call leaves what one after the last write left."""
    seen: set[int] = set()
    for point in points:
        if point.fate in {Fate.DIES_BEFORE, Fate.DIES_AFTER}:
            written = [
                number
                for number, call in enumerate(calls[: point.number], 1)
                if not call.partition(".")[2].startswith(LOOKS)
                and (number < point.number or point.fate is Fate.DIES_AFTER)
            ]
            last = written[-1] if written else 0
            if last in seen:
                continue
            seen.add(last)
        yield point


def points_of(name: str, calls: list[str], *, spares_looks: bool) -> Iterator[CrashPoint]:
    """Yields the `chosen` fates of every call, without repetitions.

    A read that is repeated at once is tried only the first time; with `spares_looks` no read is
    tried, where another operation makes the same ones.
    """
    before, points = "", []
    for number, call in enumerate(calls, 1):
        is_spared = call == before or spares_looks
        if not (is_spared and call.partition(".")[2].startswith(LOOKS)):
            fates = chosen(number, fates_of(call, number))
            points += [CrashPoint(name, number, call, fate) for fate in fates]
        before = call
    yield from distinct(points, calls)


def silent_and_noisy_points(matrix: str, spares_looks: Callable[[str], bool]) -> list[Any]:
    """Every point of every operation, in silence and noise by turns: each fate meets both often."""
    return [
        pytest.param(crash, bool(index % 2), id=f"{crash}-{'noise' if index % 2 else 'silence'}")
        for name, calls in recorded(matrix).items()
        for index, crash in enumerate(points_of(name, calls, spares_looks=spares_looks(name)))
    ]


@dataclass(frozen=True)
class Outcome:
    """The result of an operation during which at most one call failed."""

    calls: list[str]
    was_answered: bool
    """False where the operation raised what its caller may get."""


def act(
    lab: Lab,
    operation: Callable[[], object],
    point: Point | None,
    passing: Collection[Fate] = PASSING,
) -> Outcome:
    """Carry out an operation; the call at `point` meets its fate, the wire is whole afterwards.

    No fate of `passing` may be noticed by the operation.
    """
    lab.wire.reset(point)
    was_answered = True
    try:
        operation()
    except REFUSALS:
        assert point is not None
        assert point.fate not in passing, "what boto3 gets over is nobody's business"
        was_answered = False
    calls, struck = lab.wire.calls, lab.wire.struck
    lab.wire.reset(None)
    assert struck == (point is not None)
    return Outcome(calls, was_answered)


@cache
def recorded(matrix: str) -> dict[str, list[str]]:
    """The calls of each operation of a matrix, by the operation's name."""
    if not RECORDED.exists():
        return {}
    return dict(json.loads(RECORDED.read_text()).get(matrix, {}))


@contextmanager
def few_partitions() -> Iterator[None]:
    """Let the indexes of live records have PARTITIONS partitions."""
    with ExitStack() as patches:
        for module in (store, sessions_table):
            patches.enter_context(patch.object(module, "LIVE_BUCKETS", PARTITIONS))
        for kind in (SessionsKind, JobsKind, GradingsKind):
            patches.enter_context(patch.object(kind, "partitions", PARTITIONS))
        yield


def compare(matrix: str, operation: str, calls: list[str]) -> None:
    """Fail where an operation makes other calls than those that were recorded."""
    assert calls == recorded(matrix).get(operation), (
        f"{operation} makes other calls than {RECORDED.name} says: each is a crash point;"
        f" add them by `python -m {__name__}`"
    )


def _record() -> Iterator[tuple[str, dict[str, list[str]]]]:
    from tests.integration import (
        test_crash_matrix,
        test_grading_crash_matrix,
        test_jobs_crash_matrix,
    )

    modules: dict[str, Any] = {
        "sessions": test_crash_matrix,
        "jobs": test_jobs_crash_matrix,
        "grading": test_grading_crash_matrix,
    }
    for matrix, module in modules.items():
        yield matrix, module.calls_of_operations()


if __name__ == "__main__":
    with few_partitions():
        RECORDED.write_text(json.dumps(dict(_record()), indent=1) + "\n")
    rights.record("laboratory", rights.USED)
