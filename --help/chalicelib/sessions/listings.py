"""Pages of `GET /sessions` and their rows. Pure.

A cursor contains a digest of the filters that it was made for, and is refused with others.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import BadRequestError
from chalicelib.fields import Field, page_size
from chalicelib.instants import instant
from chalicelib.sessions.model import Session, State

_STATES = [state.value for state in State if state is not State.ENDED]
_TEXT = {"type": "string", "maxLength": 300}
STATE = Field("state", {"type": "string", "enum": _STATES}, f"one of {', '.join(_STATES)}")
REVISION = Field(
    "revision", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, "a whole number from 1"
)
LIMIT = page_size(default=50, most=100)
LISTING = (
    Field("app", _TEXT, "an app's name", "Those of this app alone."),
    STATE,
    Field("owner", _TEXT, "an owner", "Those of this owner; operators and viewers may ask."),
    Field("host", _TEXT, "a container instance's ARN or the end of it", "Those on this host."),
    REVISION,
    LIMIT,
    Field("next", _TEXT, "as the page before said", "From the page before."),
)
"""The query of `GET /sessions`."""
_FILTERS = ("app", "state", "owner", "host", "revision")
_END = "\x7f"
"""Follows every id: the cursor points to the position before all sessions of its instant."""

Place = tuple[float, str]
"""The sort position of a session: its creation time and its id."""


@dataclass(frozen=True)
class SessionSearch:
    """Filters of one page; None = any."""

    limit: int
    after: Place | None
    digest: str
    app: str | None = None
    state: State | None = None
    owner: str | None = None
    host: str | None = None
    revision: int | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether the filters exclude some sessions."""
        return any((self.app, self.state, self.owner, self.host, self.revision))

    def wants(self, session: Session) -> bool:
        """Whether the session passes the filters."""
        return (
            self.app in {None, session.app}
            and self.state in {None, session.state}
            and self.owner in {None, session.owner}
            and self.revision in {None, session.revision}
            and (self.host is None or (session.container_instance or "").endswith(self.host))
        )


@dataclass(frozen=True)
class SessionPage:
    """Sessions, newest first, and the position of the next page; None = last page.

    A page may be short or empty and still have a next page.
    """

    sessions: tuple[Session, ...]
    after: Place | None


def parse_search(query: Mapping[str, str]) -> SessionSearch:
    """Read the query of GET /sessions. Raises BadRequestError."""
    given = {name: text for name, text in query.items() if text}
    fields = {field.name: field.read(given) for field in LISTING}
    digest = _digest(given)
    state = fields["state"]
    return SessionSearch(
        limit=fields["limit"],
        after=_place(fields["next"], digest),
        digest=digest,
        app=fields["app"],
        state=None if state is None else State(state),
        owner=fields["owner"],
        host=fields["host"],
        revision=fields["revision"],
    )


def show_next(page: SessionPage, search: SessionSearch) -> str | None:
    """The cursor of the next page."""
    if page.after is None:
        return None
    created_at, session_id = page.after
    return f"{search.digest}_{created_at!r}_{session_id.removesuffix(_END)}"


def before_all_of(created_at: float) -> Place:
    """The position before all sessions of an instant, in the order newest first."""
    return created_at, _END


def show_row(session: Session, *, with_host: bool) -> dict[str, Any]:
    """A row of a listing; it never has the secret path.

    `with_host`: include task and host, for operators and viewers.
    """
    row = {
        "id": session.id,
        "app": session.app,
        "owner": session.owner,
        "state": session.state.value,
        "revision": session.revision,
        "warm": session.pooled,
        "attempt": session.attempt,
        "createdAt": instant(session.created_at),
        "changedAt": instant(session.changed_at),
        "readyAt": instant(session.ready_at),
        "connectBy": instant(session.connect_by),
        "endedAt": instant(session.ended_at),
        "reason": session.reason,
        "detail": session.detail,
    }
    if with_host:
        address = f"{session.ip}:{session.port}" if session.is_reachable else None
        row |= {"taskArn": session.task_arn, "host": session.container_instance, "address": address}
    return row


def show_history(session: Session, *, with_host: bool) -> dict[str, Any]:
    """A session with its history: the time and the cause of each state."""
    return show_row(session, with_host=with_host) | {
        "history": [
            {"at": instant(change.at), "state": change.state.value, "cause": change.cause}
            for change in session.history
        ]
    }


def _digest(given: Mapping[str, str]) -> str:
    filters = json.dumps([given.get(name) for name in _FILTERS])
    return hashlib.sha256(filters.encode()).hexdigest()[:16]


def _place(text: str | None, digest: str) -> Place | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9a-f]{16})_(\d{1,12}(?:\.\d{1,9})?)_([0-9a-f-]{0,36})", text)
    if found is None or found[1] != digest:
        raise BadRequestError("next: as the page before said, with the same filters")
    return float(found[2]), found[3] or _END
