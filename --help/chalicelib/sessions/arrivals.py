"""Waiting for a session to become ready.

Requests poll the record. If the record changes in the process that waits, as on a laptop, the
request continues at once; if it changes in another Lambda environment, the request continues after
its next poll.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Arrivals:
    """Wakes the requests of this process that wait for a session. Thread-safe. A session without
    waiting requests uses no memory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[threading.Event]] = {}

    @contextmanager
    def expecting(self, session_id: str) -> Iterator[threading.Event]:
        """An event that `announce` sets from now on."""
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
        """Wake the requests that wait for this session: its record has changed."""
        with self._lock:
            for event in self._waiting.get(session_id, ()):
                event.set()
