"""Schedules as DynamoDB's JSON, and back. Pure.

They share the table with invocations; no attribute of theirs may put them into an index of those.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from chalicelib.dynamodb.wire import unwire, wire
from chalicelib.jobs.items import read_json, to_text
from chalicelib.jobs.model import Priority
from chalicelib.schedules.cron import Gap
from chalicelib.schedules.model import Decision, Overlap, Schedule, Skipped

ALL = "all"
"""The one key of the index of schedules."""

_PREFIX = "schedule#"
_ALIASES = {"job": "runs"}
"""`job` is the key of an index of invocations."""
_NAMES = {"priority": Priority, "overlap": Overlap, "gap": Gap}
_FIELDS = [field.name for field in fields(Schedule)]


def schedule_key(schedule_id: str) -> str:
    """The id of a schedule's item."""
    return f"{_PREFIX}{schedule_id}"


def to_item(schedule: Schedule) -> dict[str, Any]:
    """A schedule."""
    item = {_ALIASES.get(name, name): getattr(schedule, name) for name in _FIELDS}
    item |= {"id": schedule_key(schedule.id), "schedules": ALL}
    item["parameters"] = to_text(schedule.parameters)
    item["pending"] = None if schedule.pending is None else asdict(schedule.pending)
    return wire(item)


def from_item(item: Mapping[str, Any]) -> Schedule:
    """The inverse of `to_item`."""
    read = unwire(item)
    aliases = {_ALIASES.get(name, name): name for name in _FIELDS}
    values = {name: read[alias] for alias, name in aliases.items() if alias in read}
    values["id"] = str(values["id"]).removeprefix(_PREFIX)
    values["parameters"] = read_json(values["parameters"])
    values |= {name: kind(values[name]) for name, kind in _NAMES.items() if name in values}
    if "pending" in values:
        told = {"run_at": None, "kill": None} | values["pending"]
        told["skipped"] = tuple(Skipped(**skipped) for skipped in told["skipped"])
        values["pending"] = Decision(**told)
    return Schedule(**values)
