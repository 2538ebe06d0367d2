"""Sessions in DynamoDB. Every write is conditional; a failed condition is a result, not an
exception.

One table has sessions by id, `request#…` items that map an Idempotency-Key to its session,
`limit#…` counters and `app#…` states. Two sparse indexes: `live` has the sessions that have not
ended, `pool` those that wait for an owner, preceded by the state of their app.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from chalicelib.capacity.fairness import order_of
from chalicelib.dynamodb.expressions import Attr, Condition
from chalicelib.dynamodb.records import Unreadable, only_readable, read_record
from chalicelib.dynamodb.serialization import deserialize
from chalicelib.dynamodb.table import BATCH, FAILED, count_of
from chalicelib.dynamodb.writes import Write, put, raised
from chalicelib.sessions.items import (
    APP_STATES,
    SESSIONS,
    from_item,
    to_item,
    waiting_partition,
)
from chalicelib.sessions.limits import Counter, lists_sessions
from chalicelib.sessions.listings import Place, SessionPage, SessionSearch, before_all_of
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.sessions.writes import remember
from chalicelib.tasks.breaker import RevisionStates
from chalicelib.tasks.store import LIVE_BUCKETS, RecordTable, next_version

if TYPE_CHECKING:
    from chalicelib.sessions.containers import Part

Page = TypeVar("Page")
LIVE_INDEX, POOL_INDEX = "live", "pool"
MAX_LISTING_QUERIES = 3
"""One page of a listing queries each bucket at most this often; documented in docs/contracts.md."""
LISTING_ROWS = 25
"""Minimum number of rows that a query reads from a bucket: more than share an instant. Twice a
bucket's part of 50 rows, so that one query of each bucket nearly always returns the newest 50."""
COUNTED_ROWS = 50
"""At most this many sessions of a bucket are counted; if one has more, the sweep's count is
used."""
POOL_PAGE = 60
"""Maximum number of pool members in one read: the requests of a burst spread over that many
candidates."""

_log = logging.getLogger("usher.sessions")


class Lost(Enum):
    """The condition of an insert that failed."""

    SESSION = auto()
    """Another request claimed the warm session."""
    REQUEST = auto()
    """The same request was answered meanwhile."""
    CAPACITY = auto()
    """The capacity groups use more than was known."""
    CONFLICT = auto()
    """Another transaction held one of the items; a repetition may succeed."""


@dataclass(frozen=True)
class Full:
    """The limits' counters that were full."""

    counters: tuple[Counter, ...]


@dataclass(frozen=True)
class Answered:
    """The item that maps a request to its session: its key, and the ended session of the earlier
    answer.
    """

    key: str
    replaces: str | None = None


@dataclass(frozen=True)
class Members:
    """The present members of a pool."""

    sessions: list[Session]
    unreadable: list[Unreadable]
    unseen: tuple[str, ...]
    """Ids of members that the pool index does not show yet."""


class SessionsTable(RecordTable[Session]):
    """The table of sessions through a boto3 DynamoDB client."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        super().__init__(dynamodb, name, SESSIONS)
        self.apps = RevisionStates(self.items, APP_STATES)

    def answered(self, key: str) -> str | None:
        """The id of the session that the request `key` was last answered with."""
        item = self.items.get(key)
        return str(item["session_id"]["S"]) if item else None

    def insert(
        self,
        session: Session,
        *,
        before: Session | None = None,
        answers: Answered | None = None,
        counters: Sequence[Counter] = (),
        takes: Sequence[Write] = (),
    ) -> Session | Lost | Full:
        """Write a session that has its owner, and everything that depends on it, in one
        transaction.

        `before` is the warm session, None for a new one; `answers` records the request; `counters`
        are incremented; `takes` counts it in its capacity group. Returns the record as written.
        """
        written = session if before is None else next_version(before, session)
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
        writes += [(write, Lost.CAPACITY) for write in takes]
        refusal = self.items.transact([write for write, _ in writes])
        if refusal is None or self.items.is_written(to_item(written), refusal):
            return written
        return _what_was_lost([what for _, what in writes], refusal.reasons)

    def live(
        self,
        bucket: int,
        after: str | None,
        limit: int,
        *,
        only: Condition | None = None,
        created_until: float | None = None,
    ) -> tuple[list[Session | Unreadable], str | None]:
        """A page of the sessions of a bucket that have not ended (eventually consistent).

        `after` is None for the first page, else the second value of the previous page. `only`:
        filter on a page of `limit` items. `created_until`: return older ones only.
        """
        items, following = self.items.page_after(
            LIVE_INDEX,
            "live_bucket",
            bucket,
            after=after,
            limit=limit,
            only=only,
            order="created_at",
            between=None if created_until is None else (0.0, created_until),
        )
        return [read_record(item, from_item) for item in items], following

    def newest(self, search: SessionSearch) -> SessionPage:
        """One page of the sessions that have not ended, newest first (eventually consistent).

        Queries each bucket at most MAX_LISTING_QUERIES times; if that is not enough, the page is
        short or empty and has a next page.
        """
        found: list[Session] = []
        upper = search.after
        rows = search.limit if search.is_filtered else 2 * search.limit // LIVE_BUCKETS
        for _ in range(MAX_LISTING_QUERIES):
            sessions, cut = self._newest(upper, max(rows, LISTING_ROWS))
            for session in filter(search.wants, sessions):
                found.append(session)
                if len(found) == search.limit:
                    return SessionPage(tuple(found), (session.created_at, session.id))
            if cut is None:
                return SessionPage(tuple(found), None)
            upper = before_all_of(cut)
        return SessionPage(tuple(found), upper)

    def count_live(self) -> tuple[int, bool]:
        """The number of sessions that have not ended (eventually consistent), and whether it is
        complete.

        Stops at the first bucket with more than COUNTED_ROWS.
        """
        counted = 0
        for bucket in range(LIVE_BUCKETS):
            page = self.items.page(
                LIVE_INDEX, "live_bucket", bucket, Select="COUNT", Limit=COUNTED_ROWS
            )
            counted += int(page["Count"])
            if "LastEvaluatedKey" in page:
                return counted, False
        return counted, True

    def count_containers(self, app: str, queries: Mapping[int, Mapping[str, Any]]) -> "Part":
        """A part of the count of an app's sessions that have not ended (eventually consistent).

        `queries`: see `containers.queries_of`. A query reads a megabyte at most.
        """
        from chalicelib.sessions.containers import COUNTED, count  # not imported at cold start

        of_app = Attr("app").eq(app)
        pages = _in_parallel(
            lambda bucket: self.items.counts(
                LIVE_INDEX, "live_bucket", bucket, by=COUNTED, only=of_app, **queries[bucket]
            ),
            list(queries),
        )
        return count(dict(zip(queries, pages, strict=True)))

    def _newest(self, upper: Place | None, rows: int) -> tuple[list[Session], float | None]:
        """The newest sessions below `upper`, in order: all of them, or those created after the
        returned time.

        Reads `rows` of each bucket.
        """
        items: list[dict[str, Any]] = []
        cut: float | None = None
        pages = _in_parallel(
            lambda bucket: self.items.page(
                LIVE_INDEX,
                "live_bucket",
                bucket,
                order="created_at",
                between=None if upper is None else (0.0, upper[0]),
                ScanIndexForward=False,
                Limit=rows,
            ),
            range(LIVE_BUCKETS),
        )
        for page in pages:
            items += page["Items"]
            if "LastEvaluatedKey" in page:
                last = float(page["LastEvaluatedKey"]["created_at"]["N"])
                cut = last if cut is None else max(cut, last)
        sessions = only_readable(read_record(item, from_item) for item in items)
        chosen = [
            session
            for session in sessions
            if (upper is None or (session.created_at, session.id) < upper)
            and (cut is None or session.created_at > cut)
        ]
        return sorted(chosen, key=lambda s: (s.created_at, s.id), reverse=True), cut

    def waiting(self, group: str, limit: int = BATCH) -> list[Session]:
        """The first sessions that wait in a capacity group, in order (consistent read)."""
        partition = waiting_partition(group)
        page = self.items.page(POOL_INDEX, "pool", partition, Limit=limit)
        found = self.get_all([item["id"]["S"] for item in page["Items"]])
        return [session for session in only_readable(found) if session.waits_for_group]

    def count_waiting(self, group: str, until: Session | None = None) -> int:
        """The approximate number of sessions that wait in a capacity group, or those up to a
        session's turn.
        """
        last = None if until is None else order_of(until.turn or 0, until.created_at)
        page = self.items.page(
            POOL_INDEX,
            "pool",
            waiting_partition(group),
            order="pool_order",
            between=None if last is None else (0, last),
            Select="COUNT",
        )
        return int(page["Count"])

    def read_pool(self, app: str) -> tuple[AppState, list[Session]]:
        """The state of an app and the members of its pool, ready ones first, in one query.

        Eventually consistent: writes that depend on it must be conditional.
        """
        page = self.items.page(POOL_INDEX, "pool", app, ScanIndexForward=True, Limit=POOL_PAGE)
        state, members = _app_and_members(app, page["Items"])
        return state, only_readable(members)

    def query_all(self, app: str) -> tuple[AppState, list[Session | Unreadable]]:
        """Read all pages of a pool, including records that cannot be read; see `read_pool`."""
        return _app_and_members(app, list(self.items.query(POOL_INDEX, "pool", app)))

    def members_now(self, state: AppState) -> "Members":
        """All present members of an app's pool, including those that its index does not show yet.

        Their ids come from all pages of the index and from `state.unseen`; their records are read
        consistently, so that claimed and ended members are excluded.
        """
        shown = dict.fromkeys(record.id for record in self.query_all(state.name)[1])
        ids = [*shown, *(session_id for session_id in state.unseen if session_id not in shown)]
        found = self.get_all(ids)
        sessions = [session for session in only_readable(found) if session.is_unowned]
        unseen = tuple(sorted(session.id for session in sessions if session.id not in shown))
        unreadable = [record for record in found if isinstance(record, Unreadable)]
        return Members(sessions, unreadable, unseen)

    def warm_now(self, sessions: Sequence[Session]) -> list[Session]:
        """The `sessions` that are warm and without an owner now (consistent read), in their
        order.
        """
        current = self.get_all([session.id for session in sessions])
        return [s for s in only_readable(current) if s.is_unowned and s.state is State.WARM]

    def counted_all(self, keys: Sequence[str]) -> dict[str, int]:
        """The values of the existing counters of these keys (consistent read)."""
        return {key: count_of(item) for key, item in self.items.get_all(keys).items()}

    def counted_by(self, keys: Sequence[str]) -> list[Session]:
        """The sessions that these counters list, the oldest first."""
        counters = self.items.get_all([key for key in keys if lists_sessions(key)])
        ids = [id_ for item in counters.values() for id_ in deserialize(item).get("members", ())]
        return sorted(only_readable(self.get_all(ids)), key=lambda session: session.created_at)

    def _raised(self, counter: Counter, session: Session) -> Write:
        member = session.id if lists_sessions(counter.key) else None
        expire_at = counter.limit.expire_at
        return raised(self.items.name, counter.key, counter.maximum, expire_at, member)


def _in_parallel(query: Callable[[int], Page], buckets: Sequence[int]) -> list[Page]:
    """The answers of each bucket's query, in order."""
    from concurrent.futures import ThreadPoolExecutor  # not imported at cold start

    with ThreadPoolExecutor(LIVE_BUCKETS) as executor:
        return list(executor.map(query, buckets))


def _what_was_lost(subjects: list[Any], reasons: list[str]) -> Lost | Full:
    failed = [
        subject for subject, reason in zip(subjects, reasons, strict=False) if reason == FAILED
    ]
    for lost in (Lost.REQUEST, Lost.SESSION, Lost.CAPACITY):
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
        if item["id"]["S"] == APP_STATES.item_id(app):
            (state,) = only_readable([read_record(item, APP_STATES.from_item)]) or [state]
        else:
            members.append(read_record(item, from_item))
    return state, members
