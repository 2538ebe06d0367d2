"""The SQS queues of jobs, one for each priority. Their messages only wake the launcher.

The table has the waiting invocations and their order. Messages may therefore arrive twice, late or
not at all (the sweep checks every minute), and a critical invocation does not wait behind the
messages of a thousand others.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.jobs.model import Priority
from chalicelib.tasks.queues import Queues


@dataclass(frozen=True)
class WakeUp:
    """Launch waiting invocations. `invocation_id`: the invocation that caused the message, if
    any.
    """

    invocation_id: str | None = None
    comes_due: bool = False
    """The invocation was deferred, and its time has come."""
    capacity_freed: bool = False
    """An invocation ended, so that the head may have capacity."""


class JobQueues:
    """Sends wake-up messages. If one cannot be sent, the sweep does its work."""

    def __init__(self, queues: Queues, names: Mapping[Priority, str]) -> None:
        self._queues = queues
        self._names = names

    def send(self, priority: Priority, wake_up: WakeUp, delay_seconds: int = 0) -> bool:
        """Send a message to the queue of `priority`; returns whether it was sent."""
        return self._queues.send(self._names[priority], message_of(wake_up), delay_seconds)


def message_of(wake_up: WakeUp) -> dict[str, Any]:
    """The body of its message."""
    return {
        "invocation": wake_up.invocation_id,
        "comesDue": wake_up.comes_due,
        "roomWasMade": wake_up.capacity_freed,
    }


def read_wake_up(body: str) -> WakeUp:
    """The inverse of `message_of`. Raises ValueError for an unknown message."""
    message = json.loads(body)
    match message:
        case {"invocation": str() | None as invocation_id}:
            due, capacity_freed = bool(message.get("comesDue")), bool(message.get("roomWasMade"))
            return WakeUp(invocation_id, due, capacity_freed)
        case _:
            raise ValueError(f"not a message of the queues of jobs: {body[:100]}")
