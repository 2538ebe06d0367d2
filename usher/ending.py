"""Decides how a run ended. Pure."""

from dataclasses import dataclass
from enum import Enum
from signal import Signals

from chalicelib.contract.jobs import EXIT_INVALID, EXIT_NOT_RUN, EXIT_TIMED_OUT, Outcome
from usher.child_messages import End
from usher.protocol import Ending

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
"""ECS's text for it."""
EXIT_KILLED = 128 + Signals.SIGTERM
EXIT_OUT_OF_MEMORY = 128 + Signals.SIGKILL


class Stop(Enum):
    """Why the parent ended the run."""

    ASKED = "asked"
    TIME_UP = "time up"
    MEMORY = "memory"


@dataclass(frozen=True)
class Memory:
    """Memory at the end of the run. `limit_mib` None = unknown limit."""

    limit_mib: int | None = None
    killed_by_kernel: bool = False
    near_limit: bool = False


@dataclass(frozen=True)
class Seen:
    """The parent's observations of the child."""

    status: int
    """The exit code, or the negative number of the signal that ended it."""
    end: End | None
    """Its last message."""
    stop: Stop | None
    """Why the parent ended it, if it did."""
    end_came_first: bool
    """Whether `run` had ended before the parent began to stop the process."""
    timeout_seconds: float
    memory: Memory


def decide_ending(seen: Seen) -> Ending:
    """How the run ended. The parent's own action takes precedence over the child's reaction."""
    ended_well_before = seen.status == 0 and seen.end_came_first
    if seen.stop is not None and not ended_well_before:
        return _stopped(seen.stop, seen)
    if seen.status < 0:
        return _ended_by_signal(-seen.status, seen.memory)
    if seen.end is not None and seen.end.outcome is Outcome.INVALID:
        return Ending(Outcome.INVALID, EXIT_INVALID, seen.end.detail)
    if seen.status == 0:
        return _exited_with_0(seen.end)
    detail = (seen.end.detail if seen.end else "") or f"it exited with {seen.status}"
    if seen.status == EXIT_NOT_RUN:
        return Ending(Outcome.FAILED, 1, f"{detail}, which is kept for jobs that were not run")
    return Ending(Outcome.FAILED, seen.status, detail)


def _stopped(stop: Stop, seen: Seen) -> Ending:
    match stop:
        case Stop.ASKED:
            return Ending(Outcome.KILLED, EXIT_KILLED, "it was told to stop by a SIGTERM")
        case Stop.TIME_UP:
            detail = f"it was still running after {seen.timeout_seconds:g} s"
            return Ending(Outcome.TIMED_OUT, EXIT_TIMED_OUT, detail)
        case Stop.MEMORY:
            return _out_of_memory(seen.memory)


def _exited_with_0(end: End | None) -> Ending:
    if end is None or end.outcome is not Outcome.SUCCEEDED:
        # It ended within `run` by sys.exit(0) or os._exit(0).
        return Ending(Outcome.SUCCEEDED, 0, "it exited with 0, without a result")
    return Ending(Outcome.SUCCEEDED, 0, "", end.result)


def _ended_by_signal(number: int, memory: Memory) -> Ending:
    if number == Signals.SIGKILL and (memory.killed_by_kernel or memory.near_limit):
        return _out_of_memory(memory)
    try:
        name = Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return Ending(Outcome.FAILED, 128 + number, f"it was ended by {name}")


def _out_of_memory(memory: Memory) -> Ending:
    limit = "" if memory.limit_mib is None else f" (its limit is {memory.limit_mib} MiB)"
    return Ending(Outcome.FAILED, EXIT_OUT_OF_MEMORY, OUT_OF_MEMORY + limit)
