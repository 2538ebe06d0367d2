"""The SQS queues of jobs, one for each priority. A message wakes the launcher up, no more.

The table has what waits and in what order. So it does no harm when a message comes twice, late, or
(the sweep looks every minute) not at all, and a critical invocation does not wait behind the
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
    """Launch what waits. `invocation_id`: the invocation that is the cause, if it is one."""

    invocation_id: str | None = None
    comes_due: bool = False
    """It was deferred, and its time has come."""
    capacity_freed: bool = False
    """Something ended, so there is capacity for the one at the head."""


class JobQueues:
    """Sends wake-up messages; one that cannot be sent is left to the sweep."""

    def __init__(self, queues: Queues, names: Mapping[Priority, str]) -> None:
        self._queues = queues
        self._names = names

    def send(self, priority: Priority, wake_up: WakeUp, delay_seconds: int = 0) -> bool:
        """Send one to the queue of `priority`; whether it was sent."""
        return self._queues.send(self._names[priority], message_of(wake_up), delay_seconds)


def message_of(wake_up: WakeUp) -> dict[str, Any]:
    """The body of its message."""
    return {
        "invocation": wake_up.invocation_id,
        "comesDue": wake_up.comes_due,
        "roomWasMade": wake_up.capacity_freed,
    }


def read_wake_up(body: str) -> WakeUp:
    """The inverse of `message_of`. Raises ValueError for a message that is not ours."""
    message = json.loads(body)
    match message:
        case {"invocation": str() | None as invocation_id}:
            due, capacity_freed = bool(message.get("comesDue")), bool(message.get("roomWasMade"))
            return WakeUp(invocation_id, due, capacity_freed)
        case _:
            raise ValueError(f"not a message of the queues of jobs: {body[:100]}")
