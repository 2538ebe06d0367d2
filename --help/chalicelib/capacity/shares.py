"""Decides whether a group may use more capacity now, and which group is next. Pure.

The unused guarantee of a group is reserved for it, unless it lends: then others may use it until
the group needs it. The rest of the cluster and lent capacity go to borrowing groups: critical
before flex, and within a tier to the group with the smallest borrowed share by weight, measured by
its dominant resource (dominant resource fairness: Ghodsi et al., NSDI 2011). Nothing is stopped for
other groups; a group that has lent gets its guarantee back as borrowing containers end, before any
group borrows more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction

from chalicelib.capacity.groups import Amount, Group, Groups, Tier


@dataclass(frozen=True)
class Standing:
    """The usage of a group, and the size of its first waiting container; None = none waits."""

    taken: Amount = field(default_factory=Amount)
    waits: Amount | None = None
    took_at: float = 0.0
    """Time of its last start: of groups with equal rights, the one with the earlier start is
    next."""
    pace: float | None = None
    """Average seconds between two starts of those that wait; None = unknown."""
    admitted_at: float = 0.0
    """Time of the last start of a waiting one, or of the beginning of the wait."""


Standings = Mapping[str, Standing]
"""By group name. A missing group uses nothing and has no waits. A group that was removed from the
configuration is included while its containers run."""
_NOTHING = Standing()


class Why(StrEnum):
    """The reason why a group may not use more now."""

    AT_MAXIMUM = "at_maximum"
    """It has reached its maximum."""
    NO_CAPACITY = "no_capacity"
    """Everything that is not reserved for others is used."""
    OTHERS_FIRST = "others_first"
    """A waiting group precedes it."""


@dataclass(frozen=True)
class Allowed:
    """The start is allowed, on condition that no group uses more than this when it is written."""

    own_at_most: Amount
    """The maximum that the group itself may use before the start."""
    others_at_most: Mapping[str, Amount]
    """The maximum that other groups may use; a missing group has no limit."""


@dataclass(frozen=True)
class Denied:
    """The start is not allowed."""

    why: Why
    first: str | None = None
    """The group that precedes it."""


def decide_take(
    groups: Groups, standings: Standings, name: str, wanted: Amount
) -> Allowed | Denied:
    """Whether the group called `name` may use `wanted` more now."""
    group = groups.of(name)
    taken = _standing(standings, group).taken
    after = taken + wanted
    if not after.fits_in(group.maximum):
        return Denied(Why.AT_MAXIMUM)
    if not group.lend and _is_within_guarantee(groups, group, after):
        most = _most(groups, group.guarantee, group.maximum)
        return Allowed(most - wanted, {})
    first = _goes_before(groups, standings, group, wanted)
    if first is not None:
        return Denied(Why.OTHERS_FIRST, first)
    others = {
        other.name: _kept_for(other, _standing(standings, other).taken)
        for other in groups.by_name.values()
        if other is not group
    }
    others |= {each: s.taken for each, s in standings.items() if each not in groups.by_name}
    available = groups.cluster - sum(others.values(), Amount())
    if not after.fits_in(available, groups.resources):
        return Denied(Why.NO_CAPACITY)
    return Allowed(_most(groups, available, group.maximum) - wanted, others)


def next_group(groups: Groups, standings: Standings, wanted: Mapping[str, Amount]) -> str | None:
    """The waiting group that is next; None if none may start.

    `wanted`: the size of the first waiting container, by group.
    """
    waiting = {
        name: replace(_standing(standings, groups.of(name)), waits=amount)
        for name, amount in wanted.items()
    }
    now = {**standings, **waiting}
    for name in in_order(groups, now, wanted):
        if isinstance(decide_take(groups, now, name, wanted[name]), Allowed):
            return name
    return None


def in_order(groups: Groups, standings: Standings, wanted: Mapping[str, Amount]) -> list[str]:
    """The waiting groups in order, including those that may not start."""
    return sorted(wanted, key=lambda name: _right(groups, standings, groups.of(name), wanted[name]))


def borrowed(groups: Groups, group: Group, taken: Amount) -> Amount:
    """The amount of each resource that a group uses beyond its guarantee."""
    return Amount(
        **{
            name: max(0, taken.of(name) - group.guarantee.of(name)) if name in groups.resources
            else 0
            for name in ("places", "cpu", "memory")
        }
    )  # fmt: skip


def dominant_share(groups: Groups, group: Group, taken: Amount) -> Fraction:
    """The largest borrowed share of the cluster over all resources, divided by the group's
    weight.
    """
    beyond = borrowed(groups, group, taken)
    parts = [
        Fraction(beyond.of(name), max(1, groups.cluster.of(name))) for name in groups.resources
    ]
    return max(parts, default=Fraction(0)) / group.weight


_Right = tuple[int, Fraction, float, str]
"""Smaller values come first."""


def _right(groups: Groups, standings: Standings, group: Group, wanted: Amount) -> _Right:
    standing, is_flex = _standing(standings, group), group.tier is Tier.FLEX
    if _is_within_guarantee(groups, group, standing.taken + wanted):
        return int(is_flex), Fraction(0), standing.took_at, group.name
    share = dominant_share(groups, group, standing.taken)
    return 2 + int(is_flex), share, standing.took_at, group.name


def _goes_before(groups: Groups, standings: Standings, group: Group, wanted: Amount) -> str | None:
    """A waiting group that may start and precedes `group`; None if there is none."""
    own = _right(groups, standings, group, wanted)
    for other in groups.by_name.values():
        standing = _standing(standings, other)
        if other is group or standing.waits is None:
            continue
        can_have = (standing.taken + standing.waits).fits_in(other.maximum)
        if can_have and _right(groups, standings, other, standing.waits) < own:
            return other.name
    return None


def _standing(standings: Standings, group: Group) -> Standing:
    return standings.get(group.name, _NOTHING)


def _is_within_guarantee(groups: Groups, group: Group, taken: Amount) -> bool:
    return group.guarantee != Amount() and taken.fits_in(group.guarantee, groups.resources)


def _kept_for(group: Group, taken: Amount) -> Amount:
    """The amount that no other group may use: its usage, and its guarantee unless it lends."""
    return taken if group.lend else taken.largest(group.guarantee)


def _most(groups: Groups, available: Amount, maximum: Amount) -> Amount:
    """The most that a group may use: the minimum of its maximum and the `available` part of limited
    resources.
    """
    return Amount(
        **{
            name: min(available.of(name), maximum.of(name)) if name in groups.resources
            else maximum.of(name)
            for name in ("places", "cpu", "memory")
        }
    )  # fmt: skip
