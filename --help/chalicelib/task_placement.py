"""Placement of an app's or job's containers: parsed, checked and converted to ECS's syntax. Pure.

Limits: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.cluster_query import ExpressionError, parse_expression

MOST_STRATEGIES = 5
MOST_CONSTRAINTS = 10
"""For one task, including those of its task definition; Usher's task definitions have none."""
FIELDS = {"zone": "attribute:ecs.availability-zone", "host": "instanceId"}
"""Short names of common spread fields."""
BINPACK = ("cpu", "memory")
FARGATE_REFUSAL = "Fargate takes neither strategies nor constraints: it has no hosts to choose from"
_FIELD = re.compile(r"zone|host|instanceId|attribute:[\w.\-/]{1,128}")
_PEER = re.compile(r"(app|job|family):([A-Za-z0-9_-]{1,255})")
_PLUGIN = re.compile(r"[a-z][a-z0-9-]{0,31}")
_LISTS = ("spread", "constraints", "affinity", "anti_affinity")
KEYS = {*_LISTS, "binpack", "plugin"}


@dataclass(frozen=True)
class Placement:
    """Placement of tasks by ECS; for EC2 only."""

    spread: tuple[str, ...] = ()
    """`zone`, `host`, or a field in ECS's syntax, such as `attribute:rack`."""
    binpack: str | None = None
    """`cpu` or `memory`: fill hosts one after the other, so that empty ones can be removed."""
    constraints: tuple[str, ...] = ()
    """Expressions of ECS's cluster query language, such as `attribute:ecs.instance-type =~
    c7g.*`."""
    affinity: tuple[str, ...] = ()
    """`app:NAME`, `job:NAME` or `family:FAMILY`: only hosts with such a task."""
    anti_affinity: tuple[str, ...] = ()
    """The same: only hosts without such a task."""
    plugin: str | None = None
    """Name of a placement plug-in, which chooses the host instead of ECS."""

    def fields(self) -> tuple[str, ...]:
        """The spread fields in ECS's syntax."""
        return tuple(FIELDS.get(name, name) for name in self.spread)

    def expressions(self, stage: str) -> tuple[str, ...]:
        """All constraints in ECS's syntax."""
        return (
            *self.constraints,
            *(f"task:group in [{_groups_of(peer, stage)}]" for peer in self.affinity),
            *(f"not(task:group in [{_groups_of(peer, stage)}])" for peer in self.anti_affinity),
        )

    def to_json(self) -> dict[str, Any]:
        """Values that are not defaults; the inverse of `from_json`."""
        lists = {key: list(getattr(self, key)) for key in _LISTS if getattr(self, key)}
        if "anti_affinity" in lists:
            lists["antiAffinity"] = lists.pop("anti_affinity")
        one = {"binpack": self.binpack, "plugin": self.plugin}
        return lists | {key: value for key, value in one.items() if value is not None}


def from_json(document: Any) -> Any:
    """A job's `placement` as a table; JSON has `antiAffinity`."""
    if not isinstance(document, Mapping):
        return {} if document is None else document
    return {"anti_affinity" if k == "antiAffinity" else k: v for k, v in document.items()}


def parse_placement(table: Mapping[str, Any]) -> Placement:
    """Parse a table in which `problems_of_placement` found nothing."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    return Placement(**values)


def problems_of_placement(table: Any, *, fargate: bool = False) -> list[str]:
    """All problems of a placement table, each beginning with its key."""
    if not isinstance(table, Mapping):
        return ["must be a table"]
    if fargate and table:
        return [FARGATE_REFUSAL]
    problems = [f"{key}: unknown key" for key in table if key not in KEYS]
    for key in _LISTS:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            problems.append(f"{key}: must be a list of strings")
    return problems or _wrong_values(table)


def _wrong_values(table: Mapping[str, Any]) -> list[str]:
    problems = [
        f"spread: {name!r} is not zone, host or attribute:NAME"
        for name in table.get("spread", [])
        if not _FIELD.fullmatch(name)
    ]
    problems += [
        f"{key}: {peer!r} is not app:NAME, job:NAME or family:FAMILY"
        for key in ("affinity", "anti_affinity")
        for peer in table.get(key, [])
        if not _PEER.fullmatch(peer)
    ]
    for text in table.get("constraints", []):
        try:
            parse_expression(text)
        except ExpressionError as error:
            problems.append(f"constraints: {error}")
    if table.get("binpack") not in (None, *BINPACK):
        problems.append("binpack: must be cpu or memory")
    plugin = table.get("plugin")
    if plugin is not None and not (isinstance(plugin, str) and _PLUGIN.fullmatch(plugin)):
        problems.append(f"plugin: a name is {_PLUGIN.pattern}")
    return problems + _too_many(table)


def _too_many(table: Mapping[str, Any]) -> list[str]:
    problems = []
    strategies = len(table.get("spread", [])) + bool(table.get("binpack"))
    if strategies > MOST_STRATEGIES:
        problems.append(f"spread: ECS takes {MOST_STRATEGIES} strategies, binpack among them")
    keys = ("constraints", "affinity", "anti_affinity")
    if sum(len(table.get(key, [])) for key in keys) > MOST_CONSTRAINTS:
        problems.append(
            f"constraints: ECS takes {MOST_CONSTRAINTS}, affinity and anti_affinity among them"
        )
    if table.get("plugin") and strategies:
        problems.append("plugin: it chooses the host, so there is no spread and no binpack")
    return problems


def _groups_of(peer: str, stage: str) -> str:
    """Task groups of an app (registered or in the apps file), a job or a family."""
    kind, _, name = peer.partition(":")
    families = {
        "app": (f"usher-{stage}-{name}", f"usher-{stage}-app-{name}"),
        "job": (f"usher-{stage}-job-{name.replace('_', '-')}",),
    }.get(kind, (name,))
    return ", ".join(f"family:{family}" for family in families)
