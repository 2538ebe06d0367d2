"""Invocations in DynamoDB. Every write is conditional; a failed condition is a result, not an
exception.

One table has invocations by id, `job#…` states of jobs' revisions, `capacity#…` and `again#…`
counters, and the schedules. Indexes have keys and attributes that never change; the records
themselves are read from the table.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.records import Unreadable, only_readable
from chalicelib.dynamodb.serialization import serialize
from chalicelib.dynamodb.table import BATCH, FAILED, Refusal
from chalicelib.dynamodb.writes import Write, put, raised
from chalicelib.jobs.items import (
    COMPARED,
    INVOCATIONS,
    JOB_STATES,
    to_item,
)
from chalicelib.jobs.listings import Page, Partition, Search, plan_partitions
from chalicelib.jobs.model import Invocation, Place
from chalicelib.jobs.quotas import Quota
from chalicelib.tasks.breaker import RevisionStates
from chalicelib.tasks.store import RecordTable, next_version

CAPACITY_KEY = "capacity#jobs"
CAPACITY_KEPT_SECONDS = 400 * 86_400
PAGE = 50
"""How many of a queue one page has."""
MAX_QUERIES = 20
"""Maximum number of queries for one page of a listing; documented in docs/contracts.md."""
FILTERED_ROWS = 1_000
"""Number of index rows that DynamoDB evaluates when it filters."""

ACCEPT_TRIES = 12
"""Every new invocation of an owner writes the owner's counters, so that transactions conflict."""
CLAIM_TRIES = 3
"""Every claim and every end writes one counter of running invocations, so that transactions
conflict."""

_log = logging.getLogger("usher.jobs")


class OwnerFull:
    """The claim was not written: its owner reached the limit of running invocations."""


class NoCapacity:
    """The claim was not written: the limit of running invocations is reached."""


class GroupsChanged:
    """The claim was not written: capacity groups use more than was known."""


class InvocationsTable(RecordTable[Invocation]):
    """The table of jobs through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str, groups_table: str | None = None) -> None:
        """`groups_table` has the counters of capacity groups; None = they are in this table."""
        super().__init__(dynamodb, name, INVOCATIONS, groups_table)
        self.revisions = RevisionStates(self.items, JOB_STATES)
        self._empty_days: set[str] = set()
        """Past days that no record was created on: otherwise a page costs a query for each."""

    def put_if_absent(self, invocation: Invocation, *more: Write) -> Invocation | None:
        """Write a new record, together with `more`; None if the id exists already."""
        return invocation if self.items.put(to_item(invocation), None, *more) else None

    def accept(
        self, invocation: Invocation, quotas: Sequence[Quota], *more: Write
    ) -> Invocation | Quota | None:
        """Write a new record, increment its owner's counters and write `more`, in one transaction.

        Returns the record; or the exhausted quota; or None if the id exists already or other
        transactions hold the counters.
        """
        held = tuple(quota.key for quota in quotas if quota.is_lowered)
        written = replace(invocation, counters=held)
        name, item = self.items.name, to_item(written)
        writes = [{"Put": put(name, item, None)}]
        writes += [{"Update": raised(name, q.key, q.maximum, q.expire_at)} for q in quotas]
        writes += more
        for _ in range(ACCEPT_TRIES):
            refusal = self.items.transact(writes)
            if refusal is None or self.items.is_written(item, refusal):
                return written
            if refusal.reasons[0] == FAILED:
                return None
            if FAILED in refusal.reasons:
                return quotas[refusal.reasons.index(FAILED) - 1]
        return None

    def claim(
        self,
        before: Invocation,
        after: Invocation,
        most: int | None,
        now: float,
        quota: Quota | None = None,
        *more: Write,
    ) -> Invocation | NoCapacity | OwnerFull | GroupsChanged | None:
        """Write a claim and increment the number of running invocations, unless it is `most`
        already.

        The same for the counter of its owner's `quota`, if it has one; `more` counts it in its
        capacity group. Returns None if the record has changed or other transactions hold the
        counter: read it again.
        """
        if most is not None and most < 1:
            return NoCapacity()
        written = next_version(before, after)
        name, item = self.items.name, to_item(written)
        writes = [{"Put": put(name, item, before.version)}]
        if most is not None:
            expire_at = int(now) + CAPACITY_KEPT_SECONDS
            writes.append({"Update": raised(name, CAPACITY_KEY, most, expire_at)})
        if quota is not None:
            writes.append({"Update": raised(name, quota.key, quota.maximum, quota.expire_at)})
        own = len(writes)
        writes += more
        for _ in range(CLAIM_TRIES):
            refusal = self.items.transact(writes)
            if refusal is None or self.items.is_written(item, refusal):
                return written
            if FAILED in refusal.reasons[:own]:
                return _not_claimed(refusal, has_capacity=most is not None)
            if FAILED in refusal.reasons:
                return GroupsChanged()
        return None

    def live(
        self, bucket: int, after: str | None, limit: int
    ) -> tuple[list[Invocation | Unreadable], str | None]:
        """A page of a bucket's invocations that have not ended, without parameters and result.

        These records must not be written. `after` as in `Table.page_after`.
        """
        rows, following = self.items.page_after(
            "live", "live_bucket", bucket, after=after, limit=limit
        )
        records = self.get_all([row["id"]["S"] for row in rows], COMPARED)
        live = [r for r in records if isinstance(r, Unreadable) or not r.has_ended]
        return live, following

    def waiting(self, partition: str) -> Iterator[Invocation]:
        """The records of one partition of waiting invocations in order, page by page (consistent
        reads).
        """
        more: dict[str, Any] = {}
        while True:
            page = self.items.page("waiting", "waiting", partition, Limit=PAGE, **more)
            records = only_readable(self.get_all([item["id"]["S"] for item in page["Items"]]))
            yield from (record for record in records if record.is_waiting)
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def count_waiting(self, partition: str, first: int, last: int) -> int:
        """The approximate number of invocations that wait in a partition, between two sort keys."""
        page = self.items.page(
            "waiting",
            "waiting",
            partition,
            order="waiting_order",
            between=(first, last),
            Select="COUNT",
        )
        return int(page["Count"])

    def oldest_waiting(self, partition: str) -> float | None:
        """Time since which the first of a partition waits; None for an empty partition."""
        page = self.items.page("waiting", "waiting", partition, Limit=1)
        ids = [item["id"]["S"] for item in page["Items"]]
        first = only_readable(self.get_all(ids, COMPARED))
        return max(first[0].created_at, first[0].at or 0) if first else None

    def search(self, search: Search) -> Page:
        """One page, newest first. Makes at most MAX_QUERIES queries, each with at most one
        BatchGetItem; if that is not enough, the page is short or empty and has a next page.
        """
        found: list[Invocation] = []
        queries = 0
        start = search.after
        if start and (start.invocation_id is None or start.created_at > search.between[1]):
            start = None  # DynamoDB refuses a start key outside of the range
        for partition in plan_partitions(search):
            if partition.value in self._empty_days and partition.index == "by_day":
                continue
            place = start or partition.begin
            is_whole = start is None
            while True:
                if queries == MAX_QUERIES:
                    return Page(tuple(found), place)
                queries += 1
                rows, records, place = self._rows(partition, search, start)
                if is_whole and not rows and partition.stays_as_it_is(search):
                    self._empty_days.add(partition.value)
                for record in filter(search.wants, records):
                    found.append(record)
                    if len(found) == search.limit:
                        return Page(tuple(found), _place_of(record))
                if place is None:
                    break
                start = place
            start = None
        return Page(tuple(found), None)

    def _rows(
        self, partition: Partition, search: Search, start: Place | None
    ) -> tuple[int, list[Invocation], Place | None]:
        """The number of rows of one query, their records, and the position of the next query."""
        of_owner_and_job = partition.index == "by_owner" and search.job is not None
        is_filtered = of_owner_and_job or search.state is not None
        arguments: dict[str, Any] = {}
        if start is not None:
            arguments["ExclusiveStartKey"] = _key(start, partition)
        answer = self.items.page(
            partition.index,
            partition.attribute,
            partition.value,
            order="created_at",
            between=search.between,
            only=Attr("job").eq(search.job) if of_owner_and_job else None,
            ScanIndexForward=False,
            Limit=FILTERED_ROWS if of_owner_and_job else BATCH if is_filtered else search.limit,
            **arguments,
        )
        rows = [Place(float(row["created_at"]["N"]), row["id"]["S"]) for row in answer["Items"]]
        ids = [row.invocation_id for row in rows[:BATCH] if row.invocation_id]
        records = only_readable(self.get_all(ids))
        if len(rows) > BATCH:
            return len(rows), records, rows[BATCH - 1]
        last = answer.get("LastEvaluatedKey")
        following = Place(float(last["created_at"]["N"]), last["id"]["S"]) if last else None
        return len(rows), records, following

    def running(self) -> int:
        """The number of invocations that use capacity."""
        return self.items.counted(CAPACITY_KEY)


def _not_claimed(refusal: Refusal, *, has_capacity: bool) -> NoCapacity | OwnerFull | None:
    """The condition of a claim that failed: the record's, the limit's or the owner's."""
    if refusal.reasons[0] == FAILED:
        return None
    return NoCapacity() if has_capacity and refusal.reasons[1] == FAILED else OwnerFull()


def _place_of(invocation: Invocation) -> Place:
    return Place(invocation.created_at, invocation.id)


def _key(place: Place, partition: Partition) -> dict[str, Any]:
    return serialize(
        {
            "id": place.invocation_id,
            partition.attribute: partition.value,
            "created_at": place.created_at,
        }
    )
