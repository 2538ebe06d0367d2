"""Several ways to an open websocket, measured in turn: one at a time, and many at once."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.run import Run


@dataclass
class Trip:
    """One user's way. `marks` are seconds since it began, by what was reached."""

    began: float = field(default_factory=time.perf_counter)
    marks: dict[str, float] = field(default_factory=dict)
    undo: list[Callable[[], None]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    """Set when it ends, whether it has arrived or not."""

    def reached(self, what: str) -> None:
        """Note the time."""
        self.marks[what] = time.perf_counter() - self.began

    def end(self) -> None:
        """Leave, and take away what was started."""
        self.over.set()
        while self.undo:
            self.undo.pop()()


class Contestant(Protocol):
    """One way to an open websocket."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def floor(self) -> str | None:
        """Name of the contestant to compare with."""

    def go(self, trip: Trip) -> None:
        """Go until a websocket is open. Register started processes in `trip.undo` at once."""

    def go_on(self, trip: Trip) -> None:
        """The measurements after that, for sequential users."""

    def settle(self) -> None:
        """Return when nothing of the last trips is at work any more."""


def race_one_by_one(run: Run, group: str, contestants: Sequence[Contestant], rounds: int) -> None:
    """All in turn, after one round that does not count."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        run.say(f"{group}: one at a time, {number} of {rounds}")
        for contestant in contestants:
            trip = Trip()
            try:
                contestant.go(trip)
                contestant.go_on(trip)
            finally:
                trip.end()
            contestant.settle()
            for what, seconds in trip.marks.items() if number else ():
                values[contestant.name, what].append(seconds * 1000)
    floors = {contestant.name: contestant.floor for contestant in contestants}
    for (name, what), found in values.items():
        other = floors[name]
        floor = f"{other}: open" if other and what == "address" else other and f"{other}: {what}"
        run.report.add(group, f"{name}: {what}", "ms", found, floor)


def race_at_once(
    run: Run, group: str, contestants: Sequence[Contestant], rounds: int, users: int
) -> None:
    """All contestants in turn; with each, `users` users begin at the same moment."""
    last: dict[str, list[float]] = defaultdict(list)
    each: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        run.say(f"{group}: {users} at once, {number + 1} of {rounds}")
        for contestant in contestants:
            opened = _together(contestant, users)
            contestant.settle()
            last[contestant.name].append(max(opened) * 1000)
            each[contestant.name] += [seconds * 1000 for seconds in opened]
    for contestant in contestants:
        for values, what in ((last, f"last of {users} open"), (each, f"each of {users} open")):
            floor = contestant.floor and f"{contestant.floor}: {what}"
            found = values[contestant.name]
            run.report.add(group, f"{contestant.name}: {what}", "ms", found, floor)


def _together(contestant: Contestant, users: int) -> list[float]:
    """For each user the seconds from the common start until the websocket was open."""
    starts = threading.Barrier(users)
    trips: list[Trip] = []

    def go() -> float:
        starts.wait()
        trip = Trip()
        trips.append(trip)
        contestant.go(trip)
        return trip.marks["open"]

    with ThreadPoolExecutor(users) as threads:
        going = [threads.submit(go) for _ in range(users)]
        try:
            return [one.result() for one in going]
        finally:
            for trip in trips:
                trip.over.set()
            list(threads.map(Trip.end, trips))
