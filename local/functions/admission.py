"""Limits the number of requests that one process works on concurrently.

On AWS each request has a process of its own. Here hundreds of threads would share one interpreter:
all of them get slower together, and calls to AWS end by their timeouts. So requests begin in the
order in which they come, a few at a time. A request that has run for `seconds` is no longer
counted: it mostly waits for its container, and may depend on another request.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Admission:
    """At most `at_once` requests that are younger than `seconds`. Thread-safe."""

    def __init__(
        self, at_once: int, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_once = at_once
        self._seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._numbers = 0
        self._begun: dict[int, float] = {}
        self._waiting: deque[tuple[int, threading.Event]] = deque()

    @property
    def waiting(self) -> int:
        """Number of requests that have not begun."""
        return len(self._waiting)

    @property
    def at_work(self) -> int:
        """Number of requests that have begun and are counted."""
        return len(self._begun)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn of a request, which ends with the block."""
        mine = threading.Event()
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._waiting.append((number, mine))
            self._admit()
        while not mine.wait(self._seconds):
            with self._lock:
                self._admit()
        try:
            yield
        finally:
            with self._lock:
                self._begun.pop(number, None)
                self._admit()

    def _admit(self) -> None:
        oldest = self._now() - self._seconds
        self._begun = {number: at for number, at in self._begun.items() if at > oldest}
        while self._waiting and len(self._begun) < self._at_once:
            number, event = self._waiting.popleft()
            self._begun[number] = self._now()
            event.set()
