"""Virtual time: SimPy's event queue, and greenlets for code that blocks.

The dispatcher's own code is synchronous: it calls AWS and waits for the answer. Each call of it
runs in a greenlet, and what waits (`sleep`, a request to a model of AWS) gives control back to
SimPy's event loop until its instant has come. So the code that is simulated is that which is
deployed.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import simpy
from greenlet import GreenletExit, getcurrent, greenlet

START_AT = 1_767_225_600.0
"""2026-01-01T00:00Z, a Thursday: instants in records are seconds since 1970."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class VirtualTime:
    """One simulated clock. Nothing in it depends on the machine's clock or threads."""

    def __init__(self) -> None:
        self._environment = simpy.Environment()
        self._hub = getcurrent()
        self._running: dict[greenlet, None] = {}
        self._is_over = False

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning of the simulation."""
        return float(self._environment.now)

    def now(self) -> float:
        """Seconds since 1970."""
        return START_AT + self.elapsed

    def later(self, seconds: float, call: Callable[[], Any]) -> None:
        """Make a call that does not block after `seconds`."""
        timeout = self._environment.timeout(max(0.0, seconds))
        timeout.callbacks.append(lambda _event: call())

    def sleep(self, seconds: float) -> None:
        """Block the calling greenlet for so many seconds."""
        current = getcurrent()
        if self._is_over:
            return  # it is being ended, and only cleans up
        if current is self._hub:
            raise RuntimeError("only what was spawned may sleep")
        self.later(seconds, current.switch)
        self._hub.switch()

    def spawn(self, call: Callable[[], Any], seconds: float = 0.0) -> None:
        """Run a call that may block, beginning so many seconds from now.

        What it raises ends the simulation.
        """

        def run() -> None:
            try:
                call()
            finally:
                self._running.pop(getcurrent(), None)

        def begin() -> None:
            thread = greenlet(run, self._hub)
            self._running[thread] = None
            thread.switch()

        self.later(seconds, begin)

    def beside(self, call: Callable[[], None]) -> Callable[[], None]:
        """Start a call at the same time; returns what waits for its end, and raises what it did."""
        done = self.event()
        failures: list[Exception] = []

        def run() -> None:
            try:
                call()
            except Exception as failure:  # noqa: BLE001 - it is raised where its end is awaited
                failures.append(failure)
            done.set()

        def wait() -> None:
            done.wait()
            if failures:
                raise failures[0]

        self.spawn(run)
        return wait

    def run_each(
        self, call: Callable[[Item], Result], items: Sequence[Item], at_once: int
    ) -> list[Result]:
        """`call` for each item, `at_once` at a time; the results in order."""
        results: dict[int, Result] = {}
        waiting = list(enumerate(items))[::-1]

        def work() -> None:
            while waiting:
                number, item = waiting.pop()
                results[number] = call(item)

        for end in [self.beside(work) for _ in range(min(at_once, len(items)))]:
            end()
        return [results[number] for number in range(len(items))]

    def event(self) -> "Event":
        """Something that happens once, and that greenlets wait for."""
        return Event(self)

    def run(self, seconds: float) -> None:
        """Advance the time by `seconds`."""
        self._environment.run(until=self._environment.now + seconds)

    def close(self) -> None:
        """End everything that still blocks."""
        self._is_over = True
        for thread in list(self._running):
            thread.throw(GreenletExit)


class Event:
    """Happens once; who waits for it goes on then."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._waiting: list[greenlet] = []
        self._happened = False

    def set(self) -> None:
        """Let everybody go on who waits."""
        self._happened = True
        for thread in self._waiting:
            self._time.later(0, thread.switch)
        self._waiting.clear()

    def wait(self) -> None:
        """Block the calling greenlet until the event happens."""
        if self._happened or self._time._is_over:
            return
        self._waiting.append(getcurrent())
        self._time._hub.switch()
