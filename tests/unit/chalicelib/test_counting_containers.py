"""Counting containers in parts: each is counted once, with any partition."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BadRequestError
from chalicelib.sessions.containers import (
    count,
    parse_counting,
    parse_cursor,
    queries_of,
    show_cursor,
)

BUCKETS = 8


def items_of(sizes):
    return {
        bucket: [
            {
                "id": {"S": f"{bucket:08x}-0000-4000-8000-{number:012x}"},
                "created_at": {"N": f"{1_800_000_000 + number}.125"},
                "task_definition": {"S": f"x:{number % 3}"},
            }
            for number in range(size)
        ]
        for bucket, size in enumerate(sizes)
    }


def query(items, limit, key):
    """As DynamoDB answers: a page that was cut off at its limit has a LastEvaluatedKey."""
    ids = [item["id"] for item in items]
    begin = 0 if key is None else ids.index(key["id"]) + 1
    page = items[begin : begin + limit]
    counts = Counter((item["task_definition"]["S"], "ACTIVE", "") for item in page)
    if len(page) < limit:
        return {"Counts": counts}
    last = {"id": page[-1]["id"], "created_at": page[-1]["created_at"], "live_bucket": {"N": "0"}}
    return {"Counts": counts, "LastEvaluatedKey": last}


@given(st.lists(st.integers(0, 90), min_size=BUCKETS, max_size=BUCKETS), st.integers(100, 400))
def test_the_parts_add_up_to_the_whole(sizes, limit):
    buckets = items_of(sizes)
    total, cursor, parts = Counter(), None, 0
    while parts == 0 or cursor is not None:
        queries = queries_of(limit, parse_cursor(cursor, BUCKETS))
        assert sum(q["Limit"] for q in queries.values()) < limit + BUCKETS
        part = count(
            {
                b: query(buckets[b], q["Limit"], q.get("ExclusiveStartKey"))
                for b, q in queries.items()
            }
        )
        total += part.groups
        cursor = show_cursor(part.positions, BUCKETS)
        parts += 1
    assert total.total() == sum(sizes)
    assert {host for _, _, host in total} <= {""}


@pytest.mark.parametrize(
    "cursor", ["", "x", "-!-", "!".join("-" * BUCKETS), "!".join(["1_x"] * BUCKETS), "1" * 700]
)
def test_a_cursor_of_nobody_is_refused_or_none(cursor):
    if cursor == "":
        assert parse_counting({"next": ""}, BUCKETS) == (None, dict.fromkeys(range(BUCKETS)))
        return
    with pytest.raises(BadRequestError, match="next: as the part before said"):
        parse_counting({"next": cursor}, BUCKETS)


@pytest.mark.parametrize("limit", ["0", "99", "20001", "x", "1.5"])
def test_a_part_is_bounded(limit):
    with pytest.raises(BadRequestError, match="limit: a whole number from 100 to 20000"):
        parse_counting({"limit": limit}, BUCKETS)
