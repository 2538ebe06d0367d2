"""Runs the engine's work in the background."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import Protocol

from local.aws.ecs.timers import Timers


class Work(Enum):
    """Kinds of work on containers."""

    START = auto()
    STOP = auto()
    CHECK = auto()


AT_ONCE = {Work.START: 32, Work.STOP: 8, Work.CHECK: 8}
"""A burst of starts runs in parallel, a flood makes no flood of threads."""


class Workers(Protocol):
    """Runs calls that raise nothing, outside the stack of those who submit them."""

    def submit(self, work: Work, call: Callable[[], None]) -> None:
        """Run the call soon. Raises RuntimeError after `cancel`."""

    def publish(self, call: Callable[[], None]) -> None:
        """Run the call soon, after all those before it; never after `close`."""

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Run a short call after `seconds`, never after `cancel`."""

    def cancel(self) -> None:
        """Begin nothing that waits any more, but what is to be published."""

    def join(self) -> None:
        """Return when all that was begun before `cancel` has ended."""

    def close(self) -> None:
        """Publish what waits, then end."""


class Threads:
    """Workers in threads: one for timers and one for events, the others as they are needed."""

    def __init__(self) -> None:
        self._pools = {
            work: ThreadPoolExecutor(number, f"ecs-{work.name.lower()}")
            for work, number in AT_ONCE.items()
        }
        self._timers = Timers("ecs-timers")
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._publishing = threading.Thread(target=self._run, name="ecs-events", daemon=True)
        self._publishing.start()

    def submit(self, work: Work, call: Callable[[], None]) -> None:
        """See Workers."""
        self._pools[work].submit(call)

    def publish(self, call: Callable[[], None]) -> None:
        """See Workers."""
        self._events.put(call)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """See Workers."""
        self._timers.after(seconds, call)

    def cancel(self) -> None:
        """See Workers."""
        self._timers.close()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """See Workers."""
        for pool in self._pools.values():
            pool.shutdown(wait=True)

    def close(self) -> None:
        """See Workers."""
        self._events.put(None)
        self._publishing.join()

    def _run(self) -> None:
        while (call := self._events.get()) is not None:
            call()
