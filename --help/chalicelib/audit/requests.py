"""The query of `GET /audit`. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from chalicelib.audit.model import DAY_SECONDS, MAX_TEXT, Action, Search
from chalicelib.errors import BadRequestError
from chalicelib.fields import Field, page_size

_INSTANT = {"type": "string", "format": "date-time"}
_RULE = "an instant like 2027-01-31T09:00:00Z"
_LONG = f"at most {MAX_TEXT} characters"
_TEXT = {"type": "string", "maxLength": MAX_TEXT}
LIMIT = page_size(default=50, most=100)
FILTERS = (
    Field("who", _TEXT, _LONG, "Only records of this owner."),
    Field(
        "action",
        {"type": "string", "enum": [each.value for each in Action]},
        f"one of {', '.join(Action)}",
        "Those of this action alone.",
    ),
    Field("resource", _TEXT, _LONG, "Those of this resource alone."),
)
SEARCH = (
    Field("from", _INSTANT, _RULE, "Made then or later."),
    Field("to", _INSTANT, _RULE, "Made then or earlier."),
    *FILTERS,
    LIMIT,
    Field("next", {"type": "string"}, "as the page before said", "From the page before."),
)
"""The query of `GET /audit`."""
_PLACE = re.compile(r"\d{10}\.\d{6}(#[0-9a-z-]{1,64})?")
_BOUND = ("from", "to", *(field.name for field in FILTERS))
"""The fields that a cursor is bound to."""
_NEXT = "next: as the page before said, with the same query"


def parse_search(query: Mapping[str, str], now: float, days: int) -> Search:
    """Parse the query. Without `from` the listing begins with the oldest record, without `to` it
    ends now.

    Raises BadRequestError.
    """
    query = {name: text for name, text in query.items() if text}
    kept_since = now - days * DAY_SECONDS
    earliest = max(kept_since, _instant(query, "from", kept_since))
    latest = min(now, _instant(query, "to", now))
    if query.get("from") and query.get("to") and earliest > latest:
        raise BadRequestError("from: later than to")
    filters = {field.name: field.read(query) for field in FILTERS if field.name in query}
    return Search((earliest, latest), LIMIT.read(query), _place(query), filters)


def show_next(query: Mapping[str, str], place: str | None) -> str | None:
    """The cursor of the next page, valid for this query only."""
    return None if place is None else f"{_digest(query)}.{place}"


def _digest(query: Mapping[str, str]) -> str:
    bound = sorted((name, query[name]) for name in _BOUND if query.get(name))
    return hashlib.sha256(json.dumps(bound).encode()).hexdigest()[:16]


def _place(query: Mapping[str, str]) -> str | None:
    token = query.get("next")
    if not token:
        return None
    digest, _, place = token.partition(".")
    if digest != _digest(query) or not _PLACE.fullmatch(place):
        raise BadRequestError(_NEXT)
    return place


def _instant(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name)
    if not text:
        return default
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise BadRequestError(f"{name}: with its offset from UTC, like 2027-01-31T09:00:00Z")
        return instant.astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadRequestError(f"{name}: {_RULE}") from error
