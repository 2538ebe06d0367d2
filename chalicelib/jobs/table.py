"""Invocations in DynamoDB. Every write is conditional; a lost condition is a result.

One table holds invocations by id, `job#…` what is remembered of a job's revisions, `capacity#…` and
`again#…` counters, and the schedules. The indexes hold keys and what never changes: an index says
which, the record itself is then read as it is now.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.records import Unreadable, only_readable, read_record, readable
from chalicelib.dynamodb.table import BATCH, FAILED, Refusal, Table, change
from chalicelib.dynamodb.wire import wire
from chalicelib.dynamodb.writes import Write, lowered, put, raised
from chalicelib.jobs.items import (
    COMPARED,
    LIVE_BUCKETS,
    from_item,
    job_id,
    state_from_item,
    state_to_item,
    to_item,
)
from chalicelib.jobs.listings import Page, Partition, Search, plan_partitions
from chalicelib.jobs.model import Invocation, Place, Priority
from chalicelib.jobs.quotas import Quota
from chalicelib.tasks.revisions import RevisionState

CAPACITY_KEY = "capacity#jobs"
CAPACITY_KEPT_SECONDS = 400 * 86_400
PAGE = 50
"""How many of a queue one page has."""
MAX_QUERIES = 20
"""So many queries one page of a listing costs at most; documented in docs/contracts.md."""
FILTERED_ROWS = 1_000
"""How many rows of an index DynamoDB looks at where it filters them itself."""
WritesWith = Callable[[Invocation, Invocation], Write]

ACCEPT_TRIES = 12
"""Every new invocation of an owner writes the owner's counters."""
CLAIM_TRIES = 3
"""Every claim and every end writes the one count, so that they meet there."""
UNREADABLE = -1
"""The version of what is remembered of a job, where that cannot be read."""

_log = logging.getLogger("usher.jobs")


class OwnerFull:
    """The claim was not written: as many of its owner run as may."""


class NoRoom:
    """The claim was not written: as many run as may."""


class InvocationsTable:
    """The table of jobs through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self.items = Table(dynamodb, name)

    def get(self, invocation_id: str) -> Invocation | None:
        """The record as it is now (a consistent read). Raises UnreadableRecordError."""
        return readable(self.find(invocation_id))

    def find(self, invocation_id: str) -> Invocation | Unreadable | None:
        """As `get`, for callers that have to go on without an unreadable record."""
        item = self.items.get(invocation_id)
        return read_record(item, from_item) if item else None

    def put_if_absent(self, invocation: Invocation, *more: Write) -> Invocation | None:
        """Write a new record, and `more` with it; None where there is one of this id already."""
        return invocation if self.items.put(to_item(invocation), None, *more) else None

    def accept(
        self, invocation: Invocation, quotas: Sequence[Quota], *more: Write
    ) -> Invocation | Quota | None:
        """Write a new record, raise its owner's counters and write `more`, or none of these.

        Returns the record; the quota that is exhausted; or None where there is a record of this id
        already, or other transactions hold the counters.
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

    def replace(self, before: Invocation, after: Invocation, *more: Write) -> Invocation | None:
        """Write `after` where the record is still `before`; None when it has moved on.

        Counters that it holds no more are lowered, and `more` written, in the same transaction.
        """
        written = replace(after, version=before.version + 1)
        returned = [key for key in before.holds if key not in after.holds]
        if after.has_ended and not before.has_ended:
            returned += before.counters
        name, item = self.items.name, to_item(written)
        writes = [
            {"Put": put(name, item, before.version)},
            *({"Update": lowered(name, key)} for key in returned),
            *more,
        ]
        refusal = self.items.transact(writes)
        if refusal is None or self.items.is_written(item, refusal):
            return written
        if returned and refusal.reasons[0] != FAILED and FAILED in refusal.reasons[1:]:
            # Somebody deleted the counter. Nothing may be kept from its end by that.
            return self.replace(replace(before, holds=(), counters=()), after, *more)
        return None

    def claim(
        self,
        before: Invocation,
        after: Invocation,
        most: int | None,
        now: float,
        quota: Quota | None = None,
    ) -> Invocation | NoRoom | OwnerFull | None:
        """Write a claim, and raise the count of what runs unless it stands at `most`.

        The same for the counter of its owner's `quota`, if it has one. None when the record has
        moved on, or other transactions hold the count: look again.
        """
        if most is not None and most < 1:
            return NoRoom()
        written = replace(after, version=before.version + 1)
        name, item = self.items.name, to_item(written)
        writes = [{"Put": put(name, item, before.version)}]
        if most is not None:
            expire_at = int(now) + CAPACITY_KEPT_SECONDS
            writes.append({"Update": raised(name, CAPACITY_KEY, most, expire_at)})
        if quota is not None:
            writes.append({"Update": raised(name, quota.key, quota.maximum, quota.expire_at)})
        for _ in range(CLAIM_TRIES):
            refusal = self.items.transact(writes)
            if refusal is None or self.items.is_written(item, refusal):
                return written
            if FAILED in refusal.reasons:
                return _not_claimed(refusal, has_capacity=most is not None)
        return None

    def change(
        self,
        invocation_id: str,
        decide: Callable[[Invocation], Invocation],
        seen: Invocation | None = None,
        writes_with: WritesWith | None = None,
    ) -> tuple[Invocation, Invocation] | None:
        """See `chalicelib.dynamodb.table.change`.

        What `writes_with` returns for the record before and after is a part of the transaction.
        """

        def write(before: Invocation, after: Invocation) -> Invocation | None:
            more = () if writes_with is None else (writes_with(before, after),)
            return self.replace(before, after, *more)

        return change(lambda: self.get(invocation_id), decide, write, seen)

    def live(self) -> Iterator[Invocation | Unreadable]:
        """All that have not ended, without parameters and result, batch by batch.

        They are to be looked at, and not to be written.
        """
        for bucket in range(LIVE_BUCKETS):
            rows = self.items.query("live", "live_bucket", bucket)
            while batch := [item["id"]["S"] for item in islice(rows, BATCH)]:
                for record in self._records(batch, COMPARED):
                    if isinstance(record, Unreadable) or not record.has_ended:
                        yield record

    def waiting(self, priority: Priority) -> Iterator[Invocation]:
        """One queue in order, as the records are now, page by page."""
        more: dict[str, Any] = {}
        while True:
            page = self.items.page("waiting", "waiting", priority, Limit=PAGE, **more)
            records = only_readable(self._records([item["id"]["S"] for item in page["Items"]]))
            yield from (record for record in records if record.is_waiting)
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def count_waiting(self, priority: Priority, before: float | None = None) -> int:
        """About how many wait in one queue, or only those with a place up to `before`."""
        between = None if before is None else (0.0, before)
        page = self.items.page(
            "waiting", "waiting", priority, order="waiting_order", between=between, Select="COUNT"
        )
        return int(page["Count"])

    def search(self, search: Search) -> Page:
        """One page, newest first. Costs at most MAX_QUERIES queries, each with at most one
        BatchGetItem; where that is not enough the page is short, or empty, and leads on.
        """
        found: list[Invocation] = []
        queries = 0
        start = search.after
        if start and (start.invocation_id is None or start.created_at > search.between[1]):
            start = None  # DynamoDB refuses a start key outside of the range
        for partition in plan_partitions(search):
            place = start or partition.begin
            while True:
                if queries == MAX_QUERIES:
                    return Page(tuple(found), place)
                queries += 1
                records, place = self._rows(partition, search, start)
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
    ) -> tuple[list[Invocation], Place | None]:
        """The records of one query, and where the next of this partition goes on."""
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
        records = only_readable(self._records(ids))
        if len(rows) > BATCH:
            return records, rows[BATCH - 1]
        last = answer.get("LastEvaluatedKey")
        return records, Place(float(last["created_at"]["N"]), last["id"]["S"]) if last else None

    def running(self) -> int:
        """How many hold a place of the capacity."""
        return self.items.counted(CAPACITY_KEY)

    def revisions_of(self, job: str) -> RevisionState:
        """What is remembered of a job's revisions."""
        item = self.items.get(job_id(job))
        state = read_record(item, state_from_item) if item else RevisionState(job)
        if isinstance(state, Unreadable):  # nothing that has to be kept
            _log.error("what is remembered of it is forgotten: %s", state.why, extra={"job": job})
            return RevisionState(job, version=UNREADABLE)
        return state

    def change_revisions(
        self, job: str, decide: Callable[[RevisionState], RevisionState]
    ) -> RevisionState:
        """As `change`, for the state of a job's revisions, made when it is first needed."""

        def put_state(before: RevisionState, after: RevisionState) -> RevisionState | None:
            written = replace(after, version=max(0, before.version) + 1)
            item = state_to_item(written)
            if before.version == UNREADABLE:
                self.items.overwrite(item)
                return written
            return written if self.items.put(item, before.version or None) else None

        changed = change(lambda: self.revisions_of(job), decide, put_state)
        return changed[1] if changed else RevisionState(job)

    def _records(
        self, ids: Sequence[str], projection: Sequence[str] = ()
    ) -> list[Invocation | Unreadable]:
        """The records of these ids, in their order."""
        items = self.items.get_all(ids, projection)
        found = (items[invocation_id] for invocation_id in ids if invocation_id in items)
        return [read_record(item, from_item) for item in found]


def _not_claimed(refusal: Refusal, *, has_capacity: bool) -> NoRoom | OwnerFull | None:
    """Which of the writes of a claim lost its condition: the record's, the count's, the owner's."""
    if refusal.reasons[0] == FAILED:
        return None
    return NoRoom() if has_capacity and refusal.reasons[1] == FAILED else OwnerFull()


def _place_of(invocation: Invocation) -> Place:
    return Place(invocation.created_at, invocation.id)


def _key(place: Place, partition: Partition) -> dict[str, Any]:
    return wire(
        {
            "id": place.invocation_id,
            partition.attribute: partition.value,
            "created_at": place.created_at,
        }
    )
