"""The SQS queue of what has to be started later: sessions that wait, pools to be reconciled."""

import json
from dataclasses import dataclass

from chalicelib.tasks.queues import Queues


@dataclass(frozen=True)
class LaunchAgain:
    """A session that waits for capacity; `tries` counts its RunTask calls, the coming one too."""

    session_id: str
    tries: int


@dataclass(frozen=True)
class ReconcilePool:
    """A pool to be reconciled. `claimed`: because a session of its app got its client; `again`: a
    rerun that was requested.
    """

    app: str
    claimed: bool = False
    again: bool = False


@dataclass(frozen=True)
class StartWaiting:
    """Those that wait in a capacity group: something ended."""

    group: str


class LaunchQueue:
    """Sends the queue's messages; one that cannot be sent is left to the sweep."""

    def __init__(self, queues: Queues, name: str) -> None:
        self._queues = queues
        self._name = name

    def launch(self, session_id: str, tries: int, delay_seconds: int) -> None:
        """Have the session launched after a delay."""
        self._queues.send(self._name, {"session": session_id, "tries": tries}, delay_seconds)

    def reconcile_pool(
        self, app: str, *, claimed: bool = False, again: bool = False, delay_seconds: int = 0
    ) -> None:
        """Have the pool of `app` reconciled."""
        message = {"tend": app, "claimed": claimed, "again": again}
        self._queues.send(self._name, message, delay_seconds)

    def start_waiting(self, group: str) -> None:
        """Have those started that wait in a capacity group, as far as it may have more."""
        self._queues.send(self._name, {"group": group})

    def waiting(self) -> int:
        """About how many messages wait; 0 where SQS does not answer."""
        return self._queues.waiting(self._name)


def read_message(body: str) -> LaunchAgain | ReconcilePool | StartWaiting:
    """What a message of the queue asks for. Raises ValueError for one that is not ours."""
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
