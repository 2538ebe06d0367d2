"""Listings: fields of a query, cursors, and the partitions that a page is read from."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BadRequestError
from chalicelib.jobs.listings import (
    DAY_SECONDS,
    LISTED_SECONDS,
    Search,
    parse_listing,
    plan_partitions,
    plan_search,
    show_place,
)
from chalicelib.jobs.model import Place, State
from tests.unit.chalicelib.jobs.examples import ID, accepted

NOW = 1_800_000_000.0
PLAIN = parse_listing({}, NOW).digest
FILTERS = {
    "job": "report",
    "status": "STARTED",
    "owner": "ann",
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-02-01T00:00:00Z",
}


def test_a_listing_has_its_defaults_and_bounds():
    listing = parse_listing({}, NOW)
    assert (listing.job, listing.state, listing.owner, listing.after) == (None,) * 4
    assert listing.between == (0.0, NOW)
    found = parse_listing({"status": "STARTED", "limit": str(100)}, NOW)
    assert (found.state, found.limit) == (State.STARTED, 100)


@pytest.mark.parametrize("place", [Place(1_700_000_000.123456, ID), Place(1_699_920_000.0, None)])
def test_where_a_page_ended_is_where_the_next_begins(place):
    for query in ({}, FILTERS):
        cursor = show_place(place, parse_listing(query, NOW).digest)
        # The size of a page is no filter, and the clock goes on.
        assert parse_listing({**query, "next": cursor, "limit": "3"}, NOW + 60).after == place
    assert show_place(None, PLAIN) is None


@pytest.mark.parametrize("name", FILTERS)
def test_a_cursor_of_another_query_is_refused(name):
    cursor = show_place(Place(1_700_000_000.5, ID), parse_listing(FILTERS, NOW).digest)
    other = {key: value for key, value in FILTERS.items() if key != name}
    with pytest.raises(BadRequestError, match="another query"):
        parse_listing({**other, "next": cursor}, NOW)


def test_a_period_that_ends_before_it_begins_is_refused():
    with pytest.raises(BadRequestError, match="from: not later than to"):
        parse_listing({"from": FILTERS["to"], "to": FILTERS["from"]}, NOW)
    same = {"from": FILTERS["to"], "to": FILTERS["to"]}
    assert parse_listing(same, NOW).between[0] == parse_listing(same, NOW).between[1]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": str(101)},
        {"limit": "-1"},
        {"limit": "1" * 5_000},
        {"limit": "²"},
        {"status": "RUNNING"},
        {"from": "yesterday"},
        {"to": "9999-12-31T23:59:59-01:00"},
        {"next": "garbage"},
        {"next": f"{PLAIN}_nan_{ID}"},
        {"next": f"{PLAIN}_inf_{ID}"},
        {"next": f"{PLAIN}_-1e300_{ID}"},
        {"next": f"{PLAIN}_1e400_{ID}"},
        {"next": f"{PLAIN}_1.5_not-an-id"},
        {"next": f"{PLAIN}_1.5_"},
        {"next": f"{PLAIN}_86400"},
        {"next": f"1.5_{ID}"},
    ],
)
def test_listings_that_are_refused(query):
    with pytest.raises(BadRequestError):
        parse_listing(query, NOW)


@given(
    st.dictionaries(
        st.sampled_from(["job", "status", "owner", "from", "to", "limit", "next"]),
        st.text() | st.text().map(lambda text: f"{PLAIN}_{text}"),
    )
)
def test_garbage_in_a_query_is_a_bad_request(query):
    with suppress(BadRequestError):
        parse_listing(query, NOW)


def test_a_record_planned_a_year_ahead_is_listed_to_its_end():
    search = plan_search(parse_listing({}, NOW), None, NOW)
    assert search.between == (NOW - LISTED_SECONDS, NOW)
    assert LISTED_SECONDS >= (366 + 90) * DAY_SECONDS


@pytest.mark.parametrize(
    ("facts", "index"),
    [
        ({"owner": "ann", "job": "report"}, "by_owner"),
        ({"owner": "ann"}, "by_owner"),
        ({"job": "report"}, "by_job"),
    ],
)
def test_one_partition_has_what_one_owner_or_one_job_is_asked_for(facts, index):
    (partition,) = plan_partitions(Search((0.0, NOW), 5, **facts))
    assert partition.index == index
    assert list(plan_partitions(Search((NOW, 0.0), 5, **facts))) == []


@given(st.floats(0, 50 * DAY_SECONDS), st.floats(0, 50 * DAY_SECONDS), st.integers(0, 49))
def test_days_are_read_once_each_wherever_a_page_stops(one, other, stop):
    """A page that stops in front of any day goes on with that day."""
    search = Search((min(one, other), max(one, other)), 5)
    days = list(plan_partitions(search))
    assert [day.value for day in days] == sorted({day.value for day in days}, reverse=True)
    first, last = (int(at // DAY_SECONDS) for at in search.between)
    assert len(days) == last - first + 1
    for number, day in enumerate(days[1:], start=1):
        rest = plan_partitions(Search(search.between, 5, after=day.begin))
        assert [d.value for d in rest] == [d.value for d in days[number:]]


def test_a_search_wants_what_the_record_says_now():
    ours = Search((0.0, NOW), 5, owner="ann", job="report", state=State.ACCEPTED)
    assert ours.wants(accepted())
    for other in ({"owner": "bob"}, {"job": "export"}, {"state": State.QUEUED}):
        assert not ours.wants(accepted(**other))
