"""Schedules in the table of jobs. Every write is conditional; a failed condition is a result, not
an exception.
"""

from dataclasses import dataclass, replace
from typing import Any

from chalicelib.dynamodb.records import Unreadable, only_readable, read_record, readable
from chalicelib.dynamodb.serialization import serialize
from chalicelib.dynamodb.table import Table
from chalicelib.dynamodb.writes import Write
from chalicelib.schedules.items import ALL, from_item, schedule_id_of, schedule_key, to_item
from chalicelib.schedules.model import Schedule

INDEX, KEY = "schedules", "schedules"


@dataclass(frozen=True)
class SchedulesPage:
    """Schedules by id, and the last id of this page if there are more."""

    schedules: tuple[Schedule, ...]
    after: str | None


class SchedulesTable:
    """The schedules, through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self.items = Table(dynamodb, name)

    def get(self, schedule_id: str) -> Schedule | None:
        """The present record (consistent read). Raises UnreadableRecordError."""
        return readable(self.find(schedule_id))

    def find(self, schedule_id: str) -> Schedule | Unreadable | None:
        """As `get`, for callers that continue without an unreadable record."""
        item = self.items.get(schedule_key(schedule_id))
        return read_record(item, from_item) if item else None

    def put_if_absent(self, schedule: Schedule, *more: Write) -> bool:
        """Write a new one, together with `more`; False if the id exists."""
        return self.items.put(to_item(schedule), None, *more)

    def replace(self, before: Schedule, after: Schedule, *more: Write) -> Schedule | None:
        """Write `after`, together with `more`, if the record is still `before`.

        Returns it in its next version; None if it has changed or was deleted.
        """
        written = replace(after, version=before.version + 1)
        return written if self.items.put(to_item(written), before.version, *more) else None

    def delete(self, schedule_id: str, *more: Write) -> bool:
        """Delete it, together with the writes in `more`; False if it does not exist."""
        return self.items.delete(schedule_key(schedule_id), *more)

    def page(self, limit: int, after: str | None) -> SchedulesPage:
        """At most `limit` of them by id, after `after`; unreadable ones are omitted."""
        found, last = self.read_page(limit, after)
        return SchedulesPage(tuple(only_readable(found)), last)

    def read_page(
        self, limit: int, after: str | None
    ) -> tuple[list[Schedule | Unreadable], str | None]:
        """One page, and the last id that was read if there may be more."""
        more: dict[str, Any] = {"Limit": limit}
        if after is not None:
            more["ExclusiveStartKey"] = serialize({KEY: ALL, "id": schedule_key(after)})
        answer = self.items.page(INDEX, KEY, ALL, **more)
        ids = [item["id"]["S"] for item in answer["Items"]]
        items = self.items.get_all(ids)
        found = [read_record(items[item_id], from_item) for item_id in ids if item_id in items]
        is_last = "LastEvaluatedKey" not in answer or not ids
        return found, None if is_last else schedule_id_of(ids[-1])
