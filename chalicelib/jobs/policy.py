"""The order in which invocations are launched. Pure.

Invocations wait in the order of their priority, then of their turns. Turns are fair between owners
and in order of age for one owner; see `chalicelib.capacity.fairness`. An invocation without
capacity stays at the head for some tries, so that small ones do not pass a large one for ever;
after that others may pass it, so that one that never fits blocks no others. This applies to each
launch type separately: full hosts do not block invocations on Fargate.
"""

from collections.abc import Callable, Iterable, Iterator

from chalicelib.capacity.fairness import order_of
from chalicelib.capacity.groups import Groups
from chalicelib.contract.jobs import JUDGE_JOB, LAUNCH_TYPES
from chalicelib.jobs.description import JobDescription
from chalicelib.jobs.model import Invocation, Priority

ORDER = (Priority.CRITICAL, Priority.NORMAL, Priority.LOW)
MAX_REST_SECONDS = 35
"""The longest backoff plus the difference between clocks."""
A_PRIORITY = 10**30
"""Range of the sort key for each priority in a group: more than any turn."""
MAX_PASSED_OVER = 500
"""Maximum number of invocations of a launch type without capacity that are read to find another
launch type."""
HEAD_TRIES = 5
"""Number of successive refusals of the head after which others may pass it: about half a minute."""


def slots_for(priority: Priority, capacity: int, kept_for_critical: int) -> int | None:
    """The number of running invocations above which one of `priority` has to wait; None = no
    limit.
    """
    if not capacity:
        return None
    if priority is Priority.CRITICAL:
        return capacity
    return max(0, capacity - kept_for_critical)


def is_open(priority: Priority, running: int, capacity: int, kept_for_critical: int) -> bool:
    """Whether one more of `priority` may run beside those that do."""
    most = slots_for(priority, capacity, kept_for_critical)
    return most is None or running < most


def candidates(
    waiting: Iterable[Invocation],
    now: float,
    *,
    capacity_freed: bool,
    launch_type_of: Callable[[Invocation], str],
    blocked: set[str],
    owner_is_full: Callable[[Invocation], bool] = lambda _: False,
) -> Iterator[Invocation]:
    """The invocations to launch now, in order; `waiting` is sorted by position.

    `capacity_freed`: an invocation ended, so the head need not wait for its next try. `blocked`:
    launch types whose head found no capacity; those behind it wait too, those of other launch types
    do not. The caller adds to it between two candidates. At most MAX_PASSED_OVER are passed over.

    `owner_is_full`: whether an invocation's owner has reached the limit of running ones. Such an
    invocation keeps its position and blocks no others; the function is called for each, because
    launches change its result.
    """
    passed_over = 0
    for invocation in waiting:
        if blocked and launch_type_of(invocation) in blocked:
            passed_over += 1
            if passed_over == MAX_PASSED_OVER or blocked.issuperset(LAUNCH_TYPES):
                return
            continue
        if now < invocation.not_after and owner_is_full(invocation):
            continue
        if not _rests(invocation, now) or (capacity_freed and invocation.refusals):
            yield invocation
        elif 0 < invocation.refusals < HEAD_TRIES:
            blocked.add(launch_type_of(invocation))  # it had no capacity a moment ago


def may_be_tried(invocation: Invocation, now: float) -> bool:
    """Whether it waits, and not for its next try."""
    return invocation.is_waiting and now < invocation.not_after and not _rests(invocation, now)


def _rests(invocation: Invocation, now: float) -> bool:
    """A longer rest was written by a wrong clock."""
    return invocation.next_try_at is not None and (
        now < invocation.next_try_at <= now + MAX_REST_SECONDS
    )


def in_its_place(newcomer: Invocation, waiting: Iterable[Invocation]) -> Iterator[Invocation]:
    """`waiting` in its order, with the newcomer at its position and only once."""
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
    """The sort position of waiting invocations: priority, then turn; one without a turn comes
    first.
    """
    since = max(invocation.created_at, invocation.at or 0)
    order = order_of(0 if invocation.turn is None else invocation.turn + 1, since)
    return ORDER.index(invocation.priority), order


def turns_of(invocation: Invocation) -> str:
    """The name of the queue of an invocation's turn: one for each group and priority."""
    if invocation.group is None:
        return f"jobs/{invocation.priority}"
    return f"jobs/{invocation.group}/{invocation.priority}"


def group_for(description: JobDescription, groups: Groups) -> str | None:
    """The capacity group of a job's invocations; None for the default group."""
    is_judge = description.name == JUDGE_JOB
    return known_group(groups.judges if is_judge else description.group, groups)


def known_group(name: str | None, groups: Groups) -> str | None:
    """The group as records store it: None for the default group and for removed ones."""
    found = groups.of(name).name
    return None if found == groups.default else found


def partitions_of(group: str | None) -> tuple[str, ...]:
    """The index partitions in which the invocations of a group wait, in order."""
    return ORDER if group is None else (f"group/{group}",)


def partition_of(invocation: Invocation) -> str:
    """The index partition in which it waits.

    The default group has one for each priority, as in deployments without groups; other groups have
    one with all priorities in order, so that one query finds the first invocation.
    """
    return invocation.priority if invocation.group is None else f"group/{invocation.group}"


def order_in_partition(invocation: Invocation) -> int:
    """The sort key of waiting invocations in the index."""
    rank, order = place_of(invocation)
    return order if invocation.group is None else rank * A_PRIORITY + order


def range_of(group: str | None, priority: Priority) -> tuple[str, int, int]:
    """The partition and the sort key range in which a group's invocations of a priority wait."""
    if group is None:
        return priority, 0, A_PRIORITY
    first = ORDER.index(priority) * A_PRIORITY
    return f"group/{group}", first, first + A_PRIORITY - 1


def blocks_its_launch_type(invocation: Invocation) -> bool:
    """Whether no invocation behind this one, for which there was no capacity, is tried for now."""
    return invocation.refusals <= HEAD_TRIES
