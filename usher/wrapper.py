"""The main process of a job's container: request the start permit, start the job's program,
supervise, report.

`python -m usher.entry` runs it for a dispatcher, `usher run` for a developer; the job is treated
equally.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chalicelib.contract.jobs import EXIT_NOT_RUN, Outcome
from usher.dispatcher import Coordinator, NotPermittedError
from usher.ending import EXIT_KILLED, decide_ending
from usher.log import say
from usher.output_relay import OutputRelay
from usher.processes import adopt_orphans
from usher.program import become_the_child, child_order
from usher.protocol import Ending, Limits, StartPermit, Usage, farewell
from usher.reporter import Reporter
from usher.signals import Signals, StopAskedError, hold, release
from usher.supervisor import RunLimits, Supervisor

LAST_PROGRESS_SECONDS = 1.0
LEAST_SECONDS = 1.0
"""Minimum time for reporting the end, even if it is late."""
NOTHING = Usage(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Place:
    """The directory, limits and preparation of a run."""

    project: Path
    memory_mib: int | None = None
    """Set if no container limits its memory."""
    prepare: Callable[[], None] | None = None
    """Called in the forked child, before it becomes the job's program."""


def run_job(announcement: str, coordinator: Coordinator, place: Place, limits: Limits) -> int:
    """Run one job; returns the code with which the process must exit at once.

    It forks, and the child executes another program immediately: the memory of this process, such
    as the invocation's key, is not in the job's. No thread may run.
    """
    signals = Signals()
    say(announcement)
    permit = _request_permit(coordinator, signals)
    if permit is None:
        return EXIT_NOT_RUN
    if signals.times_asked:
        ending = Ending(Outcome.KILLED, EXIT_KILLED, "it was told to stop before it began")
        return _end(coordinator, ending, NOTHING, _patience(signals, limits))
    return _fork_and_watch(permit, coordinator, place, limits, signals)


def _request_permit(coordinator: Coordinator, signals: Signals) -> StartPermit | None:
    """The start permit; None if nothing may run, which is logged."""
    permit = None
    try:
        signals.raise_from_now()
        permit = coordinator.request_permit()
        signals.raise_no_more()
    except NotPermittedError as error:
        signals.raise_no_more()
        say(f"usher: not run: {error}")
    except StopAskedError:
        signals.raise_no_more()
        if permit is None:
            say("usher: not run: told to stop before the start permit was given")
    return permit


def _fork_and_watch(
    permit: StartPermit, coordinator: Coordinator, place: Place, limits: Limits, signals: Signals
) -> int:
    adopt_orphans()
    read, write = os.pipe()
    order = child_order(permit.job, permit.parameters, place.project)
    output = OutputRelay()
    hold()
    pid = os.fork()
    if pid == 0:
        prepare = () if place.prepare is None else (place.prepare,)
        become_the_child(order, write, (output.take_streams, *prepare))
    output.start()
    os.close(order)
    with suppress(OSError):  # the child does it too, to avoid a race
        os.setpgid(pid, pid)
    os.close(write)
    release()
    run_limits = RunLimits(permit.timeout_seconds, limits.grace_seconds, place.memory_mib)
    reporter = Reporter(coordinator.tell_progress, limits.progress_seconds)
    seen, usage = Supervisor(pid, read, signals, run_limits, reporter.add).watch()
    output.finish(min(limits.output_seconds, _patience(signals, limits) / 2))
    reporter.close(LAST_PROGRESS_SECONDS)
    return _end(coordinator, decide_ending(seen), usage, _patience(signals, limits))


def _patience(signals: Signals, limits: Limits) -> float:
    """Time for reporting the end: not longer than the sender of the stop signal waits."""
    if signals.asked_at is None:
        return limits.finish_seconds
    left = signals.asked_at + limits.stop_seconds - time.monotonic()
    return min(limits.finish_seconds, max(LEAST_SECONDS, left))


def _end(coordinator: Coordinator, ending: Ending, usage: Usage, seconds: float) -> int:
    if ending.detail:
        say(f"usher: {ending.detail}")
    coordinator.tell_end(ending, usage, seconds)
    say(farewell(ending, usage))
    return ending.exit_code
