"""Whose turn it is. Pure.

Invocations wait in the order of their priority, then of their turns, which are fair between owners
and those of one owner in the order of their age; see `chalicelib.capacity.fairness`. One without
capacity keeps its place at the head for some tries, so that a large one is not passed over by small
ones for ever; after that, others may go past it, so that one that never fits holds up nobody else.
All this holds for each launch type by itself: hosts that are full hold up nobody who is to run on
Fargate.
"""

from collections.abc import Callable, Iterable, Iterator

from chalicelib.capacity.fairness import order_of
from chalicelib.capacity.groups import Groups
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.jobs.description import JobDescription
from chalicelib.jobs.model import Invocation, Priority

ORDER = (Priority.CRITICAL, Priority.NORMAL, Priority.LOW)
MAX_REST_SECONDS = 35
"""The longest backoff, and what clocks differ by."""
A_PRIORITY = 10**30
"""So much of the order of a group each priority has: more than any turn takes."""
LAUNCH_TYPES = frozenset({"EC2", "FARGATE"})
MAX_PASSED_OVER = 500
"""Invocations of a launch type without capacity that are read to find another launch type."""
HEAD_TRIES = 5
"""Refusals in a row of the head before others may pass it: about half a minute."""


def slots_for(priority: Priority, capacity: int, kept_for_critical: int) -> int | None:
    """How many may run at once before one of `priority` has to wait; None = no limit of ours."""
    if not capacity:
        return None
    if priority is Priority.CRITICAL:
        return capacity
    return max(0, capacity - kept_for_critical)


def candidates(
    waiting: Iterable[Invocation],
    now: float,
    *,
    capacity_freed: bool,
    launch_type_of: Callable[[Invocation], str],
    blocked: set[str],
    owner_is_full: Callable[[Invocation], bool] = lambda _: False,
) -> Iterator[Invocation]:
    """Those to launch now, in order; `waiting` comes in the order of their places.

    `capacity_freed`: something ended, so the head need not wait for its next try. `blocked` are the
    launch types whose head found no capacity: those behind it wait as well, those of another launch
    type do not. The caller adds to it between two candidates. At most MAX_PASSED_OVER are passed
    over.

    `owner_is_full`: whether as many of an invocation's owner run as may. Such a one keeps its
    place, and holds up nobody behind it; it is asked anew for each, as launches change it.
    """
    passed_over = 0
    for invocation in waiting:
        if blocked and launch_type_of(invocation) in blocked:
            passed_over += 1
            if passed_over == MAX_PASSED_OVER or blocked >= LAUNCH_TYPES:
                return
            continue
        if now < invocation.not_after and owner_is_full(invocation):
            continue
        # A rest longer than there is any was written by a clock that was wrong.
        rests = invocation.next_try_at is not None and (
            now < invocation.next_try_at <= now + MAX_REST_SECONDS
        )
        if not rests or (capacity_freed and invocation.refusals):
            yield invocation
        elif 0 < invocation.refusals < HEAD_TRIES:
            blocked.add(launch_type_of(invocation))  # there was no capacity for it a moment ago


def in_its_place(newcomer: Invocation, waiting: Iterable[Invocation]) -> Iterator[Invocation]:
    """`waiting` in its order, with the newcomer in its place and once."""
    is_in = False
    for invocation in waiting:
        if invocation.id == newcomer.id:
            if is_in:
                continue
            is_in = True
        elif not is_in and place_of(newcomer) < place_of(invocation):
            is_in = True
            yield newcomer
        yield invocation
    if not is_in:
        yield newcomer


def place_of(invocation: Invocation) -> tuple[int, int]:
    """What those that wait are ordered by: priority, then turn; who has none goes first."""
    since = max(invocation.created_at, invocation.at or 0)
    order = order_of(0 if invocation.turn is None else invocation.turn + 1, since)
    return ORDER.index(invocation.priority), order


def turns_of(invocation: Invocation) -> str:
    """The queue in which an invocation has its turn: of its group and priority."""
    if invocation.group is None:
        return f"jobs/{invocation.priority}"
    return f"jobs/{invocation.group}/{invocation.priority}"


def group_for(description: JobDescription, groups: Groups) -> str | None:
    """The capacity group of a job's invocations; None for the default one."""
    is_judge = description.name == JUDGE_JOB
    return known_group(groups.judges if is_judge else description.group, groups)


def known_group(name: str | None, groups: Groups) -> str | None:
    """The group as records have it: None for the default one, and for one that is gone."""
    found = groups.of(name).name
    return None if found == groups.default else found


def partitions_of(group: str | None) -> tuple[str, ...]:
    """The partitions of the index in which the invocations of a group wait, in order."""
    return ORDER if group is None else (f"group/{group}",)


def partition_of(invocation: Invocation) -> str:
    """The partition of the index in which it waits.

    The default group has one for each priority, as deployments without groups have; another
    group has one, in which priorities follow each other, so that one query finds its first.
    """
    return invocation.priority if invocation.group is None else f"group/{invocation.group}"


def order_in_partition(invocation: Invocation) -> int:
    """What a partition of the index is sorted by."""
    rank, order = place_of(invocation)
    return order if invocation.group is None else rank * A_PRIORITY + order


def range_of(group: str | None, priority: Priority) -> tuple[str, int, int]:
    """The partition and the range of it in which a group's invocations of a priority wait."""
    if group is None:
        return priority, 0, A_PRIORITY
    first = ORDER.index(priority) * A_PRIORITY
    return f"group/{group}", first, first + A_PRIORITY - 1


def blocks_its_launch_type(invocation: Invocation) -> bool:
    """Whether nobody behind this one, for which there was no capacity, is tried for now."""
    return invocation.refusals <= HEAD_TRIES
