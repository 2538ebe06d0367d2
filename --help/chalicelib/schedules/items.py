"""Serializes schedules to DynamoDB items and back. Pure.

They share the table with invocations; their attributes must not be keys of indexes of invocations.
"""

from dataclasses import asdict, fields
from typing import Any

from chalicelib.dynamodb.records import Item, build, extra_attributes
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.jobs.items import read_json, to_text
from chalicelib.schedules.cron import parse_zone
from chalicelib.schedules.model import Schedule, understood

ALL = "all"
"""The only key of the index of schedules."""

_PREFIX = "schedule#"
_ALIASES = {"job": "runs"}
"""`job` is the key of an index of invocations."""
_FIELDS = [field.name for field in fields(Schedule) if field.name != "extra"]
_ALWAYS = ("version", "paused", "changed_at")
"""Attributes that every stored schedule has, also with default values."""
_KNOWN = frozenset({*(_ALIASES.get(name, name) for name in _FIELDS), "schedules"})


def schedule_key(schedule_id: str) -> str:
    """The id of a schedule's item."""
    return f"{_PREFIX}{schedule_id}"


def schedule_id_of(key: str) -> str:
    """The id of the schedule whose item has this id."""
    return key.removeprefix(_PREFIX)


def to_item(schedule: Schedule) -> dict[str, Any]:
    """A schedule."""
    item = {_ALIASES.get(name, name): getattr(schedule, name) for name in _FIELDS}
    item |= {"id": schedule_key(schedule.id), "schedules": ALL}
    item["parameters"] = to_text(schedule.parameters)
    item["pending"] = None if schedule.pending is None else asdict(schedule.pending)
    return {**schedule.extra, **serialize(item)}


def from_item(item: Item) -> Schedule:
    """The inverse of `to_item`. Raises ValueError; see `chalicelib.dynamodb.records`.

    Parses the expression too, because an invalid one cannot be planned.
    """
    read = deserialize({name: item[name] for name in _KNOWN if name in item})
    aliases = {_ALIASES.get(name, name): name for name in _FIELDS}
    values = {name: read[alias] for alias, name in aliases.items() if alias in read}
    values["id"] = schedule_id_of(values["id"])
    values["parameters"] = read_json(values["parameters"])
    values["extra"] = extra_attributes(item, _KNOWN)
    schedule = build(Schedule, values, always=_ALWAYS)
    understood(schedule.expression)
    parse_zone(schedule.timezone)
    return schedule
