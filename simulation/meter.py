"""Counts what happens in a simulation: totals, the fullest second, and a total for each minute."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

MINUTE = 60


class Meter:
    """Counts by name. Amounts are whole sessions: one simulated session counts as `batch`."""

    def __init__(self, now: Callable[[], float], batch: int) -> None:
        self._now = now
        self.batch = batch
        self._second: dict[str, tuple[int, float]] = {}
        self.totals: defaultdict[str, float] = defaultdict(float)
        self.peaks: defaultdict[str, float] = defaultdict(float)
        """The fullest second of what is counted; the highest level of what is a level."""
        self.minutes: defaultdict[str, defaultdict[int, float]] = defaultdict(
            lambda: defaultdict(float)
        )

    def add(self, name: str, amount: float = 1) -> None:
        """So much happened now."""
        amount *= self.batch
        now = self._now()
        second, counted = self._second.get(name, (-1, 0.0))
        counted = counted + amount if second == int(now) else amount
        self._second[name] = int(now), counted
        self.totals[name] += amount
        self.peaks[name] = max(self.peaks[name], counted)
        self.minutes[name][int(now) // MINUTE] += amount

    def level(self, name: str, value: float) -> None:
        """So many simulated sessions, or what is counted like them, there are now."""
        self.exact_level(name, value * self.batch)

    def exact_level(self, name: str, value: float) -> None:
        """Something stands at this now, whatever a simulated session stands for."""
        self.peaks[name] = max(self.peaks[name], value)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that such a share does not exceed; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
