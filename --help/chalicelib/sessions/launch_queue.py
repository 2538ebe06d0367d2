"""The SQS queue of delayed work: launches of sessions that wait, runs of the pool reconciler."""

import json
from dataclasses import dataclass

from chalicelib.tasks.queues import Queues


@dataclass(frozen=True)
class LaunchAgain:
    """Launch a session that waits for capacity. `tries` counts its RunTask calls, including this
    one.
    """

    session_id: str
    tries: int


@dataclass(frozen=True)
class ReconcilePool:
    """Reconcile a pool. `claimed`: a session of the app was claimed; `again`: a requested rerun."""

    app: str
    claimed: bool = False
    again: bool = False


@dataclass(frozen=True)
class StartWaiting:
    """Start sessions that wait in a capacity group, because capacity was released."""

    group: str


class LaunchQueue:
    """Sends messages to the queue. If a message cannot be sent, the sweep does its work."""

    def __init__(self, queues: Queues, name: str) -> None:
        self._queues = queues
        self._name = name

    def launch(self, session_id: str, tries: int, delay_seconds: int) -> None:
        """Request the launch of a session after a delay."""
        self._queues.send(self._name, {"session": session_id, "tries": tries}, delay_seconds)

    def reconcile_pool(
        self, app: str, *, claimed: bool = False, again: bool = False, delay_seconds: int = 0
    ) -> None:
        """Request that the pool of `app` is reconciled."""
        message = {"tend": app, "claimed": claimed, "again": again}
        self._queues.send(self._name, message, delay_seconds)

    def start_waiting(self, group: str) -> None:
        """Request that sessions which wait in a capacity group are started."""
        self._queues.send(self._name, {"group": group})

    def waiting(self) -> int:
        """The approximate number of messages in the queue; 0 if SQS does not answer."""
        return self._queues.waiting(self._name)


def read_message(body: str) -> LaunchAgain | ReconcilePool | StartWaiting:
    """Parse a message of the queue. Raises ValueError for an unknown one."""
    message = json.loads(body)
    match message:
        case {"session": str(session_id), "tries": int(tries)}:
            return LaunchAgain(session_id, tries)
        case {"tend": str(app)}:
            return ReconcilePool(app, bool(message.get("claimed")), bool(message.get("again")))
        case {"group": str(group)}:
            return StartWaiting(group)
        case _:
            raise ValueError(f"not a message of the launch queue: {body[:100]}")
