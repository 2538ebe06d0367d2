"""Sessions in DynamoDB. Every write is conditional; a lost condition is a result, no exception.

One table holds sessions by id, `request#…` items which remember what session an Idempotency-Key
was answered with, `limit#…` counters and `app#…` states. Two sparse indexes: `live` has what has
not ended, `pool` what waits for an owner, with the state of its app in front.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from chalicelib.dynamodb.records import Unreadable, only_readable, read_record, readable
from chalicelib.dynamodb.table import FAILED, Table, change
from chalicelib.dynamodb.wire import unwire
from chalicelib.dynamodb.writes import Write, lowered, put, raised
from chalicelib.sessions.items import (
    LIVE_BUCKETS,
    app_from_item,
    app_id,
    app_to_item,
    from_item,
    to_item,
)
from chalicelib.sessions.limits import Counter, lists_sessions
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.sessions.writes import remember

LIVE_INDEX, POOL_INDEX = "live", "pool"
POOL_PAGE = 60
"""How many pool members one look takes in: a burst spreads over so many candidates."""

UNREADABLE = -1
"""The version of the state of an app that cannot be read."""

_log = logging.getLogger("usher.sessions")


class Lost(Enum):
    """Which condition of an entry was lost."""

    SESSION = auto()
    """The warm session is somebody else's by now."""
    REQUEST = auto()
    """The same request was answered in the meantime."""
    CONFLICT = auto()
    """Another transaction held one of the items; the same again may work."""


@dataclass(frozen=True)
class Full:
    """The counters that were full."""

    counters: tuple[Counter, ...]


@dataclass(frozen=True)
class Answered:
    """What remembers a request: its key, and the ended session it was answered with before."""

    key: str
    replaces: str | None = None


@dataclass(frozen=True)
class Members:
    """A pool as it is now."""

    sessions: list[Session]
    unreadable: list[Unreadable]
    unseen: tuple[str, ...]
    """The ids of those that the pool index does not show yet."""


class SessionsTable:
    """The table of sessions through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self.items = Table(dynamodb, name)

    def get(self, session_id: str) -> Session | None:
        """The record as it is now (a consistent read). Raises UnreadableRecordError."""
        return readable(self.find(session_id))

    def find(self, session_id: str) -> Session | Unreadable | None:
        """As `get`, for callers that have to go on without an unreadable record."""
        item = self.items.get(session_id)
        return read_record(item, from_item) if item else None

    def answered(self, key: str) -> str | None:
        """The id of the session that the request `key` was last answered with."""
        item = self.items.get(key)
        return str(item["session_id"]["S"]) if item else None

    def enter(
        self,
        session: Session,
        *,
        before: Session | None = None,
        answers: Answered | None = None,
        counters: Sequence[Counter] = (),
    ) -> Session | Lost | Full:
        """Write a session that has its owner now, with all that goes with it, or nothing of it.

        `before` is the warm session it was, None for a new one; `answers` remembers the request;
        `counters` are raised by one. Returns the record as written.
        """
        written = session if before is None else replace(session, version=before.version + 1)
        expected = None if before is None else before.version
        writes: list[tuple[Write, Any]] = [
            ({"Put": put(self.items.name, to_item(written), expected)}, Lost.SESSION)
        ]
        if answers is not None:
            remembered = remember(
                self.items.name, answers.key, session.id, session.created_at, answers.replaces
            )
            writes.append(({"Put": remembered}, Lost.REQUEST))
        writes += [({"Update": self._raised(counter, session)}, counter) for counter in counters]
        refusal = self.items.transact([write for write, _ in writes])
        if refusal is None or self.items.is_written(to_item(written), refusal):
            return written
        return _what_was_lost([what for _, what in writes], refusal.reasons)

    def replace(self, before: Session, after: Session) -> Session | None:
        """Write `after` where the record is still `before`; None when it has moved on.

        An end gives back what the session's counters hold, in the same transaction, and so does
        whatever takes counters out of the record. Returns the record as written, one version on.
        """
        written = replace(after, version=before.version + 1)
        ended = {"Put": put(self.items.name, to_item(written), before.version)}
        kept = () if after.state is State.ENDED else after.counters
        held = tuple(key for key in before.counters if key not in kept)
        refusal = self.items.transact(
            [ended, *({"Update": self._lowered(key, before)} for key in held)]
        )
        if refusal is None or self.items.is_written(to_item(written), refusal):
            return written
        gone = [key for key, why in zip(held, refusal.reasons[1:], strict=False) if why == FAILED]
        if not gone or refusal.reasons[0] == FAILED:
            return None
        # Somebody deleted a counter. No session may be kept from its end by that.
        told = {"session": before.id, "app": before.app, "owner": before.owner}
        _log.error("counters that should count a session do not: %s", gone, extra=told)
        counted = tuple(key for key in before.counters if key not in gone)
        return self.replace(replace(before, counters=counted), after)

    def change(
        self,
        session_id: str,
        decide: Callable[[Session], Session],
        seen: Session | None = None,
    ) -> tuple[Session, Session] | None:
        """See `chalicelib.dynamodb.table.change`."""
        return change(lambda: self.get(session_id), decide, self.replace, seen)

    def live(self) -> Iterator[Session | Unreadable]:
        """All sessions that have not ended, page by page (eventually consistent)."""
        for bucket in range(LIVE_BUCKETS):
            for item in self.items.query(LIVE_INDEX, "live_bucket", bucket):
                yield read_record(item, from_item)

    def look(self, app: str) -> tuple[AppState, list[Session]]:
        """The state of an app and what waits in its pool, ready ones first: one round trip.

        Eventually consistent, so whatever is done about it is written on condition.
        """
        page = self.items.page(POOL_INDEX, "pool", app, ScanIndexForward=True, Limit=POOL_PAGE)
        state, members = _app_and_members(app, page["Items"])
        return state, only_readable(members)

    def look_through(self, app: str) -> tuple[AppState, list[Session | Unreadable]]:
        """As `look`, but to the last page, and with records that cannot be read."""
        return _app_and_members(app, list(self.items.query(POOL_INDEX, "pool", app)))

    def members_now(self, state: AppState) -> "Members":
        """All members of an app's pool as they are now, those that its index lacks yet too.

        The index, to its last page, and `state.unseen` say which; the records are then read
        consistently, so that a member that was claimed or has ended counts no more.
        """
        shown = {record.id for record in self.look_through(state.name)[1]}
        ids = [*shown, *(session_id for session_id in state.unseen if session_id not in shown)]
        found = [read_record(item, from_item) for item in self.items.get_all(ids).values()]
        sessions = [session for session in only_readable(found) if session.is_nobodys]
        unseen = tuple(sorted(session.id for session in sessions if session.id not in shown))
        unreadable = [record for record in found if isinstance(record, Unreadable)]
        return Members(sessions, unreadable, unseen)

    def warm_now(self, sessions: Sequence[Session]) -> list[Session]:
        """Those of these that are warm and nobody's now (a consistent read), in their order."""
        found = self.items.get_all([session.id for session in sessions])
        current = [read_record(found[s.id], from_item) for s in sessions if s.id in found]
        return [s for s in only_readable(current) if s.is_nobodys and s.state is State.WARM]

    def app_now(self, app: str) -> AppState:
        """The state of an app as it is now (a consistent read)."""
        item = self.items.get(app_id(app))
        state = read_record(item, app_from_item) if item else AppState(app)
        if isinstance(state, Unreadable):  # nothing that has to be kept
            _log.error("what is remembered of it is forgotten: %s", state.why, extra={"app": app})
            return AppState(app, version=UNREADABLE)
        return state

    def change_app(self, app: str, decide: Callable[[AppState], AppState]) -> AppState:
        """As `change`, for the state of an app, which is made when it is first needed."""

        def put_state(before: AppState, after: AppState) -> AppState | None:
            written = replace(after, version=max(0, before.version) + 1)
            item = app_to_item(written)
            if before.version == UNREADABLE:
                self.items.overwrite(item)
                return written
            return written if self.items.put(item, before.version or None) else None

        changed = change(lambda: self.app_now(app), decide, put_state)
        return changed[1] if changed else AppState(app)

    def counted_by(self, keys: Sequence[str]) -> list[Session]:
        """The sessions that these counters count, where they list them; the oldest ones first."""
        counters = self.items.get_all([key for key in keys if lists_sessions(key)])
        ids = [id_ for item in counters.values() for id_ in unwire(item).get("members", ())]
        found = only_readable(
            read_record(item, from_item) for item in self.items.get_all(ids).values()
        )
        return sorted(found, key=lambda session: session.created_at)

    def _raised(self, counter: Counter, session: Session) -> Write:
        member = session.id if lists_sessions(counter.key) else None
        expire_at = counter.limit.expire_at
        return raised(self.items.name, counter.key, counter.maximum, expire_at, member)

    def _lowered(self, key: str, session: Session) -> Write:
        return lowered(self.items.name, key, session.id if lists_sessions(key) else None)


def _what_was_lost(subjects: list[Any], reasons: list[str]) -> Lost | Full:
    failed = [
        subject for subject, reason in zip(subjects, reasons, strict=False) if reason == FAILED
    ]
    for lost in (Lost.REQUEST, Lost.SESSION):
        if lost in failed:
            return lost
    if failed:
        return Full(tuple(failed))
    _log.info("transaction conflict: %s", reasons)
    return Lost.CONFLICT


def _app_and_members(
    app: str, items: list[dict[str, Any]]
) -> tuple[AppState, list[Session | Unreadable]]:
    state = AppState(app)
    members: list[Session | Unreadable] = []
    for item in items:
        if item["id"]["S"] == app_id(app):
            (state,) = only_readable([read_record(item, app_from_item)]) or [state]
        else:
            members.append(read_record(item, from_item))
    return state, members
