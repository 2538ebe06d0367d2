"""The table of audit records. Records are added and read; no code deletes one.

If DynamoDB makes the change, the record is written in the same transaction: `AuditEntry` has the
write. Other changes are enclosed by `Audit.around`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.audit.items import from_item, to_item
from chalicelib.audit.model import (
    BUCKETS,
    DAY_SECONDS,
    MINUTE_SECONDS,
    AuditRecord,
    Facts,
    Outcome,
    Refusal,
    Search,
    day_start,
    instant_key,
    partition_key,
    refusal_place,
)
from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.writes import Write
from chalicelib.errors import UsherError

PAGE = 100
MAX_DAYS_A_PAGE = 16
"""Maximum number of days that one page reads in all buckets; a page that reaches it is short or
empty, with `next`."""
REMEMBERED_PLACES = 256
SETTLED_SECONDS = 3_600
"""A day gets no further records this long after its end, even if clocks differ."""

Result = TypeVar("Result")
_log = logging.getLogger("usher.audit")


@dataclass(frozen=True)
class AuditEntry:
    """The record of a change to be made, without `before` and `after`."""

    record: AuditRecord
    table: str
    days: int

    def write(self, before: Facts | None, after: Facts | None) -> Write:
        """The write of the record for the change's transaction."""
        record = replace(self.record, before=before, after=after)
        return {"Put": {"TableName": self.table, "Item": to_item(record, self.days)}}


@dataclass(frozen=True)
class AuditPage:
    """Records, newest first, and the position of the next page; None = last page."""

    records: tuple[AuditRecord, ...]
    after: str | None


class Audit:
    """Writes and reads audit records, through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str, days: int) -> None:
        self._dynamodb = dynamodb
        self._name = name
        self._days = days
        self._used_places: set[str] = set()
        self._empty_days: set[float] = set()
        """Past days without a record, by their first instants: each costs BUCKETS queries."""

    def entry(self, record: AuditRecord) -> AuditEntry:
        """The entry of a change that is written in one transaction with its record."""
        return AuditEntry(record, self._name, self._days)

    def around(
        self,
        record: AuditRecord,
        before: Facts | None,
        change: Callable[[], Result],
        facts_of: Callable[[Result], Facts | None],
    ) -> Result:
        """Record an attempt, make the change, and record its outcome in the same item.

        Exceptions of `change` are recorded and raised. If the first write fails, nothing is
        changed; if the second fails, the record stays `attempted`.
        """
        attempted = replace(record, before=before, outcome=Outcome.ATTEMPTED)
        self._put(attempted)
        try:
            result = change()
        except Exception as error:
            reason = error.code if isinstance(error, UsherError) else "internal"
            self._conclude(replace(attempted, outcome=Outcome.FAILED, reason=reason))
            raise
        after = facts_of(result)
        outcome = Outcome.UNCHANGED if after == before else Outcome.DONE
        self._conclude(replace(attempted, after=after, outcome=outcome))
        return result

    def refused(self, record: AuditRecord) -> bool:
        """Record a refused request, unless its place of this minute is taken; returns whether it
        was recorded.

        A process writes to each place at most once.
        """
        refusal = refusal_place(record.actor, record.resource.partition(" ")[0], record.at)
        if refusal.place in self._used_places:
            return False
        if len(self._used_places) >= REMEMBERED_PLACES:
            self._used_places.clear()
        self._used_places.add(refusal.place)
        return self._put_refusal(record, refusal)

    def page(self, search: Search) -> AuditPage:
        """One page of records, newest first. It may be empty and not the last one."""
        earliest, latest = search.between
        low = instant_key(earliest // MINUTE_SECONDS * MINUTE_SECONDS)
        upper, day = search.after or instant_key(latest + 0.000001), latest
        if search.after is not None:
            day = min(day, float(search.after.partition("#")[0]))
        found: list[AuditRecord] = []
        for _ in range(MAX_DAYS_A_PAGE):
            is_empty = day_start(day) in self._empty_days
            records, is_whole = ([], True) if is_empty else self._newest(day, low, upper)
            for place, record in records:
                upper = place
                if search.wants(record):
                    found.append(record)
                if len(found) == search.limit:
                    return AuditPage(tuple(found), upper)
            if not is_whole:
                continue
            if not records:
                self._remember_empty(day, low, upper, latest)
            if day_start(day) <= earliest:
                return AuditPage(tuple(found), None)
            upper = instant_key(day_start(day))
            day = day_start(day) - 1
        return AuditPage(tuple(found), upper)

    def _remember_empty(self, day: float, low: str, upper: str, latest: float) -> None:
        """Remember that a past day has no records between `low` and `upper`, if it is complete."""
        start, end = day_start(day), day_start(day) + DAY_SECONDS
        is_whole = low <= instant_key(start) and upper >= instant_key(end)
        if is_whole and end + SETTLED_SECONDS <= latest:
            self._empty_days.add(start)

    def _newest(
        self, day: float, low: str, upper: str
    ) -> tuple[list[tuple[str, AuditRecord]], bool]:
        """The newest records of a day below `upper`, in order, and whether they are all of the
        day.
        """
        items: list[dict[str, Any]] = []
        cut = ""
        for bucket in range(BUCKETS):
            key = Attr("day_bucket").eq(partition_key(day, bucket))
            key &= Attr("place").between(low, max(low, upper))
            answer = self._dynamodb.query(
                TableName=self._name, Limit=PAGE, ScanIndexForward=False, **expressions(key=key)
            )
            items += answer["Items"]
            if "LastEvaluatedKey" in answer:
                cut = max(cut, answer["LastEvaluatedKey"]["place"]["S"])
        places = {item["place"]["S"]: item for item in items}
        chosen = sorted((p for p in places if cut <= p < upper), reverse=True)
        return [(place, from_item(places[place])) for place in chosen], not cut

    def _put(self, record: AuditRecord) -> None:
        self._dynamodb.put_item(TableName=self._name, Item=to_item(record, self._days))

    def _put_refusal(self, record: AuditRecord, refusal: Refusal) -> bool:
        item = to_item(record, self._days, refusal)
        try:
            self._dynamodb.put_item(
                TableName=self._name,
                Item=item,
                **expressions(condition=Attr("place").not_exists()),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _conclude(self, record: AuditRecord) -> None:
        """Record the outcome. Errors are logged, because the change was made or has failed
        already.
        """
        try:
            self._put(record)
        except (BotoCoreError, ClientError):
            fields = {"owner": record.actor.who}
            _log.exception("%s of %s stays attempted", record.action, record.resource, extra=fields)
