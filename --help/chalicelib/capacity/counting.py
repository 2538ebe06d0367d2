"""Counters of the capacity that groups use: one item and its writes. Pure.

The transaction that decides about a container's start increments the counter, and the one that
records its end decrements it, so it cannot drift. The container's record has the counter's name,
which contains group and size, because both may change in the configuration.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import and_
from typing import Any

from chalicelib.capacity.groups import RESOURCES, UNBOUNDED, Amount, Groups
from chalicelib.capacity.shares import Allowed, Standing
from chalicelib.dynamodb.expressions import Attr, Condition, expressions
from chalicelib.dynamodb.serialization import deserialize
from chalicelib.dynamodb.writes import Write

ITEM = "capacity#groups"
WAITS_SECONDS = 15
"""A recorded wait in a group is valid for this long; it is renewed while the wait lasts."""
OLD_PACE = 0.8
"""Weight of the previous value in the moving average of the time between two starts."""
LONGEST_PAUSE_SECONDS = 600.0
"""Upper bound for the time between two starts in the average."""
_COUNTER = "group#"


def counter_of(group: str, amount: Amount) -> str:
    """The name of the counter of a container in a group."""
    return f"{_COUNTER}{group}#{amount.places}#{amount.cpu}#{amount.memory}"


def is_group_counter(counter: str) -> bool:
    """Whether a counter belongs to a capacity group."""
    return counter.startswith(_COUNTER)


def group_counters(counters: tuple[str, ...]) -> tuple[str, ...]:
    """The counters that belong to capacity groups."""
    return tuple(filter(is_group_counter, counters))


def raised(
    table: str,
    groups: Groups,
    allowed: Allowed,
    *,
    name: str,
    amount: Amount,
    now: float,
    pace: float | None,
) -> Write:
    """Count one more container of the group `name`, on condition that no counter exceeds what is
    allowed.

    `pace`: the average seconds between two starts of those that wait there.
    """
    values = {f"{name}/took_at": now}
    if pace is not None:  # those that still wait record the wait again
        values |= {f"{name}/pace": round(pace, 3), f"{name}/admitted_at": now}
        values |= {f"{name}/waits_at": 0}
    return {"TableName": table, "Key": {"id": {"S": ITEM}}} | expressions(
        condition=_condition(groups, name, allowed),
        add_values={f"{name}/{each}": amount.of(each) for each in RESOURCES},
        set_values=values,
    )


def lowered(table: str, counter: str) -> Write:
    """Decrement the counter; counters never become negative."""
    name, *amounts = counter.removeprefix(_COUNTER).rsplit("#", 3)
    taken = dict(zip(RESOURCES, map(int, amounts), strict=True))
    return {"TableName": table, "Key": {"id": {"S": ITEM}}} | expressions(
        condition=Attr(f"{name}/places").gte(taken["places"]),
        add_values={f"{name}/{each}": -number for each, number in taken.items()},
    )


def waiting_noted(name: str, wanted: Amount, now: float, *, is_first: bool) -> Mapping[str, Any]:
    """The attributes of a recorded wait in a group; `is_first`: none was recorded before."""
    values = {f"{name}/waits_at": now} | {f"{name}/waits_{r}": wanted.of(r) for r in RESOURCES}
    return values | ({f"{name}/admitted_at": now} if is_first else {})


def read_standings(
    item: Mapping[str, Any] | None, groups: Groups, now: float
) -> dict[str, Standing]:
    """The usage and the waits of each group, from the stored item.

    A group that was removed from the configuration is included while its containers run.
    """
    values = deserialize(dict(item)) if item else {}
    suffix = "/places"
    stored = {key.removesuffix(suffix) for key, n in values.items() if key.endswith(suffix) and n}
    gone = {name: replace(_read(values, name, now), waits=None) for name in sorted(stored)}
    return gone | {name: _read(values, name, now) for name in groups.by_name}


def next_pace(standing: Standing, now: float) -> float:
    """The average seconds between two starts of those that wait in a group, including one that
    starts now.
    """
    took = min(now - standing.admitted_at, LONGEST_PAUSE_SECONDS)
    if standing.pace is None:
        return took
    return OLD_PACE * standing.pace + (1 - OLD_PACE) * took


def _read(values: Mapping[str, Any], name: str, now: float) -> Standing:
    taken, waits = (
        Amount(**{each: int(values.get(f"{name}/{prefix}{each}", 0)) for each in RESOURCES})
        for prefix in ("", "waits_")
    )
    pace = values.get(f"{name}/pace")
    return Standing(
        taken,
        waits if abs(now - float(values.get(f"{name}/waits_at", 0))) < WAITS_SECONDS else None,
        took_at=float(values.get(f"{name}/took_at", 0)),
        pace=None if pace is None else float(pace),
        admitted_at=float(values.get(f"{name}/admitted_at", now)),
    )


def _condition(groups: Groups, name: str, allowed: Allowed) -> Condition | None:
    bounds = [(name, each, allowed.own_at_most.of(each)) for each in RESOURCES]
    bounds = [bound for bound in bounds if bound[2] < UNBOUNDED // 2]
    for other, most in allowed.others_at_most.items():
        bounds += [(other, each, most.of(each)) for each in groups.resources]
    conditions = [
        Attr(f"{group}/{each}").not_exists() | Attr(f"{group}/{each}").lte(most)
        for group, each, most in bounds
    ]
    return reduce(and_, conditions) if conditions else None
