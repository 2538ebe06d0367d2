"""Waiting for a session that is on its way.

The record is the truth and is polled. Where the news arrives in the very process that waits, as on
a laptop, the waiting ends at once; between two Lambda environments it ends with the next poll.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """Wakes those who wait for a session in this process. Thread-safe; forgets who has left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}

    @contextmanager
    def expecting(self, session_id: str) -> Iterator[threading.Event]:
        """An event that is set by `announce` from now on."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(session_id, []).append(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[session_id].remove(event)
                if not self._waiting[session_id]:
                    del self._waiting[session_id]

    def announce(self, session_id: str) -> None:
        """The session's record has changed."""
        with self._lock:
            for event in self._waiting.get(session_id, ()):
                event.set()
