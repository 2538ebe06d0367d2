"""Assigns a session to a request: a warm session by one conditional write, else a new one.

The hot path makes two requests to DynamoDB: one query reads the app's state and its warm sessions;
one transaction claims a session, records the request and increments the counters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chalicelib.apps import App
from chalicelib.capacity.counting import group_counters
from chalicelib.capacity.ledger import Ledger, Take
from chalicelib.capacity.turns import Turns
from chalicelib.config import Config
from chalicelib.ecs.task_definitions import family_of
from chalicelib.environment import Ids
from chalicelib.errors import BusyError, ConflictError, LimitError, RevisionFailingError
from chalicelib.sessions import lifecycle
from chalicelib.sessions.creation import container_of, new_session, turns_of
from chalicelib.sessions.items import request_key
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.limits import (
    Counter,
    Limit,
    choose,
    counters_of,
    limits_for,
    lowered_at_end,
)
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.placement import Claim, decide_placement
from chalicelib.sessions.pool import AppState, asks_for_refill
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.table import Answered, Full, Lost, SessionsTable
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.revisions import Open, choose_revision, serves

WAITS = "waiting, its capacity group may have no more now"
ATTEMPTS = 24
"""A request fails with BusyError after this many lost conditional writes."""
LOSSES_PER_QUERY = 2
"""After this many lost claims a request reads the pool again: in a burst most of the sessions that
it read before are claimed."""
REFILL_DELAY_SECONDS = 1
"""Delay of the message that requests a refill. The message is sent while the claim is written and
must not be handled before it."""


@dataclass
class _Attempt:
    """The state of a request between its attempts."""

    asked_at: float
    candidates: list[Session]
    limits: list[Limit]
    full: frozenset[str] = frozenset()
    answers: Answered | None = None
    turn: int | None = None
    """Its turn in the queue of its capacity group, if it has to wait there."""
    lost: frozenset[str] = frozenset()
    """Sessions that other requests claimed; the index may still show them as warm."""


@dataclass(frozen=True)
class Inserted:
    """The session of a request. `is_repeated`: an earlier request got the same session."""

    session: Session
    is_repeated: bool


class Claims:
    """Assigns sessions to requests."""

    def __init__(
        self,
        *,
        table: SessionsTable,
        queue: LaunchQueue,
        revisions: Revisions,
        ledger: Ledger,
        turns: Turns,
        config: Config,
        ids: Ids,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        beside: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        """`beside` starts a call in parallel and returns a function that waits for its end."""
        self._table = table
        self._queue = queue
        self._beside = beside
        self._revisions = revisions
        self._ledger = ledger
        self._turns = turns
        self._config = config
        self._ids = ids
        self._now = now
        self._sleep = sleep
        self._trusted: set[str] = set()
        """Apps whose proven revision was taken for the newest, once."""

    def insert(self, request: DispatchRequest) -> Inserted:
        """The session of this request: reused, claimed or new (QUEUED, not launched yet).

        Raises LimitError, RevisionFailingError, ConflictError, BusyError.
        """
        asked_at = self._now()
        state, members = self._table.read_pool(request.app.name)
        newest = self._newest_for_claim(request.app, state, members)
        attempt = self._prepare(request, state, members, newest, asked_at)
        sent = self._refill(request, attempt, members)
        try:
            inserted = self._insert(request, attempt, state, newest)
            if inserted.is_repeated or inserted.session.turn is None:
                self._give_turn_back(request, attempt)
            return inserted
        except (LimitError, RevisionFailingError):
            self._give_turn_back(request, attempt)
            # A limit for new sessions does not revoke an existing one.
            existing = self._answered(request, attempt) if attempt.answers else None
            if existing is None:
                raise
            return Inserted(existing, is_repeated=True)
        finally:
            sent()  # Lambda freezes the process after the answer

    def _give_turn_back(self, request: DispatchRequest, attempt: _Attempt) -> None:
        if attempt.turn is not None:
            queue = turns_of(self._group_of(request.app))
            self._turns.give_back(queue, request.caller.owner)

    def _refill(
        self, request: DispatchRequest, attempt: _Attempt, members: list[Session]
    ) -> Callable[[], None]:
        """Request a refill of the pool, in parallel with the claim, if the claim leaves few
        members.

        Clients request one too when they connect, but some never connect.
        """
        name = request.app.name
        if not attempt.candidates or not asks_for_refill(len(members) - 1, request.app.pool):
            return lambda: None
        return self._beside(
            lambda: self._queue.reconcile_pool(name, delay_seconds=REFILL_DELAY_SECONDS)
        )

    def _insert(
        self, request: DispatchRequest, attempt: _Attempt, state: AppState, newest: str
    ) -> Inserted:
        for tried in range(ATTEMPTS):
            placement = decide_placement(attempt.candidates, self._ids.part())
            before = placement.session if isinstance(placement, Claim) else None
            session, take = self._draft(request, attempt, before, state)
            outcome = self._try(session, before, attempt, take)
            match outcome:
                case Session():
                    if take.counters:
                        self._ledger.taken(request.app.group, container_of(request.app))
                    return Inserted(outcome, is_repeated=False)
                case Full(counters):
                    attempt.full |= self._found_full(counters, attempt.full)
                case Lost.SESSION:
                    self._lose(request, attempt, before, newest)
                case Lost.REQUEST:
                    answered = self._answered(request, attempt)
                    if answered is not None:
                        return Inserted(answered, is_repeated=True)
                case Lost.CAPACITY:
                    self._ledger.forget()
                case Lost.CONFLICT:
                    self._sleep(0.005 * (tried + 1) * self._ids.part())
        raise BusyError("too many requests at once", retry_after_seconds=1)

    def _found_full(self, refused: Sequence[Counter], known: frozenset[str]) -> frozenset[str]:
        """The refused counters; where another one of the same limit was full too, all that are full
        now. A request over a limit thus costs two transactions and a read, however many counters
        the limit has.
        """
        found = {counter.key for counter in refused}
        others = [
            counter
            for limit in {each.limit for each in refused}
            if not known.isdisjoint(keys := {each.key for each in counters_of(limit)})
            for counter in counters_of(limit)
            if counter.key in keys - known - found
        ]
        counts = self._table.counted_all([counter.key for counter in others]) if others else {}
        return frozenset(found) | {c.key for c in others if counts.get(c.key, 0) >= c.maximum}

    def _newest(self, app: App) -> str:
        return self._revisions.newest(family_of(app.family_name, self._config.stage))

    def _newest_for_claim(self, app: App, state: AppState, members: list[Session]) -> str:
        """The newest revision; for the first claim of a process the proven one, if a warm session
        has it.

        The first claim therefore makes two calls and needs no ECS client. The first request of a
        process can claim a session of a revision that was taken back, until the pool reconciler
        drains it.
        """
        if app.name in self._trusted or state.proven is None:
            return self._newest(app)
        self._trusted.add(app.name)
        if any(s.state is State.WARM and s.task_definition == state.proven for s in members):
            return state.proven
        return self._newest(app)

    def _lose(
        self, request: DispatchRequest, attempt: _Attempt, lost: Session | None, newest: str
    ) -> None:
        attempt.lost |= {lost.id} if lost else set()
        attempt.candidates = [s for s in attempt.candidates if s.id not in attempt.lost]
        if len(attempt.lost) % LOSSES_PER_QUERY == 0 or not attempt.candidates:
            state, members = self._table.read_pool(request.app.name)
            warm = self._candidates(request, state, members, newest)
            # The index may still show sessions as warm that were claimed or have ended.
            attempt.candidates = self._table.warm_now([s for s in warm if s.id not in attempt.lost])

    def _candidates(
        self, request: DispatchRequest, state: AppState, members: list[Session], newest: str
    ) -> list[Session]:
        oldest = self._now() - request.app.pool.max_age_seconds
        warm = [s for s in members if s.state is State.WARM and s.created_at >= oldest]
        current = [s for s in warm if s.task_definition == newest]
        return current or [s for s in warm if serves(state, s.task_definition, newest)]

    def _prepare(
        self,
        request: DispatchRequest,
        state: AppState,
        members: list[Session],
        newest: str,
        asked_at: float,
    ) -> _Attempt:
        attempt = _Attempt(
            asked_at=asked_at,
            candidates=self._candidates(request, state, members, newest),
            limits=limits_for(
                self._config.apps.limits,
                app=request.app.name,
                app_maximum=request.app.max_sessions,
                owner=request.caller.owner,
                now=self._now(),
            ),
        )
        if request.idempotency_key is not None:
            attempt.answers = Answered(
                request_key(request.caller.key_scope, request.idempotency_key)
            )
        return attempt

    def _try(
        self, session: Session, before: Session | None, attempt: _Attempt, take: Take
    ) -> Session | Lost | Full:
        counters = [self._counter(limit, attempt.full) for limit in attempt.limits]
        kept = group_counters(session.counters) + take.counters
        return self._table.insert(
            replace(session, counters=lowered_at_end(counters) + kept),
            before=before,
            answers=attempt.answers,
            counters=counters,
            takes=take.writes,
        )

    def _draft(
        self,
        request: DispatchRequest,
        attempt: _Attempt,
        before: Session | None,
        state: AppState,
    ) -> tuple[Session, Take]:
        """The session to write, and the writes that count a new one in its capacity group."""
        if before is not None:
            return self._claimed(before, request, attempt.asked_at), Take()
        session, take = self._new(request, state), self._take(request, attempt)
        if attempt.turn is not None:
            group = self._group_of(request.app)
            session = replace(session, waits_in=group, turn=attempt.turn, detail=WAITS)
        return session, take

    def _take(self, request: DispatchRequest, attempt: _Attempt) -> Take:
        """The writes that count a new container in its app's capacity group. Empty if the session
        has to wait; the attempt then has a turn after all that wait in the group.
        """
        app = request.app
        if attempt.turn is None and not self._ledger.someone_waits(app.group):
            planned = self._ledger.plan_take(app.group, container_of(app))
            if isinstance(planned, Take):
                return planned
        if attempt.turn is None:
            queue = turns_of(self._group_of(app))
            attempt.turn = self._turns.next(queue, request.caller.owner, self._now())
        return Take()

    def _group_of(self, app: App) -> str:
        return self._ledger.groups.of(app.group).name

    def _counter(self, limit: Limit, full: frozenset[str]) -> Counter:
        counter = choose(limit, self._ids.part(), full)
        if counter is None:
            wait = 1 if limit.is_rate else 5
            raise LimitError(
                f"the limit of {limit.maximum} for {limit.label} is reached",
                retry_after_seconds=wait,
                counters=tuple(counter.key for counter in counters_of(limit)),
            )
        return counter

    def _answered(self, request: DispatchRequest, attempt: _Attempt) -> Session | None:
        """The live session of an earlier request with this key; None if there is none or it has
        ended, and then `attempt` replaces it.
        """
        if attempt.answers is None:
            raise AssertionError("only a request with a key can have been answered")
        session_id = self._table.answered(attempt.answers.key)
        existing = self._table.get(session_id) if session_id else None
        if existing is not None and existing.is_live:
            if existing.app != request.app.name:
                raise ConflictError("this Idempotency-Key was used for another app")
            return existing
        attempt.answers = replace(attempt.answers, replaces=session_id)
        return None

    def _claimed(self, warm: Session, request: DispatchRequest, asked_at: float) -> Session:
        owned = replace(
            warm,
            asked_at=asked_at,
            owner=request.caller.owner,
            claims=request.claims,
            query=request.query,
            traceparent=request.traceparent,
        )
        return lifecycle.reserve(owned, request.app, self._now(), "claimed")

    def _new(self, request: DispatchRequest, state: AppState) -> Session:
        now, newest = self._now(), self._newest(request.app)
        pooled = request.app.pool.minimum > 0
        chosen = choose_revision(state, newest, now, by_pool=pooled)
        if isinstance(chosen, Open):
            raise RevisionFailingError(
                chosen.reason, retry_after_seconds=chosen.retry_after_seconds
            )
        return new_session(
            self._ids,
            app_name=request.app.name,
            owner=request.caller.owner,
            callback_base_url=request.callback_base_url,
            task_definition=chosen,
            now=now,
            queue_seconds=request.app.queue_seconds,
            claims=request.claims,
            query=request.query,
            traceparent=request.traceparent,
        )
