"""Asynchronous invocations: events wait here until their function took them.

As Lambda does: at least once, in no order, tried again when the function fails (two more times,
here after seconds and not minutes), and many times more if the dispatcher crashes during the event.
"""

import heapq
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from local.functions.dispatcher_process import Invocation, ThrottledError, UnreachableError
from local.functions.payloads import MAX_ASYNCHRONOUS_BYTES

WORKERS = 8
MAX_PENDING = 10_000
"""Further waiting events are refused, to bound the memory."""

RETRY_SECONDS = (1.0, 2.0)
"""Pauses before the second and the third try of a function that fails."""

UNREACHABLE_SECONDS = 0.2
"""Pause before the next try if the dispatcher crashed during the event."""

THROTTLED_SECONDS = 0.5
"""Before the next try when all processes of the function were busy: Lambda begins with one second
and ends with five minutes, for up to six hours, and does not count it as a failure."""

MAX_UNREACHABLE = 50
"""Maximum number of crashes during one event, because the event itself may be the cause."""

log = logging.getLogger(__name__)


class Invoker(Protocol):
    """Invokes functions; implemented by `local.functions.dispatcher_process.DispatcherProcess`."""

    def invoke(self, function: str, event: Any) -> Invocation:
        """Run a function. Raises UnreachableError."""


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one function, and the number of its failures and of tries without a
    dispatcher.
    """

    function: str
    event: Any
    failures: int = 0
    unreachable: int = 0


class Deliveries:
    """The events that wait, and the threads that deliver them. Thread-safe."""

    def __init__(
        self,
        invoker: Invoker,
        now: Callable[[], float] = time.monotonic,
        workers: int = WORKERS,
        unreachable_seconds: float = UNREACHABLE_SECONDS,
    ) -> None:
        self._invoker = invoker
        self._now = now
        self._unreachable_seconds = unreachable_seconds
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Delivery]] = []
        self._condition = threading.Condition()
        self._closed = False
        self._busy = 0
        self.given_up = 0
        """Events that were never delivered: failed three times, or refused."""
        self._threads = [
            threading.Thread(target=self._work, name=f"delivery-{n}", daemon=True)
            for n in range(workers)
        ]

    @property
    def pending(self) -> int:
        """The number of events that wait or are being delivered."""
        with self._condition:
            return len(self._heap) + self._busy

    def start(self) -> None:
        """Start delivering."""
        for thread in self._threads:
            thread.start()

    def add(self, function: str, event: Any, after_seconds: float = 0.0) -> None:
        """Deliver an event to a function, `after_seconds` from now at the earliest.

        One larger than Lambda takes asynchronously is refused, and counted as given up.
        """
        if len(json.dumps(event)) > MAX_ASYNCHRONOUS_BYTES:
            self._give_up(Delivery(function, event), "takes no asynchronous event over 1 MiB")
            return
        self._put(Delivery(function, event), after_seconds)

    def close(self) -> None:
        """Deliver nothing more; waiting events are lost, as in a power failure."""
        with self._condition:
            self._closed = True
            self._heap.clear()
            self._condition.notify_all()

    def _put(self, delivery: Delivery, after_seconds: float) -> None:
        with self._condition:
            if self._closed:
                return
            if len(self._heap) >= MAX_PENDING:
                self.given_up += 1
                log.error("too many events wait; one for %s is lost", delivery.function)
                return
            due = self._now() + after_seconds
            heapq.heappush(self._heap, (due, next(self._order), delivery))
            self._condition.notify()

    def _work(self) -> None:
        while True:
            with self._condition:
                delivery = self._next()
                if delivery is None:
                    return
                self._busy += 1
            try:
                self._deliver(delivery)
            finally:
                with self._condition:
                    self._busy -= 1

    def _next(self) -> Delivery | None:
        """Wait for the next event that is due; None at the end."""
        while not self._closed:
            wait = self._heap[0][0] - self._now() if self._heap else None
            if wait is not None and wait <= 0:
                return heapq.heappop(self._heap)[2]
            self._condition.wait(wait)
        return None

    def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome = self._invoker.invoke(delivery.function, delivery.event)
        except ThrottledError:
            self._put(delivery, THROTTLED_SECONDS)
            return
        except UnreachableError:
            if delivery.unreachable < MAX_UNREACHABLE:
                again = replace(delivery, unreachable=delivery.unreachable + 1)
                self._put(again, self._unreachable_seconds)
            else:
                self._give_up(delivery, "killed the dispatcher again and again")
            return
        if outcome.error is None:
            return
        if delivery.failures >= len(RETRY_SECONDS):
            self._give_up(delivery, "failed three times")
            return
        again = replace(delivery, failures=delivery.failures + 1)
        self._put(again, RETRY_SECONDS[delivery.failures])

    def _give_up(self, delivery: Delivery, why: str) -> None:
        with self._condition:
            self.given_up += 1
        log.error("%s %s, its event is lost", delivery.function, why)
