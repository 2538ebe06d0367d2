"""May a group take one more now, and whose turn is it. Pure.

What a group is guaranteed and has not taken is kept free for it, unless it lends: then others may
have it until the group asks. The rest of the cluster, and what is lent, goes to whoever borrows:
critical groups before flex ones, within a tier to the group with the smallest part of its weight,
by the resource of which it has borrowed the largest part of the cluster (dominant resource
fairness: Ghodsi et al., NSDI 2011). Nothing that runs is ended for others; a group that has lent
gets its guarantee back as what was borrowed ends, before anybody borrows more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction

from chalicelib.capacity.groups import Amount, Group, Groups, Tier


@dataclass(frozen=True)
class Standing:
    """What a group has taken, and what its first one that waits wants; None = no wait."""

    taken: Amount = field(default_factory=Amount)
    waits: Amount | None = None
    took_at: float = 0.0
    """When it last took something: of groups with the same right, the one that took before."""
    pace: float | None = None
    """About how many seconds lie between two starts of those that wait; None = not known yet."""
    admitted_at: float = 0.0
    """When the last one that had waited was started, or the first one began to wait."""


Standings = Mapping[str, Standing]
"""By the names of groups; a group that is not in it has taken nothing and waits for nothing. One
that is gone from the configuration is in it while containers of it run."""
_NOTHING = Standing()


class Why(StrEnum):
    """Why a group may not take one more now."""

    AT_MAXIMUM = "at_maximum"
    """It has as much as it may ever have."""
    NO_CAPACITY = "no_capacity"
    """All that is not kept for others is taken."""
    OTHERS_FIRST = "others_first"
    """There may be enough, and a group that waits goes before it."""


@dataclass(frozen=True)
class Allowed:
    """It may, as long as no group has taken more than this when it is written."""

    own_at_most: Amount
    """What the group itself may have taken before."""
    others_at_most: Mapping[str, Amount]
    """What others may have taken; a group that is not in it may have any amount."""


@dataclass(frozen=True)
class Denied:
    """It may not."""

    why: Why
    first: str | None = None
    """The group that goes before it."""


def decide_take(
    groups: Groups, standings: Standings, name: str, wanted: Amount
) -> Allowed | Denied:
    """Whether the group called `name` may take `wanted` now."""
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
    """Which of those that want one more gets it; None where none of them may.

    `wanted`: by the name of each group with a wait, what the first one there wants.
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
    """The groups that want one more, the first one first, whether they may have it or not."""
    return sorted(wanted, key=lambda name: _right(groups, standings, groups.of(name), wanted[name]))


def borrowed(groups: Groups, group: Group, taken: Amount) -> Amount:
    """How much of each resource a group has beyond its guarantee."""
    return Amount(
        **{
            name: max(0, taken.of(name) - group.guarantee.of(name)) if name in groups.resources
            else 0
            for name in ("places", "cpu", "memory")
        }
    )  # fmt: skip


def dominant_share(groups: Groups, group: Group, taken: Amount) -> Fraction:
    """The largest part of the cluster that a group has borrowed of a resource, by its weight."""
    beyond = borrowed(groups, group, taken)
    parts = [
        Fraction(beyond.of(name), max(1, groups.cluster.of(name))) for name in groups.resources
    ]
    return max(parts, default=Fraction(0)) / group.weight


_Right = tuple[int, Fraction, float, str]
"""The smaller one goes first."""


def _right(groups: Groups, standings: Standings, group: Group, wanted: Amount) -> _Right:
    standing, is_flex = _standing(standings, group), group.tier is Tier.FLEX
    if _is_within_guarantee(groups, group, standing.taken + wanted):
        return int(is_flex), Fraction(0), standing.took_at, group.name
    share = dominant_share(groups, group, standing.taken)
    return 2 + int(is_flex), share, standing.took_at, group.name


def _goes_before(groups: Groups, standings: Standings, group: Group, wanted: Amount) -> str | None:
    """The group that waits, may have more, and has the better right to it."""
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
    """What no other group may have: what it has taken, and the guarantee that it does not lend."""
    return taken if group.lend else taken.largest(group.guarantee)


def _most(groups: Groups, available: Amount, maximum: Amount) -> Amount:
    """The most a group may have taken: its maximum, and `available` of what the cluster bounds."""
    return Amount(
        **{
            name: min(available.of(name), maximum.of(name)) if name in groups.resources
            else maximum.of(name)
            for name in ("places", "cpu", "memory")
        }
    )  # fmt: skip
