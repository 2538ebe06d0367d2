"""Records from items that fit, and from items that do not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dynamodb.records import (
    MisfitError,
    Unreadable,
    build,
    only_readable,
    read_record,
    readable,
)
from chalicelib.errors import UnreadableRecordError
from chalicelib.jobs.items import from_item as invocation_of
from chalicelib.jobs.items import to_item as item_of_invocation
from chalicelib.schedules.items import from_item as schedule_of
from chalicelib.schedules.items import to_item as item_of_schedule
from chalicelib.schedules.model import Decision, Schedule, Skipped
from chalicelib.sessions.items import from_item as session_of
from chalicelib.sessions.items import to_item as item_of_session
from chalicelib.tasks.unreadable import expires_at
from tests.stored_items import mutations
from tests.unit.chalicelib.jobs.examples import started
from tests.unit.chalicelib.test_lifecycle import START, until

SCHEDULE = Schedule(
    "nightly",
    "report",
    "ann",
    "rate(1 hour)",
    "UTC",
    1.0,
    1.0,
    1.0,
    pending=Decision(2.0, None, (Skipped(1.5, "late"),), 2.0),
)
CASES = [
    (item_of_session(until(*START)), session_of),
    (item_of_invocation(started()), invocation_of),
    (item_of_schedule(SCHEDULE), schedule_of),
]
WRITERS = [item_of_session, item_of_invocation, item_of_schedule]


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    at: float
    words: str | None


@dataclass(frozen=True)
class Whole:
    name: str
    owner: str | None
    colour: Colour = Colour.RED
    count: int = 1
    on: bool = False
    parts: tuple[Part, ...] = ()
    named: Mapping[str, Part] = field(default_factory=dict)
    anything: Any = None


@pytest.mark.parametrize("kind", range(3), ids=["session", "invocation", "schedule"])
@given(data=st.data())
def test_any_damage_gives_a_record_that_can_be_written_or_none_of_this_version(kind, data):
    item, decode = CASES[kind]
    damaged = data.draw(mutations(item, frozenset()))
    record = read_record(damaged, decode)
    if isinstance(record, Unreadable):
        assert record.id == item["id"]["S"]
        assert record.why
        return
    written = WRITERS[kind](record)
    assert read_record(written, decode) == record
    assert all(written[name] == damaged[name] for name in damaged if name.startswith("another"))


def test_a_record_is_built_from_what_is_there():
    assert build(Whole, {"name": "a", "more": 1}) == Whole("a", None)
    built = build(
        Whole,
        {
            "name": "a",
            "colour": "red",
            "parts": [[1, "x"], {"at": 2.5, "new": True}],
            "named": {"p": {"at": 3}},
        },
        always=("colour",),
    )
    assert built.parts == (Part(1, "x"), Part(2.5, None))
    assert built.named == {"p": Part(3, None)}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "no name"),
        ({"name": 1}, "name: not of type str"),
        ({"name": "a", "colour": "blue"}, "colour: not a Colour of this version"),
        ({"name": "a", "count": True}, "count: a truth value"),
        ({"name": "a", "count": 1.5}, "count: not of type int"),
        ({"name": "a", "on": 1}, "on: not of type bool"),
        ({"name": "a", "parts": "x"}, "parts: not a list"),
        ({"name": "a", "parts": [[1]]}, "parts: not a Part"),
        ({"name": "a", "parts": [["x", "x"]]}, "parts: at: not of type float"),
        ({"name": "a", "named": [1]}, "named: not a map"),
        ({"name": "a", "parts": [[1e99, None]]}, "parts: at: out of range"),
        ({"name": "a", "parts": [[float("nan"), None]]}, "parts: at: out of range"),
    ],
)
def test_what_does_not_fit_is_named_without_its_value(values, why):
    with pytest.raises(MisfitError) as misfit:
        build(Whole, values)
    assert str(misfit.value) == why


def test_a_default_stands_in_only_where_it_may():
    with pytest.raises(MisfitError):
        build(Whole, {"name": "a"}, always=("count",))


def test_who_needs_the_record_is_refused_and_who_reads_many_goes_on():
    bad = Unreadable("x", None, {"id": {"S": "x"}}, "why")
    assert only_readable([1, bad, 2]) == [1, 2]
    assert readable(None) is None
    with pytest.raises(UnreadableRecordError) as refused:
        readable(bad)
    assert (refused.value.status, refused.value.has_ended) == (503, False)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({}, 1_010),
        ({"at": {"N": "2000.5"}}, 2_010),
        ({"at": {"S": "soon"}, "not_after": {"N": "3000"}}, 3_010),
        ({"not_after": {"N": "1e99"}}, 253_402_300_810),
    ],
)
def test_it_expires_long_after_its_time(item, expected):
    assert expires_at(Unreadable("x", None, item, ""), 1_000.5, 10) == expected
