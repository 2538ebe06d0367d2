"""Converts lines of JSON to entries for Kinesis, and entries to batches. Pure.

Limits are those of PutRecords:
https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
"""

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_ENTRIES = 500
MOST_BATCH_BYTES = 5 * 1024 * 1024
MOST_ENTRY_BYTES = 1024 * 1024
MOST_KEY_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to put: `data` is the line as it was read, without its end."""

    number: int
    key: str
    data: bytes

    @property
    def size(self) -> int:
        """The bytes that Kinesis counts: data and partition key."""
        return len(self.data) + len(self.key.encode())


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be put; `number` counts from 1."""

    number: int
    why: str


def read_entry(line: bytes, number: int, key_field: str) -> Entry | BadLine | None:
    """The entry of a line; None for an empty one.

    The partition key is the value of `key_field`, so that updates with equal values stay in order;
    for a line without it (or with one that cannot be a key) it is the hash of the line.
    """
    data = line.strip()
    if not data:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        return BadLine(number, f"no JSON: {error}")
    entry = Entry(number, _partition_key(value, key_field) or hashlib.md5(data).hexdigest(), data)
    if entry.size > MOST_ENTRY_BYTES:
        return BadLine(number, f"{entry.size} bytes with its key, Kinesis takes {MOST_ENTRY_BYTES}")
    return entry


def _partition_key(value: Any, field: str) -> str | None:
    found = value.get(field) if isinstance(value, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    key = str(found)
    if not 0 < len(key) <= MOST_KEY_CHARACTERS or any("\ud800" <= c <= "\udfff" for c in key):
        return None
    return key


class Backlog:
    """Entries that wait to be put, in order.

    A batch never has two entries with one partition key: PutRecords may refuse the first and accept
    the second, which would break the order within the key.
    """

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, entry: Entry) -> None:
        self._waiting.append(entry)

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Return what was refused, to be taken again before all others."""
        self._waiting.extendleft(reversed(entries))

    def take(self, most: int = MOST_ENTRIES) -> list[Entry]:
        """Remove and return the next batch: within the limits, and each key at most once.

        Further entries with the same key are skipped and keep their order.
        """
        batch: list[Entry] = []
        passed: list[Entry] = []
        keys: set[str] = set()
        size = 0
        while self._waiting and len(batch) < most:
            entry = self._waiting.popleft()
            if entry.key in keys:
                passed.append(entry)
                continue
            if size + entry.size > MOST_BATCH_BYTES:
                passed.append(entry)
                break
            keys.add(entry.key)
            batch.append(entry)
            size += entry.size
        self.put_back(passed)
        return batch
