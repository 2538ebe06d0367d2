"""Capacity groups, parsed and checked. Pure.

`chalicelib.config` reads the file. Each app and each job belongs to one group. A deployment without
a file has one unlimited group, and nothing is counted. See docs/capacity-groups.md.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalicelib.errors import ConfigurationError

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
RESOURCES = ("places", "cpu", "memory")
UNBOUNDED = 10**9
"""Amount of a resource that the file does not limit."""
MOST_GROUPS = 20
"""All groups are counted in one item, and a condition on it refers to each of them."""
MOST_WEIGHT = 1_000


class Tier(StrEnum):
    """The order in which groups borrow capacity."""

    CRITICAL = "critical"
    FLEX = "flex"


@dataclass(frozen=True)
class Amount:
    """How much of each resource: containers, CPU units (1024 = a core), MiB of memory."""

    places: int = 0
    cpu: int = 0
    memory: int = 0

    def of(self, resource: str) -> int:
        """The amount of one resource, by its name in RESOURCES."""
        return int(getattr(self, resource))

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.places + other.places, self.cpu + other.cpu, self.memory + other.memory)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.places - other.places, self.cpu - other.cpu, self.memory - other.memory)

    def largest(self, other: "Amount") -> "Amount":
        """The maximum of both for each resource."""
        return Amount(
            max(self.places, other.places),
            max(self.cpu, other.cpu),
            max(self.memory, other.memory),
        )

    def fits_in(self, available: "Amount", resources: Iterable[str] = RESOURCES) -> bool:
        """Whether it is at most `available` in each of these resources."""
        return all(self.of(name) <= available.of(name) for name in resources)


ALL = Amount(UNBOUNDED, UNBOUNDED, UNBOUNDED)


def container(cpu: int, memory: int) -> Amount:
    """The amount that one container uses: one place, its CPU units and its MiB."""
    return Amount(1, cpu, memory)


@dataclass(frozen=True)
class Group:
    """A group: its guarantee and its maximum."""

    name: str
    tier: Tier = Tier.FLEX
    guarantee: Amount = Amount()
    maximum: Amount = ALL
    weight: int = 1
    """Its share of lent capacity, relative to the weights of other groups of its tier."""
    lend: bool = True
    """Whether others may borrow its unused guarantee."""


@dataclass(frozen=True)
class Groups:
    """All groups of a cluster."""

    cluster: Amount
    """The maximum of all groups together."""
    default: str
    """The group of apps and jobs without a group."""
    judges: str
    """The group of the job that marks submissions."""
    by_name: Mapping[str, Group]
    is_counted: bool = True
    """False without a file: there are no limits, so nothing is counted."""

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that the cluster limits; guarantees consist of these."""
        return tuple(name for name in RESOURCES if self.cluster.of(name) < UNBOUNDED)

    def of(self, name: str | None) -> Group:
        """The group called `name`; the default group for None and for removed groups."""
        return self.by_name.get(name or self.default) or self.by_name[self.default]

    def problem_of(self, name: str | None) -> str | None:
        """The error message for an app or job with this group; None if the group exists."""
        if name is None or name in self.by_name:
            return None
        near = difflib.get_close_matches(name, self.by_name, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.by_name)}"
        return f"no capacity group is called {name!r}: {hint}"

    def problem_of_size(self, name: str | None, wanted: Amount) -> str | None:
        """The reason why a container of this size can never start in the group; None if it can."""
        group = self.of(name)
        for resource in RESOURCES:
            most = min(group.maximum.of(resource), self.cluster.of(resource))
            if wanted.of(resource) > most:
                return (
                    f"{resource} {wanted.of(resource)} is more than the {most} that capacity "
                    f"group {group.name} may have"
                )
        return None


ONE_GROUP = Groups(
    cluster=ALL,
    default="default",
    judges="default",
    by_name={"default": Group("default")},
    is_counted=False,
)
"""The groups of a deployment without a file."""

_TOP = {"cluster", "default", "judges", "groups"}
_GROUP = {"tier", "guarantee", "maximum", "weight", "lend"}


def parse_groups(document: Mapping[str, Any]) -> Groups:
    """Parse the capacity file's document; an empty one is ONE_GROUP.

    Raises ConfigurationError with every problem and its location.
    """
    if not document:
        return ONE_GROUP
    problems = [f"{key}: unknown key" for key in document if key not in _TOP]
    cluster = _amount("cluster", document.get("cluster", {}), ALL, problems)
    tables = document.get("groups")
    if not isinstance(tables, Mapping) or not tables:
        problems.append("groups: there is no [groups.NAME] table")
        tables = {}
    if len(tables) > MOST_GROUPS:
        problems.append(f"groups: {len(tables)}, and there may be {MOST_GROUPS}")
    groups = {name: _group(name, table, problems) for name, table in tables.items()}
    default = _one_of_them("default", document, groups, problems)
    judges = _one_of_them("judges", document, groups, problems) or default
    if not problems:
        found = Groups(cluster, default, judges, groups)
        problems = [*_guarantees_that_bound_nothing(found), *_too_large(found)]
    if problems:
        raise ConfigurationError("; ".join(problems))
    return found


def check_members(groups: Groups, members: Mapping[str, tuple[str | None, Amount]]) -> None:
    """Check the groups of apps and jobs: for each member, its group and the size of a container.

    Raises ConfigurationError with every problem and its location.
    """
    problems = []
    for where, (name, wanted) in members.items():
        if problem := groups.problem_of(name):
            problems.append(f"{where}.group: {problem}")
        elif problem := groups.problem_of_size(name, wanted):
            problems.append(f"{where}: {problem}")
    if problems:
        raise ConfigurationError("; ".join(problems))


def _one_of_them(
    key: str, document: Mapping[str, Any], groups: Mapping[str, Group], problems: list[str]
) -> str:
    """The group that a key of the document names; by default the first group, or none for
    judges.
    """
    if key not in document:
        return next(iter(groups), "") if key == "default" else ""
    name = document[key]
    if isinstance(name, str) and name in groups:
        return name
    found = Groups(ALL, "", "", groups).problem_of(str(name))
    problems.append(f"{key}: {found}")
    return ""


def _group(name: str, table: Any, problems: list[str]) -> Group:
    where = f"groups.{name}"
    if not NAME.fullmatch(name):
        problems.append(f"{where}: a name is {NAME.pattern}")
    if not isinstance(table, Mapping):
        problems.append(f"{where}: not a table")
        return Group(name)
    problems += [f"{where}.{key}: unknown key" for key in table if key not in _GROUP]
    tier = table.get("tier", Tier.FLEX)
    if tier not in set(Tier):
        problems.append(f"{where}.tier: one of {', '.join(Tier)}, not {tier!r}")
        tier = Tier.FLEX
    weight = table.get("weight", 1)
    if not _is_whole(weight) or not 1 <= weight <= MOST_WEIGHT:
        problems.append(f"{where}.weight: a whole number from 1 to {MOST_WEIGHT}")
        weight = 1
    lend = table.get("lend", Tier(tier) is Tier.FLEX)
    if not isinstance(lend, bool):
        problems.append(f"{where}.lend: true or false")
        lend = True
    guarantee = _amount(f"{where}.guarantee", table.get("guarantee", {}), Amount(), problems)
    maximum = _amount(f"{where}.maximum", table.get("maximum", {}), ALL, problems)
    problems += [
        f"{where}.guarantee.{name}: {guarantee.of(name)} is more than its maximum of "
        f"{maximum.of(name)}"
        for name in RESOURCES
        if guarantee.of(name) > maximum.of(name)
    ]
    return Group(name, Tier(tier), guarantee, maximum, weight, lend)


def _amount(where: str, table: Any, without: Amount, problems: list[str]) -> Amount:
    if not isinstance(table, Mapping):
        problems.append(f"{where}: not a table")
        return without
    problems += [f"{where}.{key}: unknown key" for key in table if key not in RESOURCES]
    found = {}
    for name in RESOURCES:
        value = table.get(name, without.of(name))
        if not _is_whole(value) or not 0 <= value <= UNBOUNDED:
            problems.append(f"{where}.{name}: a whole number from 0 to {UNBOUNDED}")
            value = without.of(name)
        found[name] = value
    return Amount(**found)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _guarantees_that_bound_nothing(groups: Groups) -> Iterable[str]:
    """A guarantee must have an amount for each resource that the cluster limits; without memory,
    for example, a place cannot be used.
    """
    for group in groups.by_name.values():
        if group.guarantee == Amount():
            continue
        for name in RESOURCES:
            where = f"groups.{group.name}.guarantee.{name}"
            if name in groups.resources and not group.guarantee.of(name):
                yield (
                    f"{where}: missing, and [cluster] bounds it at {groups.cluster.of(name)}: "
                    "without it nothing is guaranteed"
                )
            if name not in groups.resources and group.guarantee.of(name):
                yield f"{where}: [cluster] has to say how much {name} there is"


def _too_large(groups: Groups) -> Iterable[str]:
    for name in groups.resources:
        parts = {g.name: g.guarantee.of(name) for g in groups.by_name.values()}
        total, most = sum(parts.values()), groups.cluster.of(name)
        if total > most:
            text = " + ".join(f"{group} {part}" for group, part in parts.items() if part)
            yield (
                f"groups: the guarantees of {name} are {total} ({text}), "
                f"{total - most} more than the cluster's {most}"
            )
