"""Serializes records of grading to DynamoDB items and back. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from chalicelib.dynamodb.records import Item, build, extra_attributes
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.grading.model import KEPT_SECONDS, Assignment, Grading, Submission
from chalicelib.tasks.store import Codec, live_or_expiring

ALL = "all"
"""The only key of the indexes of assignments and of waiting gradings."""
_ASSIGNMENT = "assignment#"
_INDEXED = {"expire_at", "live_bucket", "waiting", "waiting_order", "assignments", "by_learner"}
_ALIASES = {"assignment": "of_assignment", "attempt_counters": "holds"}
"""Attribute names by field. `assignment` is a key of the index of submissions, which must not
contain gradings."""


def assignment_key(assignment_id: str) -> str:
    """The id of an assignment's item."""
    return f"{_ASSIGNMENT}{assignment_id}"


def assignment_id_of(key: str) -> str:
    """The id of the assignment whose item has this id."""
    return key.removeprefix(_ASSIGNMENT)


def learner_of(assignment: str, learner: str) -> str:
    """The key of one learner's submissions to one assignment."""
    return f"{assignment}#{learner}"


def _names(kind: type[Any]) -> list[str]:
    return [each.name for each in fields(kind) if each.name != "extra"]


def _values(record: Any) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in _names(type(record))}
    if "parts" in values:
        values["parts"] = [asdict(part) for part in values["parts"]]
    if values.get("preparation") is not None:
        values["preparation"] = asdict(values["preparation"])
    return values


def _read(kind: type[Any], item: Item) -> dict[str, Any]:
    names = _names(kind)
    known = frozenset({*names, *_INDEXED, *_ALIASES.values()})
    values = deserialize({name: item[name] for name in names if name in item})
    return values | {"extra": extra_attributes(item, known)}


def assignment_item(assignment: Assignment) -> dict[str, Any]:
    """The item of an assignment; deleted ones are in no listing, and expire."""
    item = _values(assignment) | {"id": assignment_key(assignment.id)}
    if assignment.deleted_at is None:
        item["assignments"] = ALL
    else:
        item["expire_at"] = int(assignment.deleted_at) + KEPT_SECONDS
    return {**assignment.extra, **serialize(item)}


def read_assignment(item: Item) -> Assignment:
    """The inverse of `assignment_item`. Raises ValueError; see `chalicelib.dynamodb.records`."""
    values = _read(Assignment, item)
    values["id"] = assignment_id_of(values["id"])
    return build(Assignment, values, always=("version", "revision"))


def submission_item(submission: Submission) -> dict[str, Any]:
    """A submission."""
    item = _values(submission)
    item["by_learner"] = learner_of(submission.assignment, submission.learner)
    item["expire_at"] = int(submission.created_at) + KEPT_SECONDS
    return {**submission.extra, **serialize(item)}


def read_submission(item: Item) -> Submission:
    """The inverse of `submission_item`. Raises ValueError."""
    return build(Submission, _read(Submission, item), always=("version",))


def grading_item(grading: Grading) -> dict[str, Any]:
    """The item of a grading, with keys of those indexes only that are to contain it."""
    item = _values(grading)
    ended = grading.finished_at if grading.has_ended else None
    item |= live_or_expiring(grading.id, ended_at=ended, kept_seconds=KEPT_SECONDS)
    if grading.is_waiting:
        item |= {"waiting": ALL, "waiting_order": waiting_order(grading)}
    elif grading.awaits is not None and not grading.has_ended:
        item |= {"waiting": awaiting(grading.awaits), "waiting_order": waiting_order(grading)}
    for name, stored in _ALIASES.items():
        if name in item:
            item[stored] = item.pop(name)
    return {**grading.extra, **serialize(item)}


def read_grading(item: Item) -> Grading:
    """The inverse of `grading_item`. Raises ValueError."""
    aliased = {name: item[stored] for name, stored in _ALIASES.items() if stored in item}
    return build(Grading, _read(Grading, {**item, **aliased}), always=("state", "version"))


def awaiting(preparation_id: str) -> str:
    """The key of the gradings that wait for a preparation, in the index of those that wait."""
    return f"prepare#{preparation_id}"


def waiting_order(grading: Grading) -> str:
    """Text that sorts as `Grading.order` does."""
    return f"{grading.turn:015d}#{max(0.0, grading.created_at):017.6f}"


def _without(grading: Grading, keys: Sequence[str]) -> Grading:
    return replace(
        grading, attempt_counters=tuple(key for key in grading.attempt_counters if key not in keys)
    )


GRADINGS = Codec(
    grading_item, read_grading, counters=lambda g: g.attempt_counters, without=_without
)
