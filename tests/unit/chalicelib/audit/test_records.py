"""Audit records: what they hold, how they are listed, and how many refusals are kept."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.audit.items import from_item, show_record, to_item
from chalicelib.audit.model import (
    BUCKETS,
    DAY_SECONDS,
    REFUSALS_A_MINUTE,
    Action,
    Actor,
    AuditRecord,
    Kind,
    Outcome,
    Search,
    day_start,
    instant_key,
    refusal_place,
)
from chalicelib.audit.requests import parse_search, show_next
from chalicelib.audit.table import Audit
from chalicelib.errors import BadRequestError, ForbiddenError

NOW = 1_800_000_000.0
DAY = 86_400
ACTOR = Actor("api_key:ann", Kind.OWNER, "192.0.2.7", "request-1", None)


def record(number=0, at=NOW, **changes):
    made = AuditRecord(
        f"{number:08x}-0000-4000-8000-000000000000", at, ACTOR, Action.INVOKE,
        f"invocations/{number}", Outcome.DONE, None, {"job": "tally"},
    )  # fmt: skip
    return replace(made, **changes)


class FakeTable:
    """The methods of a DynamoDB client that `Audit` calls; items by their keys."""

    def __init__(self, failing_after=None):
        self.items = {}
        self.writes = 0
        self.failing_after = failing_after

    def put_item(self, *, TableName, Item, ConditionExpression=None, **_):  # noqa: N803
        self.writes += 1
        if self.failing_after is not None and self.writes > self.failing_after:
            raise ClientError({"Error": {"Code": "InternalServerError"}}, "PutItem")
        key = (Item["day_bucket"]["S"], Item["place"]["S"])
        if ConditionExpression is not None and key in self.items:
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
        self.items[key] = Item

    @property
    def records(self):
        return [from_item(item) for item in self.items.values()]


@given(
    st.floats(1e9, 4e9, allow_nan=False),
    st.sampled_from(Outcome),
    st.none() | st.dictionaries(st.text(min_size=1), st.text() | st.lists(st.text())),
)
def test_a_record_comes_back_as_it_was_written(at, outcome, facts):
    whole = record(at=round(at, 6), outcome=outcome, before=facts, after=facts)
    item = to_item(whole, 90)
    assert from_item(item) == whole
    assert int(item["expire_at"]["N"]) == int(whole.at) + 90 * DAY


@given(st.lists(st.floats(0, 9e9, allow_nan=False).map(lambda at: round(at, 6)), min_size=2))
def test_places_sort_as_instants_do(instants):
    assert sorted(instants) == sorted(instants, key=instant_key)


def test_a_change_made_elsewhere_is_recorded_before_it_and_its_outcome_after():
    table = FakeTable()
    seen = []
    audit = Audit(table, "audit", 90)
    result = audit.around(
        record(),
        {"revision": 1},
        lambda: seen.append(table.records) or 2,
        lambda n: {"revision": n},
    )
    assert result == 2
    assert [r.outcome for r in seen[0]] == [Outcome.ATTEMPTED]
    (after,) = table.records
    assert (after.outcome, after.before, after.after) == (
        Outcome.DONE,
        {"revision": 1},
        {"revision": 2},
    )


def test_a_change_that_cannot_be_recorded_is_not_made():
    made = []
    with pytest.raises(ClientError):
        Audit(FakeTable(failing_after=0), "audit", 90).around(
            record(), None, lambda: made.append(1), lambda _: None
        )
    assert made == []


def test_an_outcome_that_cannot_be_recorded_leaves_the_attempt():
    table = FakeTable(failing_after=1)
    assert Audit(table, "audit", 90).around(record(), None, lambda: 7, lambda n: {"n": n}) == 7
    assert [r.outcome for r in table.records] == [Outcome.ATTEMPTED]


def test_a_change_that_fails_or_changes_nothing_is_recorded_as_that():
    table = FakeTable()
    audit = Audit(table, "audit", 90)

    def fail():
        raise ForbiddenError("no")

    with pytest.raises(ForbiddenError):
        audit.around(record(1), None, fail, lambda _: None)
    audit.around(record(2), {"n": 1}, lambda: 1, lambda n: {"n": n})
    outcomes = {r.resource: (r.outcome, r.reason) for r in table.records}
    assert outcomes == {
        "invocations/1": (Outcome.FAILED, "forbidden"),
        "invocations/2": (Outcome.UNCHANGED, None),
    }


@given(st.lists(st.tuples(st.text(), st.sampled_from(["GET /jobs", "PUT /jobs"])), max_size=300))
def test_refusals_of_one_minute_have_a_bounded_number_of_places(attempts):
    table = FakeTable()
    processes = [Audit(table, "audit", 90) for _ in range(2)]
    for number, (who, resource) in enumerate(attempts):
        refused = record(
            number, actor=replace(ACTOR, who=who), resource=resource, action=Action.REFUSED
        )
        processes[number % 2].refused(refused)
    assert len(table.items) <= REFUSALS_A_MINUTE
    assert table.writes <= 2 * REFUSALS_A_MINUTE
    assert bool(table.items) == bool(attempts)


def test_the_next_minute_has_places_of_its_own():
    table = FakeTable()
    audit = Audit(table, "audit", 90)
    refused = record(action=Action.REFUSED)
    assert [audit.refused(replace(refused, at=NOW + n)) for n in (0, 1, 60)] == [True, False, True]
    assert refusal_place(ACTOR, "GET", NOW).place <= instant_key(NOW) + "#~"


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"}, {"limit": "101"}, {"limit": "9" * 5_000}, {"action": "explode"},
        {"from": "yesterday"}, {"from": "2027-01-01"}, {"who": "x" * 513},
        {"from": "2026-12-31T00:00:00Z", "to": "2026-12-30T00:00:00Z"}, {"next": "abc"},
        {"next": "0123456789abcdef.1800000000.000000"},
    ],
)  # fmt: skip
def test_queries_that_make_no_sense_are_refused(query):
    with pytest.raises(BadRequestError):
        parse_search(query, NOW, 90)


def test_a_page_leads_on_with_the_same_query_alone():
    query = {"who": "api_key:ann", "action": "invocation.invoke"}
    token = show_next(query, record().place)
    assert parse_search(query | {"next": token}, NOW, 90).after == record().place
    for other in ({}, {"who": "api_key:bob"}, query | {"resource": "jobs/x"}):
        with pytest.raises(BadRequestError):
            parse_search(other | {"next": token}, NOW, 90)


def test_a_record_is_shown_with_all_that_is_known():
    shown = show_record(record(outcome=Outcome.DONE))
    assert shown["at"] == "2027-01-15T08:00:00.000Z"
    assert (shown["who"], shown["kind"], shown["address"]) == ("api_key:ann", "owner", "192.0.2.7")
    assert shown["after"] == {"job": "tally"}


def test_a_search_is_bounded_by_what_is_kept():
    search = parse_search({}, NOW, 90)
    assert search.between == (NOW - 90 * DAY, NOW)
    assert isinstance(search, Search)


class NoRecords:
    """A table without records."""

    def __init__(self):
        self.asked = []

    def query(self, **arguments):
        self.asked.append(arguments)
        return {"Items": []}


@pytest.mark.parametrize(("back_days", "first", "again"), [(3, 4, 1), (0, 1, 1)])
def test_a_past_day_without_records_is_read_once(back_days, first, again):
    table = NoRecords()
    audit = Audit(table, "audit", 90)
    now = 1_800_000_000.0 + 7_200
    search = Search(between=(day_start(now) - back_days * DAY_SECONDS, now), limit=5)
    assert audit.page(search).after is None
    assert len(table.asked) == first * BUCKETS
    table.asked.clear()
    assert audit.page(search).after is None
    assert len(table.asked) == again * BUCKETS


def test_a_day_that_was_read_in_part_is_read_again():
    table = NoRecords()
    audit = Audit(table, "audit", 90)
    start = day_start(1_800_000_000.0)
    within = instant_key(start - DAY_SECONDS / 2)
    part = Search(between=(start - DAY_SECONDS, start + 7_200), limit=5, after=within)
    audit.page(part)
    table.asked.clear()
    audit.page(Search(between=(start - DAY_SECONDS, start + 7_200), limit=5))
    assert len(table.asked) == 2 * BUCKETS
