"""The query of `GET /audit`. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from chalicelib.audit.model import DAY_SECONDS, MAX_TEXT, Action, Search
from chalicelib.errors import BadRequestError

MAX_LIMIT = 100
DEFAULT_LIMIT = 50
FILTERS = ("who", "action", "resource")
KNOWN = {"from", "to", "limit", "next", *FILTERS}
_PLACE = re.compile(r"\d{10}\.\d{6}(#[0-9a-z-]{1,64})?")
_NEXT = "next: as the page before said, with the same query"


def parse_search(query: Mapping[str, str], now: float, days: int) -> Search:
    """Read the query. Without `from` all that is kept, without `to` until now.

    Raises BadRequestError.
    """
    unknown = sorted(set(query) - KNOWN)
    if unknown:
        raise BadRequestError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(KNOWN))}")
    kept_since = now - days * DAY_SECONDS
    earliest = max(kept_since, _instant(query, "from", kept_since))
    latest = min(now, _instant(query, "to", now))
    if query.get("from") and query.get("to") and earliest > latest:
        raise BadRequestError("from: later than to")
    filters = {name: query[name] for name in FILTERS if query.get(name)}
    if any(len(value) > MAX_TEXT for value in filters.values()):
        raise BadRequestError(f"who, action, resource: at most {MAX_TEXT} characters")
    if filters.get("action", Action.INVOKE) not in set(Action):
        raise BadRequestError(f"action: one of {', '.join(Action)}")
    limit = query.get("limit") or str(DEFAULT_LIMIT)
    if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise BadRequestError(f"limit: a whole number from 1 to {MAX_LIMIT}")
    return Search((earliest, latest), int(limit), _place(query), filters)


def show_next(query: Mapping[str, str], place: str | None) -> str | None:
    """The token of the next page: good for this query alone."""
    return None if place is None else f"{_digest(query)}.{place}"


def _digest(query: Mapping[str, str]) -> str:
    bound = sorted((name, query[name]) for name in ("from", "to", *FILTERS) if query.get(name))
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
        raise BadRequestError(f"{name}: an instant like 2027-01-31T09:00:00Z") from error
