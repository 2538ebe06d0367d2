"""Verdicts, the one that counts of several, and the verdict of a run's end. Pure."""

from collections.abc import Iterable
from enum import Enum
from signal import Signals

from usher.box.model import BoxSettings, Limit, Outcome


class Verdict(Enum):
    """The verdict of a case or a grading, in order of precedence."""

    IE = "IE"
    CE = "CE"
    TLE = "TLE"
    MLE = "MLE"
    OLE = "OLE"
    RTE = "RTE"
    PE = "PE"
    WA = "WA"
    SK = "SK"
    AC = "AC"

    @property
    def meaning(self) -> str:
        """The description for display."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Verdict.IE: "the grader failed",
    Verdict.CE: "does not compile",
    Verdict.TLE: "time limit exceeded",
    Verdict.MLE: "memory limit exceeded",
    Verdict.OLE: "too much output",
    Verdict.RTE: "ended with an error",
    Verdict.PE: "output in the wrong format",
    Verdict.WA: "wrong answer",
    Verdict.SK: "skipped",
    Verdict.AC: "right",
}
_GRAVITY = list(Verdict)
_OF_LIMIT = {
    Limit.CPU: Verdict.TLE,
    Limit.WALL: Verdict.TLE,
    Limit.MEMORY: Verdict.MLE,
    Limit.OUTPUT: Verdict.OLE,
}


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """The one with the highest precedence; AC without any."""
    return min(verdicts, key=_GRAVITY.index, default=Verdict.AC)


def verdict_of_run(outcome: Outcome) -> Verdict | None:
    """The verdict of a run's end alone; None if its output must be checked."""
    if outcome.limit is not None:
        return _OF_LIMIT[outcome.limit]
    return None if outcome.exit_code == 0 else Verdict.RTE


def explain_run(outcome: Outcome, settings: BoxSettings) -> str:
    """One sentence about a run for which `verdict_of_run` has a verdict."""
    match outcome.limit:
        case Limit.CPU:
            return f"used more than {settings.cpu_seconds:g} s of processor time"
        case Limit.WALL:
            return f"was not done after {settings.wall_seconds:g} s"
        case Limit.MEMORY:
            return f"used more than {settings.memory_mib} MiB of memory"
        case Limit.OUTPUT:
            return f"printed more than {(settings.output_bytes or 0) // 1024} KiB"
    if outcome.signal is not None:
        return f"was ended by {_signal_name(outcome.signal)}"
    return f"ended with exit code {outcome.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"
