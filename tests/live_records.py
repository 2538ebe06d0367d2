"""All live records of a table, read page by page as the sweep does."""

from typing import Any

from chalicelib.tasks.store import LIVE_BUCKETS


def all_live(table: Any, limit: int = 2) -> list[Any]:
    """Returns the records of a `SessionsTable` or an `InvocationsTable`, whose indexes have the
    same number of buckets.
    """
    found: list[Any] = []
    for bucket in range(LIVE_BUCKETS):
        after = None
        while True:
            records, after = table.live(bucket, after, limit)
            found += records
            if after is None:
                break
    return found
