"""Switches that inject faults of AWS into the embedded cloud.

Set over HTTP (`PUT /_local/faults`) or in the process; the document has these keys, all optional:

    seed                integer; the same seed and the same order of calls give the same faults
    duplicate_events    probability that an event is delivered twice
    drop_events         probability that an event is never delivered
    late_events         {"probability": p, "seconds": s}: delivered s seconds late
    reorder_events      probability that an event is overtaken by those that follow it
    calls               {"service.Action": {"fail_before" | "lose_reply" | "delay": {...}}}

`service` is boto3's name of the service, `*` matches any part of "service.Action". Each fault of a
call has `probability` (1), `skip` (number of calls that are spared first, 0) and `times` (maximum
number of calls that are hit, all); `fail_before` also `error` and `status`, `delay` also `seconds`.
`fail_before` answers with the error and does nothing, `lose_reply` executes the call and then
closes the connection, `delay` waits before the call.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

DUPLICATE_WITHIN_SECONDS = 0.5
"""The second copy of an event is delivered at most this much later."""

OVERTAKEN_SECONDS = (0.05, 0.4)
"""Delay of an event that later ones are to overtake."""


class FaultError(ValueError):
    """The document of switches is not valid."""


class Kind(StrEnum):
    """The effect of a fault on a call."""

    FAIL_BEFORE = "fail_before"
    LOSE_REPLY = "lose_reply"
    DELAY = "delay"


@dataclass(frozen=True)
class CallFault:
    """One fault of the calls that match `pattern`."""

    pattern: str
    kind: Kind
    probability: float = 1.0
    skip: int = 0
    times: int | None = None
    error: str = "InternalServerError"
    status: int = 500
    seconds: float = 1.0


@dataclass(frozen=True)
class EventFaults:
    """Faults of events on their way to the functions; all values except seconds are
    probabilities.
    """

    duplicate: float = 0.0
    drop: float = 0.0
    late: float = 0.0
    late_seconds: float = 1.0
    reorder: float = 0.0


@dataclass(frozen=True)
class Switches:
    """A valid document."""

    seed: int = 0
    events: EventFaults = EventFaults()
    calls: tuple[CallFault, ...] = ()


_FIELDS = {
    Kind.FAIL_BEFORE: {"probability", "skip", "times", "error", "status"},
    Kind.LOSE_REPLY: {"probability", "skip", "times"},
    Kind.DELAY: {"probability", "skip", "times", "seconds"},
}
_KEYS = {"seed", "duplicate_events", "drop_events", "late_events", "reorder_events", "calls"}


def parse_switches(document: Mapping[str, Any]) -> Switches:
    """Check the document. Raises FaultError."""
    unknown = set(document) - _KEYS
    if unknown:
        raise FaultError(f"unknown: {', '.join(sorted(unknown))}")
    late = document.get("late_events", {})
    if isinstance(late, int | float):
        late = {"probability": late}
    if not isinstance(late, Mapping) or set(late) - {"probability", "seconds"}:
        raise FaultError("late_events: a probability, or {probability, seconds}")
    events = EventFaults(
        duplicate=_probability(document, "duplicate_events"),
        drop=_probability(document, "drop_events"),
        late=_probability(late, "probability", default=1.0 if "seconds" in late else 0.0),
        late_seconds=_number(late, "seconds", 1.0),
        reorder=_probability(document, "reorder_events"),
    )
    calls = document.get("calls", {})
    if not isinstance(calls, Mapping):
        raise FaultError("calls: an object of service.Action to faults")
    faults = [_call_fault(p, k, v) for p, kinds in calls.items() for k, v in _kinds(p, kinds)]
    return Switches(int(_number(document, "seed", 0)), events, tuple(faults))


def _kinds(pattern: str, kinds: Any) -> list[tuple[Kind, Mapping[str, Any]]]:
    if "." not in pattern and pattern != "*":
        raise FaultError(f"calls.{pattern}: not service.Action")
    if not isinstance(kinds, Mapping) or not set(kinds) <= set(Kind):
        raise FaultError(f"calls.{pattern}: one of {', '.join(Kind)}")
    return [(Kind(kind), settings) for kind, settings in kinds.items()]


def _call_fault(pattern: str, kind: Kind, settings: Any) -> CallFault:
    where = f"calls.{pattern}.{kind}"
    if not isinstance(settings, Mapping) or set(settings) - _FIELDS[kind]:
        raise FaultError(f"{where}: an object of {', '.join(sorted(_FIELDS[kind]))}")
    times = settings.get("times")
    if times is not None:
        times = int(_number(settings, "times", 0))
    return CallFault(
        pattern=pattern,
        kind=kind,
        probability=_probability(settings, "probability", default=1.0),
        skip=int(_number(settings, "skip", 0)),
        times=times,
        error=str(settings.get("error", "InternalServerError")),
        status=int(_number(settings, "status", 500 if "error" not in settings else 400)),
        seconds=_number(settings, "seconds", 1.0),
    )


def _number(source: Mapping[str, Any], key: str, default: float) -> float:
    value = source.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise FaultError(f"{key}: a number that is not negative")
    return value


def _probability(source: Mapping[str, Any], key: str, default: float = 0.0) -> float:
    value = _number(source, key, default)
    if value > 1:
        raise FaultError(f"{key}: a probability, from 0 to 1")
    return value


class Faults:
    """The switches in force, their dice, and a count of all that they did. Thread-safe."""

    def __init__(self, switches: Switches | None = None) -> None:
        self._lock = Lock()
        self._document: Mapping[str, Any] = {}
        self._injected: Counter[str] = Counter()
        self._apply(switches or Switches())

    def set(self, document: Mapping[str, Any]) -> None:
        """Put these switches in the place of all others. Raises FaultError and changes nothing."""
        switches = parse_switches(document)
        with self._lock:
            self._document = dict(document)
            self._apply(switches)

    def _apply(self, switches: Switches) -> None:
        self._switches = switches
        self._dice = random.Random(switches.seed)
        self._seen: Counter[CallFault] = Counter()
        self._hit: Counter[CallFault] = Counter()

    @property
    def document(self) -> Mapping[str, Any]:
        """The document that was set last."""
        return self._document

    @property
    def injected(self) -> dict[str, int]:
        """Number of times that each fault happened."""
        with self._lock:
            return dict(self._injected)

    def for_call(self, call: str) -> tuple[CallFault, ...]:
        """The faults that hit this call ("service.Action"), each counted."""
        if not self._switches.calls:
            return ()
        with self._lock:
            hits = [f for f in self._switches.calls if fnmatchcase(call, f.pattern)]
            hits = [f for f in hits if self._hits(f)]
            self._injected.update(f"{call} {fault.kind}" for fault in hits)
        return tuple(hits)

    def _hits(self, fault: CallFault) -> bool:
        self._seen[fault] += 1
        if self._seen[fault] <= fault.skip:
            return False
        if fault.times is not None and self._hit[fault] >= fault.times:
            return False
        if fault.probability < 1 and self._dice.random() >= fault.probability:
            return False
        self._hit[fault] += 1
        return True

    def deliveries(self) -> tuple[float, ...]:
        """When the copies of one event are delivered, in seconds from now; none = dropped."""
        events = self._switches.events
        if events == EventFaults():
            return (0.0,)
        with self._lock:
            if self._happens(events.drop, "drop_events"):
                return ()
            delay = 0.0
            if self._happens(events.late, "late_events"):
                delay += events.late_seconds
            if self._happens(events.reorder, "reorder_events"):
                delay += self._dice.uniform(*OVERTAKEN_SECONDS)
            if self._happens(events.duplicate, "duplicate_events"):
                return (delay, delay + self._dice.uniform(0, DUPLICATE_WITHIN_SECONDS))
            return (delay,)

    def _happens(self, probability: float, name: str) -> bool:
        happens = probability > 0 and self._dice.random() < probability
        if happens:
            self._injected[name] += 1
        return happens
