"""The session's protocol without I/O: events in, actions out. Pure.

Call the method of each event and execute the returned actions in order. Call `deadline_reached` at
`next_deadline`. Times are monotonic seconds.

    WAITING ──client──▶ CONNECTED ──client left──▶ GRACE ──▶ OVER
                            ▲───────client─────────┘
    Every phase leads to OVER: by its deadline, a stop, or a failure. OVER is final.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from chalicelib.contract import Bye, Callback
from session_handler import messages
from session_handler.cursor import Cursor


class Phase(Enum):
    WAITING = "waiting"
    CONNECTED = "connected"
    GRACE = "grace"
    OVER = "over"


class Report(NamedTuple):
    """Report to the dispatcher, after all earlier reports."""

    type: Callback
    fields: dict[str, Any]


class Stream(NamedTuple):
    """Send hello and read the feed: from `cursor`; without one from now, or, with `resumes`, after
    the last delivery to the previous client.
    """

    cursor: Cursor | None
    resumes: bool


class Pause(NamedTuple):
    """Stop reading the feed: no client is connected."""


class Goodbye(NamedTuple):
    """Send the client a bye and close the websocket."""

    reason: Bye
    code: int
    detail: str


class Exit(NamedTuple):
    """End the process with this code."""

    code: int


Action = Report | Stream | Pause | Goodbye | Exit

CLOSE_CODES = {
    Bye.EXPIRED: messages.CLOSE_GOING_AWAY,
    Bye.STOPPED: messages.CLOSE_GOING_AWAY,
    Bye.SLOW_CLIENT: messages.CLOSE_TRY_AGAIN_LATER,
    Bye.APP_FAILED: messages.CLOSE_INTERNAL_ERROR,
    Bye.FEED_FAILED: messages.CLOSE_INTERNAL_ERROR,
}
"""After 1001 or 1013 a client should request another session."""

HANDOVER_SECONDS = 5.0
"""Time for which a session without a client waits for a client that replaces another."""

FAILURES = frozenset({Bye.APP_FAILED, Bye.FEED_FAILED})


@dataclass(frozen=True)
class Limits:
    """Maximum duration of each phase in seconds; 0 = no limit, except for the grace period."""

    connect_deadline_seconds: float
    reconnect_grace_seconds: float
    max_session_seconds: float


class Session:
    """One user's session in this container."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.phase = Phase.WAITING
        self.is_ready = False
        self._limits = limits
        self._ends_at = now + limits.max_session_seconds if limits.max_session_seconds else None
        self._phase_ends_at: float | None = None
        self.stream: Stream | None = None
        """The connected client's stream action; the container executes no other."""
        self._has_been_connected = False
        self._cursor: Cursor | None = None

    @property
    def next_deadline(self) -> float | None:
        """When `deadline_reached` must be called."""
        if self.phase is Phase.OVER:
            return None
        instants = [at for at in (self._ends_at, self._phase_ends_at) if at is not None]
        return min(instants, default=None)

    @property
    def ends_at(self) -> float | None:
        """End of its maximum lifetime; None without a limit."""
        return self._ends_at

    @property
    def takes_clients(self) -> bool:
        return self.phase in {Phase.WAITING, Phase.GRACE}

    def ready(self, now: float) -> list[Action]:
        """The feed is prepared. A client that connected early is served from now on."""
        if self.is_ready or self.phase is Phase.OVER:
            return []
        self.is_ready = True
        actions: list[Action] = [Report(Callback.READY, {})]
        if self.phase is Phase.CONNECTED:
            return actions + self._serve()
        if self._limits.connect_deadline_seconds:
            self._phase_ends_at = now + self._limits.connect_deadline_seconds
        return actions

    def failed_to_start(self, detail: str) -> list[Action]:
        """The session cannot become ready."""
        if self.phase is Phase.OVER:
            return []
        client_is_there = self.phase is Phase.CONNECTED
        self.phase = Phase.OVER
        actions: list[Action] = [Report(Callback.FAILED, {"detail": detail})]
        if client_is_there:
            reason = Bye.FEED_FAILED
            actions.insert(0, Goodbye(reason, CLOSE_CODES[reason], "the session did not start"))
        return [*actions, Exit(1)]

    def client_arrived(self, cursor: Cursor | None) -> list[Action]:
        """A websocket was opened. Call it only while `takes_clients`."""
        if not self.takes_clients:
            raise ValueError(f"no client is taken while {self.phase.value}")
        self.phase = Phase.CONNECTED
        self._phase_ends_at = None
        self._cursor = cursor
        return self._serve() if self.is_ready else []

    def client_left(self, now: float) -> list[Action]:
        """The websocket is closed, by either side."""
        if self.phase is not Phase.CONNECTED:
            return []
        self.stream = None
        if self._limits.reconnect_grace_seconds:
            self.phase = Phase.GRACE
            self._phase_ends_at = now + self._limits.reconnect_grace_seconds
            return [Pause()]
        return self._end_disconnected()

    def client_replaced(self, now: float) -> list[Action]:
        """The client does not answer, and another one connects: call it instead of `client_left`.
        The session continues, regardless of its grace period, for the duration of a handshake.
        """
        if self.phase is not Phase.CONNECTED:
            return []
        self.stream = None
        self.phase = Phase.GRACE
        grace = max(self._limits.reconnect_grace_seconds, HANDOVER_SECONDS)
        self._phase_ends_at = now + grace
        return [Pause()]

    def client_misbehaved(self, error: messages.BadMessageError) -> list[Action]:
        """The client broke the contract: it is disconnected finally."""
        if self.phase is not Phase.CONNECTED:
            return []
        goodbye = Goodbye(Bye.DISCONNECTED, error.code, str(error))
        return [goodbye, *self._end_disconnected()]

    def deadline_reached(self, now: float) -> list[Action]:
        """`next_deadline` may have come: end what is due. Early calls have no effect."""
        if self.phase is Phase.OVER:
            return []
        if self._ends_at is not None and now >= self._ends_at:
            return self.end(Bye.EXPIRED)
        if self._phase_ends_at is None or now < self._phase_ends_at:
            return []
        if self.phase is Phase.GRACE:
            return self._end_disconnected()
        return self.end(Bye.NEVER_CONNECTED)

    def end(self, reason: Bye, detail: str = "") -> list[Action]:
        """End the session from this side: stopped, expired, failed, client too slow."""
        if self.phase is Phase.OVER:
            return []
        actions: list[Action] = []
        if self.phase is Phase.CONNECTED:
            code = CLOSE_CODES.get(reason, messages.CLOSE_NORMAL)
            actions.append(Goodbye(reason, code, detail))
        self.phase = Phase.OVER
        fields = {"reason": reason.value, **({"detail": detail} if detail else {})}
        actions.append(Report(Callback.STOPPING, fields))
        return [*actions, Exit(1 if reason in FAILURES else 0)]

    def _serve(self) -> list[Action]:
        self.stream = Stream(self._cursor, resumes=self._has_been_connected)
        if self._has_been_connected:
            return [self.stream]
        self._has_been_connected = True
        return [Report(Callback.CONNECTED, {}), self.stream]

    def _end_disconnected(self) -> list[Action]:
        self.phase = Phase.OVER
        reported: list[Action] = []
        if self._has_been_connected:
            reported.append(Report(Callback.DISCONNECTED, {}))
        reported.append(Report(Callback.STOPPING, {"reason": Bye.DISCONNECTED.value}))
        return [*reported, Exit(0)]
