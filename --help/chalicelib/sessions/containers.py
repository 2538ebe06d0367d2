"""Counting an app's containers in parts, so that no request reads too much. Pure.

The sessions that have not ended lie in buckets. A part reads the next ones of each bucket; its
cursor says how far each was read.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import BadRequestError
from chalicelib.fields import Field, whole

COUNTED = ("task_definition", "state", "container_instance")
"""The attributes of an item by which they are counted."""
MOST_ROWS = 20_000
COUNTING = (
    Field(
        "limit",
        whole(100, MOST_ROWS),
        f"a whole number from 100 to {MOST_ROWS}",
        "Looks at about so many sessions, of all apps; without it, at a megabyte of each bucket.",
    ),
    Field(
        "next",
        {"type": "string", "maxLength": 600},
        "as the part before said",
        "From the part before. The counts of all parts are to be added.",
    ),
)
"""The query of `GET /apps/{app}/containers`."""
_DONE = "-"
_POSITION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)_([0-9a-f-]{36})")

Position = tuple[str, str]
"""Creation time and id of the last session that was read of a bucket."""
Positions = Mapping[int, Position]
"""How far each bucket was read that has more."""
Group = tuple[str, str, str]
"""Task definition, state and host."""


@dataclass(frozen=True)
class Part:
    """Containers by group, and how to go on; no positions at the end."""

    groups: Counter[Group]
    positions: Positions


def queries_of(limit: int | None, positions: Mapping[int, Position | None]) -> dict[int, Any]:
    """Arguments of DynamoDB's Query for each bucket of a part, besides its condition."""
    queries: dict[int, Any] = {}
    for bucket, position in positions.items():
        queries[bucket] = {} if limit is None else {"Limit": -(-limit // len(positions))}
        if position is not None:
            queries[bucket]["ExclusiveStartKey"] = _start_key(bucket, position)
    return queries


def _start_key(bucket: int, position: Position) -> dict[str, Any]:
    created_at, session_id = position
    return {
        "live_bucket": {"N": str(bucket)},
        "created_at": {"N": created_at},
        "id": {"S": session_id},
    }


def show_cursor(positions: Positions, buckets: int) -> str | None:
    """The cursor of the next part; None at the end."""
    if not positions:
        return None
    return "!".join("_".join(positions[b]) if b in positions else _DONE for b in range(buckets))


def parse_counting(
    query: Mapping[str, str], buckets: int
) -> tuple[int | None, dict[int, Position | None]]:
    """Read the query of the route: its limit, and where each bucket is to be read from.

    Raises BadRequestError.
    """
    given = {name: text for name, text in query.items() if text}
    limit, following = (field.read(given) for field in COUNTING)
    return limit, parse_cursor(following, buckets)


def parse_cursor(text: str | None, buckets: int) -> dict[int, Position | None]:
    """Where each bucket that has more is to be read from; None = from its beginning.

    Raises BadRequestError.
    """
    if text is None:
        return dict.fromkeys(range(buckets))
    parts = text.split("!")
    positions: dict[int, Position | None] = {}
    for bucket, part in enumerate(parts):
        if part != _DONE:
            positions[bucket] = _parse(part)
    if not positions or len(parts) != buckets:
        raise _refused()
    return positions


def count(pages: Mapping[int, Mapping[str, Any]]) -> Part:
    """The combined result of the buckets' pages."""
    groups: Counter[Group] = Counter()
    positions: dict[int, Position] = {}
    for bucket, page in pages.items():
        groups.update(page["Counts"])
        if "LastEvaluatedKey" in page:
            key = page["LastEvaluatedKey"]
            positions[bucket] = key["created_at"]["N"], key["id"]["S"]
    return Part(groups, positions)


def _parse(part: str) -> Position:
    found = _POSITION.fullmatch(part)
    if found is None:
        raise _refused()
    return found[1], found[2]


def _refused() -> BadRequestError:
    return BadRequestError("next: as the part before said")
