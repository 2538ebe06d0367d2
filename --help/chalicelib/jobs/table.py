"""Invocations in DynamoDB. Every write is conditional; a failed condition is a result, not an
exception.

One table has invocations by id, `job#…` states of jobs' revisions, `capacity#…` and `again#…`
counters, and the schedules. Indexes have keys and attributes that never change; the records
themselves are read from the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.records import Unreadable, only_readable, read_record, readable
from chalicelib.dynamodb.serialization import serialize
from chalicelib.dynamodb.table import BATCH, FAILED
from chalicelib.dynamodb.writes import Write, put, raised
from chalicelib.errors import BusyError
from chalicelib.jobs import lifecycle
from chalicelib.jobs.items import (
    COMPARED,
    INVOCATIONS,
    JOB_STATES,
    from_item,
    permit_update,
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


class NotClaimed(Enum):
    """Why a claim was not written."""

    RECORD = auto()
    """The record has moved on, or other transactions go on holding what is to be written."""
    CAPACITY = auto()
    """As many run as may."""
    OWNER = auto()
    """As many of its owner run as may."""
    RATE = auto()
    """As many were started in this second as may."""
    LAUNCHED = auto()
    """The launch before, which was to be written with it, has moved on."""
    KNOWLEDGE = auto()
    """Something else was written since it was read: plan it again."""


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

        Returns the record; the quota that is exhausted; or None where there is a record of this id
        already. Raises BusyError where other transactions go on holding the counters.
        """
        held = tuple(quota.key for quota in quotas if quota.is_lowered)
        written = replace(invocation, counters=held)
        name, item = self.items.name, to_item(written)
        writes = [{"Put": put(name, item, None)}]
        writes += map(self.counted, quotas)
        refusal = self.items.transact([*writes, *more], waits_for_others=True)
        if refusal is None or self.items.is_written(item, refusal):
            return written
        lost = refusal.reasons.index(FAILED)
        return None if lost == 0 else quotas[lost - 1]

    def claim(
        self, before: Invocation, after: Invocation, *counted: tuple[NotClaimed, Write]
    ) -> Invocation | NotClaimed:
        """Write a claim and what counts it, or none of these.

        `counted`: writes on condition, each with the reason of a claim that loses the condition.
        """
        written = next_version(before, after)
        item = to_item(written)
        writes = [{"Put": put(self.items.name, item, before.version)}]
        writes += [write for _, write in counted]
        try:
            refusal = self.items.transact(writes, waits_for_others=True)
        except BusyError:
            return NotClaimed.RECORD
        if refusal is None or self.items.is_written(item, refusal):
            return written
        return (NotClaimed.RECORD, *(lost for lost, _ in counted))[refusal.reasons.index(FAILED)]

    def permit(
        self,
        invocation_id: str,
        key: str,
        *,
        attempt: int,
        task_arn: str,
        process: str,
        now: float,
    ) -> tuple[Invocation, Invocation] | None:
        """Give a start permit without reading the record first; the records before and after.

        None where it has to be read to know more: the key is wrong, there is no permit for this
        container, or it has one already. Raises UnreadableRecordError.
        """
        update = permit_update(attempt, task_arn, key, process, now)
        item = self.items.update_unread(invocation_id, **update)
        if item is None:
            return None
        before = readable(read_record(item, from_item))
        after = before and lifecycle.give_permit(before, attempt, task_arn, process, now)
        if before is None or not isinstance(after, Invocation):
            raise AssertionError("the condition of the update is not that of the transition")
        return before, next_version(before, after)

    def place(self, most: int, now: float) -> Write:
        """Count one more that runs, where fewer than `most` do."""
        expire_at = int(now) + CAPACITY_KEPT_SECONDS
        return {"Update": raised(self.items.name, CAPACITY_KEY, most, expire_at)}

    def counted(self, quota: Quota) -> Write:
        """Count one more against a quota, where it is not exhausted."""
        return {"Update": raised(self.items.name, quota.key, quota.maximum, quota.expire_at)}

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

    def waiting(
        self, partition: str, known: Mapping[str, Invocation] = MappingProxyType({})
    ) -> Iterator[list[Invocation]]:
        """One partition of what waits in order, page by page.

        Records are as they are now, but the first ones of a page that are all `known`.
        """
        more: dict[str, Any] = {}
        while True:
            page = self.items.page("waiting", "waiting", partition, Limit=PAGE, **more)
            ids = [item["id"]["S"] for item in page["Items"]]
            first = list(takewhile(known.__contains__, ids))
            if first:
                yield [known[invocation_id] for invocation_id in first]
            records = only_readable(self.get_all(ids[len(first) :]))
            yield [record for record in records if record.is_waiting]
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
