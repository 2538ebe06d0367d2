"""The sweep: compares all records with all tasks and repairs both.

A pass has stages, in order of importance: records that may be overdue; all records with their
tasks; all tasks with their records; the counts of waiting tasks. A stage is processed page by page,
so that memory does not grow with the number of records. When an invocation's time is over, the next
one continues at the page that was reached; see `sweep_state`.

A page is processed independently of others: a record's task is read by its ARN, and a task's record
by its id, in their present states. Every action is conditional and idempotent, so changes during a
pass do no harm. A failed action does not stop the others.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.ecs.launcher import Launcher
from chalicelib.errors import UsherError
from chalicelib.metrics import Metrics
from chalicelib.tasks.kinds import Kind, Step
from chalicelib.tasks.pages import Pages
from chalicelib.tasks.sweep_state import (
    Position,
    SweepState,
    SweepStates,
    Tally,
    begun,
    finished_of,
    moved,
)
from chalicelib.tasks.trend import point_of, with_point

SAVE_SECONDS = 5.0
"""Interval between writes of the position; it is also written when the sweep ends."""
TRIES = 2
"""If this many invocations died at one position, positions are written exactly, and the page is
skipped."""
FEW_RECORDS = 1_000
"""With fewer records than this a pass takes seconds, and the stage of overdue ones is omitted. The
number is known from the last complete pass; without one that stage is first."""
FORGOTTEN_SECONDS = 3_600
"""A pass that began longer ago than this is not continued: its figures are too old."""

R = TypeVar("R")

_log = logging.getLogger("usher.sweep")


class OvertakenError(Exception):
    """Another sweep has continued from this position."""


class Clock:
    """The remaining time of an invocation, and its use."""

    def __init__(self, remaining: Callable[[], float]) -> None:
        """`remaining` returns the seconds until the function is killed."""
        self._remaining = remaining
        budget = remaining()
        self._pages, self._steps = min(35.0, budget / 3), min(20.0, budget / 5)
        self._closing = min(5.0, budget / 12)

    @property
    def begins_pages(self) -> bool:
        """Whether there is time for another page."""
        return self._remaining() > self._pages

    @property
    def takes_steps(self) -> bool:
        """Whether there is time for another action of a page."""
        return self._remaining() > self._steps

    @property
    def closes(self) -> bool:
        """Whether there is time for another final step."""
        return self._remaining() > self._closing


class Sweep:
    """Compares records with tasks and repairs both."""

    def __init__(
        self,
        launcher: Launcher,
        kinds: Sequence[Kind[Any]],
        *,
        states: SweepStates,
        metrics: Metrics,
        now: Callable[[], float],
        few_records: int = FEW_RECORDS,
    ) -> None:
        """`few_records`: see FEW_RECORDS; compared with the count of the last pass."""
        self.launcher = launcher
        self.kinds = {kind.name: kind for kind in kinds}
        self.states = states
        self.metrics = metrics
        self.now = now
        self.few_records = few_records
        self.stages = list(_stages(kinds))

    def run(self, remaining: Callable[[], float] = lambda: float("inf")) -> dict[str, int]:
        """Sweep until a pass is complete or the time is over.

        `remaining` returns the seconds until the function is killed. Returns the number of actions
        of each kind, including `failed`; only `busy` if another sweep is running.
        """
        return _Run(self, Clock(remaining)).run()


class _Run:
    """One invocation."""

    def __init__(self, sweep: Sweep, clock: Clock) -> None:
        self._s = sweep
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._is_saved = True
        self._saved_at = sweep.now()
        self._state = SweepState()
        self._is_continued = False
        self._pages = Pages(sweep.launcher, sweep.kinds, self._take_steps, self._failed, sweep.now)
        self._was_cut = False
        """A page was left before its last action."""

    def run(self) -> dict[str, int]:
        if not self._take():
            return {"busy": 1}
        finished = None
        try:
            finished = self._passes()
            self._state = replace(self._state, tries=0)
            self._save(release=True)
        except OvertakenError:
            _log.warning("sweep: another one has gone on")
        for kind in self._s.kinds.values():
            for name, step in kind.closing_steps(finished):
                if self._clock.closes:
                    self._attempt(name, step)
        last = self._state.begun_at if self._state.finished is None else self._state.finished.at
        self._s.metrics.gauge("sweep_pass_age_seconds", round(self._s.now() - last, 3))
        for name, amount in self._counts.items():
            self._s.metrics.count("sweep_actions", amount, action=name)
        if self._counts:
            _log.info("sweep: %s", dict(self._counts))
        return dict(self._counts)

    def _take(self) -> bool:
        """Whether this sweep may run. It runs also if its state cannot be read or written."""
        try:
            state = self._s.states.take(self._prepared)
        except (BotoCoreError, ClientError, UsherError):
            _log.exception("sweep: its state is not to be had, so it begins anew")
            self._failed()
            self._is_saved = False
            state = self._prepared(SweepState())
        if state is None:
            return False
        self._state = state
        return True

    def _prepared(self, state: SweepState) -> SweepState:
        """The pass to continue, or a new one."""
        age = self._s.now() - state.begun_at
        self._is_continued = state.stage in self._s.stages and 0 <= age <= FORGOTTEN_SECONDS
        return replace(state, tries=state.tries + 1) if self._is_continued else self._begun(state)

    def _begun(self, state: SweepState) -> SweepState:
        few = state.finished is not None and state.finished.records <= self._s.few_records
        first = next(s for s in self._s.stages if not (few and s.startswith("overdue/")))
        return begun(state, first, self._s.now())

    def _passes(self) -> SweepState | None:
        """Complete the continued pass and a new one, while there is time.

        Returns the state of the pass that this invocation both began and completed.
        """
        if not self._pass():
            return None
        whole = self._finish()
        if not self._is_continued or whole.skipped:
            return None if self._is_continued else whole
        self._save()
        self._state = self._begun(self._state)
        return self._finish() if self._pass() else None

    def _pass(self) -> bool:
        """Process all stages from the present position; False if the time was over."""
        while self._state.stage is not None:
            if not self._clock.begins_pages:
                return False
            self._one_page()
            if self._was_cut:
                return False
            if self._now_and_then():
                self._save()
        return True

    def _one_page(self) -> None:
        stage, tries = str(self._state.stage), self._state.tries
        tally = Tally()
        following = self._following(stage)
        if tries > TRIES + 1:  # reading this page kills the function
            self._move((following, None), Tally(), skipped=True)
            return
        try:
            after = self._pages.process(stage, self._state.after, tally, acts=tries <= TRIES)
        except OvertakenError:
            raise
        except Exception:  # noqa: BLE001 - stages are independent as well
            _log.exception("sweep: %s cannot be looked through", stage)
            self._failed()
            self._move((following, None), Tally(), skipped=True)
            return
        if self._was_cut:  # actions were taken, so the position makes progress
            self._state = replace(self._state, tries=0)
            return
        position = (stage, after) if after is not None else (following, None)
        self._move(position, tally, skipped=tries > TRIES)

    def _move(self, position: Position, tally: Tally, *, skipped: bool) -> None:
        careful = self._state.tries >= TRIES
        if skipped:
            _log.error("sweep: skipped %s %s", self._state.stage, self._state.after)
        state = moved(self._state, position, tally)
        more = 1 if skipped else 0
        self._state = replace(state, skipped=state.skipped + more, tries=TRIES if careful else 0)

    def _following(self, stage: str) -> str | None:
        place = self._s.stages.index(stage) + 1
        return self._s.stages[place] if place < len(self._s.stages) else None

    def _finish(self) -> SweepState:
        """Complete the pass."""
        whole = self._state
        for kind in self._s.kinds.values():
            kind.unreadable.gauge(whole.counts.get(f"unreadable/{kind.name}", 0))
            kind.report(whole)
        now = self._s.now()
        finished = finished_of(whole, now, self._counts["StopOrphan"])
        trend = with_point(whole.trend, point_of(whole.counts, now))
        self._state = replace(
            whole, stage=None, after=None, tries=0, finished=finished, trend=trend
        )
        metrics = self._s.metrics
        metrics.gauge("sweep_pass_seconds", finished.seconds)
        metrics.gauge("sweep_pass_records", finished.records)
        metrics.gauge("sweep_pass_tasks", finished.tasks)
        metrics.gauge("sweep_pass_skipped", finished.skipped)
        return whole

    # State.

    def _now_and_then(self) -> bool:
        is_careful = self._state.tries >= TRIES
        return is_careful or abs(self._s.now() - self._saved_at) >= SAVE_SECONDS

    def _save(self, *, release: bool = False) -> None:
        """Write the position. Raises OvertakenError; other errors only lose the position."""
        if not self._is_saved:
            return
        self._saved_at = self._s.now()
        try:
            written = self._s.states.write(self._state, release=release)
        except (BotoCoreError, ClientError, UsherError):
            _log.exception("sweep: its position cannot be written")
            self._counts["failed"] += 1
            self._is_saved = False  # the stored version is unknown
            return
        if written is None:
            self._is_saved = False
            raise OvertakenError
        self._state = written

    # Actions.

    def _failed(self) -> None:
        self._counts["failed"] += 1

    def _take_steps(self, steps: Iterable[Step]) -> None:
        for name, step in steps:
            if not self._clock.takes_steps:
                self._was_cut = True
                return
            self._attempt(name, step)
            if self._now_and_then():
                self._save()

    def _attempt(self, name: str, step: Callable[[], object]) -> None:
        try:
            if step() is not False:
                self._counts[name] += 1
        except Exception:  # noqa: BLE001 - actions are independent, the next sweep tries again
            _log.exception("sweep: %s failed", name)
            self._counts["failed"] += 1


def _stages(kinds: Sequence[Kind[Any]]) -> Iterator[str]:
    for what in ("overdue", "records"):
        for kind in kinds:
            for partition in range(kind.partitions):
                yield f"{what}/{kind.name}/{partition}"
    yield "tasks"
    for kind in kinds:
        if kind.hosts_wanted is not None:
            yield f"counts/{kind.name}"
