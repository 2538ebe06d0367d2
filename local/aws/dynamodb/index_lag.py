"""Global secondary indexes that show a write later than the table does.

Source: "Global secondary indexes", developer guide of DynamoDB: "Updates to global secondary
indexes are eventually consistent"; mostly within a fraction of a second, without a bound.

Each write has a random lag from zero to `max_seconds`, by a seeded generator. The writes of one
item become visible in order; those of different items may not.
"""

import random
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

DEFAULT_SECONDS = 1.0
"""The default lag of laboratories of sessions; `local up` has none."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class IndexLag:
    """The lag in force, for all tables of the process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.set(0.0)

    def set(
        self, max_seconds: float, *, seed: int = 0, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Writes from now on lag by up to `max_seconds` of the clock `now`; 0 = no lag."""
        with self._lock:
            self.max_seconds = max_seconds
            self._random = random.Random(seed)
            self.now = now

    def draw(self) -> float:
        """The lag of one write, in seconds."""
        with self._lock:
            return self._random.uniform(0.0, self.max_seconds)


LAG = IndexLag()
"""moto keeps its tables for the process, and so their lag."""


class Behind(Generic[K, V]):
    """Earlier versions that the indexes of one table still show."""

    def __init__(self, lag: IndexLag) -> None:
        self._lag = lag
        self._held: dict[K, list[tuple[float, V | None]]] = {}
        """The former versions of each key, with the times until which they are shown; the oldest
        first.
        """

    @property
    def is_on(self) -> bool:
        """Whether a write must be recorded."""
        return self._lag.max_seconds > 0

    def hold(self, key: K, before: V | None) -> None:
        """A write follows; `before` is the table's present version (None = no item)."""
        held = self._held.setdefault(key, [])
        until = self._lag.now() + self._lag.draw()
        held.append((max(until, held[-1][0]) if held else until, before))

    def shown(self) -> dict[K, V | None]:
        """The keys whose newest version is not visible yet, with the visible one."""
        now = self._lag.now()
        for key, held in list(self._held.items()):
            left = [(until, version) for until, version in held if until > now]
            if left and self.is_on:
                self._held[key] = left
            else:
                del self._held[key]
        return {key: held[0][1] for key, held in self._held.items()}
