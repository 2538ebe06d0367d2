"""How a container is requested, and how a feed is followed over several containers. Pure.

Both are generators: they yield the next step and are sent its result, or thrown its error.
`usher.sessions` executes the steps, with threads or with asyncio. The rules are those of
session_handler/client.js.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.contract import Message
from chalicelib.contract.filters import parse_filter
from usher.errors import AnswerError, SessionEndedError, UnreachableError, WaitTimeoutError
from usher.repeating import Verdict, judge

FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 30.0
REJOIN_SECONDS = 5.0
HELLO_SECONDS = 15.0
STEADY_SECONDS = 5.0
"""A connection that lasted this long resets the count of failures."""

FINAL = frozenset({"stopped", "expired", "disconnected", "app_failed"})
"""Final reasons of a bye, by default."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Session:
    """A session with an address. `url` is a secret: it permits to connect."""

    id: str
    app: str | None
    state: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the feed. `data` is its JSON, or {"base64": …} if it is not JSON."""

    data: Any
    partition_key: str
    sequence_number: str
    arrived_at: datetime


@dataclass(frozen=True)
class Batch:
    """Records of one message; `cursor` resumes after them."""

    records: tuple[Record, ...]
    cursor: str | None


@dataclass(frozen=True)
class Gap:
    """Records of these shards may be missing; the following records are complete."""

    shards: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """`phase` is asking, pending, joining, live or waiting (for `seconds`, after `error`)."""

    phase: str
    attempt: int = 0
    seconds: float | None = None
    error: Exception | None = None


# Steps: requests of a generator


@dataclass(frozen=True)
class Ask:
    """GET `path` of the dispatcher once. Sent its JSON; thrown AnswerError, UnreachableError."""

    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Pause:
    """Wait this long, or until `retry`."""

    seconds: float


@dataclass(frozen=True)
class Open:
    """Connect to a container. Thrown LostError."""

    url: str = field(repr=False)


@dataclass(frozen=True)
class Send:
    """Send a text. Thrown LostError."""

    text: str


@dataclass(frozen=True)
class Receive:
    """Sent the next text, thrown LostError, also after this many seconds without a text."""

    seconds: float | None


@dataclass(frozen=True)
class Hang:
    """Close the connection in any state."""


@dataclass(frozen=True)
class Deliver:
    """Deliver this to the caller of `follow`."""

    item: Batch | Gap | State


Step = Ask | Pause | Open | Send | Receive | Hang | Deliver
Steps = Generator[Step, Any, Any]


class LostError(Exception):
    """The connection was lost or could not be opened."""


@dataclass(frozen=True)
class World:
    """Impure functions: a monotonic clock, random numbers in [0, 1), and new keys."""

    clock: Callable[[], float]
    random: Callable[[], float]
    new_key: Callable[[], str]


@dataclass(frozen=True)
class Wish:
    """The requested session."""

    app: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: int | None = None

    @property
    def path(self) -> str:
        """The path of GET /session, with its query."""
        own = {"app": self.app, "wait": self.wait_seconds}
        text = {**self.query, **{name: value for name, value in own.items() if value is not None}}
        return f"/session?{urlencode(text)}" if text else "/session"


def pause_before(attempt: int, random: float, reported: float | None) -> float:
    """Seconds to wait after `attempt` failures in a row (1 or more); not less than `reported`."""
    ceiling = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 16))
    return max(ceiling * (0.5 + random / 2), reported or 0.0)


def dispatch_steps(wish: Wish, key: str, seconds: float, world: World) -> Steps:
    """Returns a Session, after any number of 202, 429 or 503.

    Raises AnswerError (a final refusal, or one that lasts longer than the timeout),
    UnreachableError, SessionEndedError, WaitTimeoutError.
    """
    ends = world.clock() + seconds
    attempt = 0
    place = Ask(wish.path, {"Idempotency-Key": key})
    while True:
        try:
            body = yield place
        except (AnswerError, UnreachableError) as error:
            if isinstance(error, AnswerError) and judge(error.status) is Verdict.NEVER:
                raise
            attempt += 1
            reported = getattr(error, "retry_after_seconds", None)
            pause = pause_before(attempt, world.random(), reported)
            if world.clock() + pause > ends:
                raise  # it would only be refused later
            yield Deliver(State("waiting", attempt, pause, error))
            yield Pause(pause)
            continue
        if (session := read_session(body)) is not None:
            return session
        attempt = 0
        pause, place = _pending(body)
        if world.clock() + pause > ends:
            raise WaitTimeoutError(f"{body['id']} is still {body.get('state')}")
        yield Deliver(State("pending", 0, pause))
        yield Pause(pause)


def _pending(body: Mapping[str, Any]) -> tuple[float, Ask]:
    """The pause and the path for requesting a session that has no address yet. Raises
    SessionEndedError.
    """
    if body.get("state") in {"ENDED", "STOPPING"}:
        raise SessionEndedError(str(body.get("reason")), str(body.get("detail") or ""))
    if not isinstance(body.get("id"), str):
        raise UnreachableError("the answer is no session: is this a dispatcher's URL?")
    after = body.get("retryAfter")
    pause = float(after) if isinstance(after, int | float) and after > 0 else 1.0
    path = f"/sessions/{quote(body['id'], safe='')}"
    return min(pause, LONGEST_PAUSE_SECONDS), Ask(path, {})


def read_session(body: Mapping[str, Any]) -> Session | None:
    """The session in an answer; None if it has no address yet."""
    url = body.get("url")
    if not isinstance(url, str) or not url.startswith(("ws://", "wss://")):
        return None
    return Session(str(body.get("id")), body.get("app"), str(body.get("state")), url)


class Feed:
    """One feed over any number of connections and containers. `steps` has all of its steps."""

    def __init__(
        self,
        wish: Wish,
        world: World,
        *,
        cursor: str | None,
        wanted: Any,
        again: Sequence[str],
        rejoin_seconds: float | None,
    ) -> None:
        """Raises FilterError."""
        self.cursor = cursor
        self._wish = wish
        self._world = world
        self._filter = wanted
        self._wants = parse_filter(wanted)
        self._final = FINAL - set(again)
        self._rejoin_seconds = rejoin_seconds
        self._grace_seconds = REJOIN_SECONDS
        self._session: Session | None = None
        self._key = world.new_key()
        self._attempt = 0
        self._dropped_at: float | None = None

    def steps(self) -> Steps:
        """All steps of the feed. Ends only with SessionEndedError or AnswerError."""
        while True:
            if self._session is None:
                self._session = yield from self._ask()
                continue
            if self._dropped_at is None:
                self._dropped_at = self._world.clock()
            yield Deliver(State("joining", self._attempt))
            live_at, bye, error = yield from self._join(self._session)
            yield from self._after(live_at, bye, error)

    def _ask(self) -> Steps:
        """A session, or None if the request is to be repeated."""
        yield Deliver(State("asking", self._attempt))
        place = Ask(self._wish.path, {"Idempotency-Key": self._key})
        while True:
            try:
                body = yield place
                session = read_session(body)
                if session is not None:
                    return session
                pause, place = _pending(body)
            except SessionEndedError as error:
                self._disconnect()
                return (yield from self._wait(error))
            except UnreachableError as error:
                return (yield from self._wait(error))
            except AnswerError as error:
                if judge(error.status) is Verdict.NEVER:
                    raise
                return (yield from self._wait(error, error.retry_after_seconds))
            yield Deliver(State("pending", self._attempt, pause))
            yield Pause(pause)

    def _join(self, session: Session) -> Steps:
        """One connection; returns the time at which it became live, the bye, and the error."""
        live_at: float | None = None
        bye: Mapping[str, Any] | None = None
        try:
            query = f"?{urlencode({'cursor': self.cursor})}" if self.cursor else ""
            yield Open(session.url + query)
            while True:
                text = yield Receive(HELLO_SECONDS if live_at is None else None)
                message = _read(text)
                match message.get("type"):
                    case Message.HELLO:
                        live_at = self._world.clock()
                        yield from self._hello(message)
                    case Message.RECORDS:
                        yield from self._records(message)
                    case Message.GAP:
                        yield Deliver(Gap(tuple(map(str, _items(message, "shards")))))
                        self._move(message)
                    case Message.BYE:
                        self._move(message)
                        bye = message
        except LostError as error:
            yield Hang()
            return live_at, bye, error

    def _hello(self, message: Mapping[str, Any]) -> Steps:
        self._move(message)
        grace = message.get("graceSeconds")
        self._grace_seconds = grace if isinstance(grace, int | float) else REJOIN_SECONDS
        yield Deliver(State("live"))
        if self._wants is not None:
            yield Send(json.dumps({"type": Message.APP, "filter": self._filter}))

    def _records(self, message: Mapping[str, Any]) -> Steps:
        """Records that were sent before the container had the filter are filtered here."""
        wants = self._wants
        records = tuple(
            _record(record)
            for record in _items(message, "records")
            if isinstance(record, Mapping) and (wants is None or wants(record.get("data")))
        )
        cursor = message.get("cursor")
        yield Deliver(Batch(records, cursor if isinstance(cursor, str) else self.cursor))
        self._move(message)

    def _move(self, message: Mapping[str, Any]) -> None:
        if isinstance(message.get("cursor"), str):
            self.cursor = message["cursor"]

    def _after(
        self, live_at: float | None, bye: Mapping[str, Any] | None, error: Exception
    ) -> Steps:
        reason = None if bye is None else str(bye.get("reason"))
        if reason in self._final and bye is not None:
            raise SessionEndedError(str(reason), str(bye.get("detail") or ""), self.cursor)
        now = self._world.clock()
        if live_at is not None:
            self._dropped_at = now
            if now - live_at > STEADY_SECONDS:
                self._attempt = 0
        rejoin = self._rejoin_seconds
        if rejoin is None:
            rejoin = min(REJOIN_SECONDS, self._grace_seconds)
        if reason is not None or now - (self._dropped_at or 0.0) >= rejoin:
            self._disconnect()
        if live_at is not None and reason is None and self._attempt == 0:
            self._attempt = 1  # most interruptions are short: the first try has no pause
            return
        yield from self._wait(error)

    def _disconnect(self) -> None:
        """Give the container up: a new key makes the next request return another one."""
        self._session = None
        self._dropped_at = None
        self._grace_seconds = REJOIN_SECONDS
        self._key = self._world.new_key()

    def _wait(self, error: Exception, reported: float | None = None) -> Steps:
        self._attempt += 1
        reported = None if reported is None else min(reported, LONGEST_PAUSE_SECONDS)
        pause = pause_before(self._attempt, self._world.random(), reported)
        yield Deliver(State("waiting", self._attempt, pause, error))
        yield Pause(pause)


def _read(text: Any) -> Mapping[str, Any]:
    """A message; empty for an unknown one, which a later version may send."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, Mapping) else {}


def _items(message: Mapping[str, Any], name: str) -> list[Any]:
    items = message.get(name)
    return items if isinstance(items, list) else []


def _record(record: Mapping[str, Any]) -> Record:
    return Record(
        record.get("data"),
        str(record.get("partitionKey")),
        str(record.get("sequenceNumber")),
        _instant(record.get("arrivedAt")),
    )


def _instant(milliseconds: Any) -> datetime:
    """The beginning of 1970 for an invalid time."""
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except (TypeError, ValueError, OverflowError):
        return _EPOCH
