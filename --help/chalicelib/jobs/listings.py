"""Pages of `GET /invocations`: filters, cursors and the indexes that a page is read from. Pure.

A cursor contains a digest of the filters that it was made for, and is refused with others.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.fields import Field, page_size
from chalicelib.jobs.items import KEPT_SECONDS, day_of
from chalicelib.jobs.model import Invocation, Place, State
from chalicelib.jobs.requests import (
    INSTANT,
    INSTANT_RULE,
    MAX_AHEAD_SECONDS,
    MAX_NUMBER,
    parse_instant,
)
from chalicelib.tasks.requests import parse_record_id

_STATES = {"type": "string", "enum": [state.value for state in State]}
_STATE_RULE = f"one of {', '.join(State)}"
STATUS = Field("status", _STATES, _STATE_RULE, "Those in this state alone.")
STATE = Field("state", _STATES, _STATE_RULE, "Another name of `status`.")
LIMIT = page_size(default=20, most=100)
LISTING = (
    Field("job", {"type": "string"}, "a job's name", "Those of this job alone."),
    STATUS,
    STATE,
    Field("owner", {"type": "string"}, "an owner", "Those of this owner; operators may ask."),
    Field("from", INSTANT, INSTANT_RULE, "Created then or later."),
    Field("to", INSTANT, INSTANT_RULE, "Created then or earlier."),
    LIMIT,
    Field("next", {"type": "string"}, "as the page before said", "From the page before."),
)
"""The query of `GET /invocations`."""
LISTED_SECONDS = MAX_AHEAD_SECONDS + KEPT_SECONDS
"""No record is older: an invocation is planned a year ahead at most and kept for 90 days after its
end."""
DAY_SECONDS = 86_400
SETTLED_SECONDS = 3_600
_DIGEST_CHARACTERS = 16
_FILTERS = ("job", "status", "state", "owner", "from", "to")
_ANOTHER_QUERY = "next: of another query; ask without next for the first page of this one"


@dataclass(frozen=True)
class Listing:
    """The query of GET /invocations. `between`: first and last creation time."""

    job: str | None
    state: State | None
    owner: str | None
    between: tuple[float, float]
    limit: int
    after: Place | None
    digest: str
    """Digest of the filters."""


@dataclass(frozen=True)
class Page:
    """One page of a listing and the position of the next page; None = last page.

    A page may be empty and still have a next page, because it reached its limit of queries.
    """

    invocations: tuple[Invocation, ...]
    after: Place | None


@dataclass(frozen=True)
class Search:
    """Filters of one page. `owner` None: all owners."""

    between: tuple[float, float]
    """First and last creation time."""
    limit: int
    after: Place | None = None
    owner: str | None = None
    job: str | None = None
    state: State | None = None

    def wants(self, invocation: Invocation) -> bool:
        """Whether the record, as it is now, passes the filters."""
        return (
            self.state in {None, invocation.state}
            and self.owner in {None, invocation.owner}
            and self.job in {None, invocation.job}
        )


@dataclass(frozen=True)
class Partition:
    """One partition of an index, whose sort key is `created_at`."""

    index: str
    attribute: str
    value: str
    begin: Place | None = None
    """Position before its first row that is still to be returned, from the cursor."""

    def stays_as_it_is(self, search: Search) -> bool:
        """Whether this partition is a day that gets no further rows and is read completely.

        Its last second is SETTLED_SECONDS before the newest requested time: records are created
        with the current time, and the index has them soon after.
        """
        if self.begin is None:
            return False
        earliest, latest = search.between
        end = self.begin.created_at
        return earliest <= end - DAY_SECONDS and end + SETTLED_SECONDS <= latest


def parse_listing(query: Mapping[str, str], now: float) -> Listing:
    """Read the query of GET /invocations. Raises BadRequestError."""
    wanted = {name: text for name, text in query.items() if text}
    state = STATUS.read(wanted) or STATE.read(wanted)
    start, end = parse_instant(query, "from"), parse_instant(query, "to")
    if start is not None and end is not None and start > end:
        raise BadRequestError("from: not later than to")
    digest = _digest(query)
    return Listing(
        job=query.get("job"),
        state=None if state is None else State(state),
        owner=query.get("owner"),
        between=(start or 0.0, now if end is None else end),
        limit=LIMIT.read(query),
        after=_place(query.get("next"), digest),
        digest=digest,
    )


def show_place(place: Place | None, digest: str) -> str | None:
    """The cursor of the next page, for a listing with this `digest`."""
    if place is None:
        return None
    return f"{digest}_{place.created_at}_{place.invocation_id or ''}"


def plan_search(listing: Listing, owner: str | None, now: float) -> Search:
    """The search for a listing. `owner`: return only this owner's; None = all."""
    earliest, latest = listing.between
    return Search(
        between=(max(earliest, now - LISTED_SECONDS), min(latest, now)),
        limit=listing.limit,
        after=listing.after,
        owner=owner,
        job=listing.job,
        state=listing.state,
    )


def plan_partitions(search: Search) -> Iterator[Partition]:
    """The partitions with the rest of a search, in reading order; empty if nothing is left.

    An owner's invocations are in one partition, those of a job in one, and all in one for each day.
    """
    earliest, latest = search.between
    if search.after is not None:
        latest = min(latest, search.after.created_at)
    if latest < earliest:
        return
    if search.owner is not None:
        yield Partition("by_owner", "invoked_by", search.owner)
    elif search.job is not None:
        yield Partition("by_job", "job", search.job)
    else:
        midnight = _midnight(latest)
        if search.after == Place(latest, None):
            midnight -= DAY_SECONDS
        while midnight + DAY_SECONDS > earliest:
            begin = Place(float(midnight + DAY_SECONDS), None)
            yield Partition("by_day", "day", day_of(midnight), begin)
            midnight -= DAY_SECONDS


def _midnight(instant: float) -> int:
    """The first second of its day in UTC."""
    return math.floor(instant / DAY_SECONDS) * DAY_SECONDS


def _digest(query: Mapping[str, str]) -> str:
    filters = json.dumps([query.get(name) for name in _FILTERS])
    return hashlib.sha256(filters.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def _place(text: str | None, digest: str) -> Place | None:
    """The position of a cursor. Raises BadRequestError if the cursor was made for other filters."""
    if text is None:
        return None
    made_for, _, rest = text.partition("_")
    at, separator, invocation_id = rest.partition("_")
    try:
        created_at = float(at)
        known = parse_record_id(invocation_id, "invocation") if invocation_id else None
    except (ValueError, NotFoundError) as error:
        raise BadRequestError("next: as the page before said") from error
    if not separator or not 0 <= created_at < MAX_NUMBER:
        raise BadRequestError("next: as the page before said")
    if known is None and created_at % DAY_SECONDS:
        raise BadRequestError("next: as the page before said")
    if made_for != digest:
        raise BadRequestError(_ANOTHER_QUERY)
    return Place(created_at, known)
