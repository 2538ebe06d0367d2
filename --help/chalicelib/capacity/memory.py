"""The stored state of the host planner, as one item. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.capacity.hosts import Drained, DrainReason, HostPlan, Memory

SAMPLES_SECONDS = 900


@dataclass(frozen=True)
class Remembered:
    """The planner's state, and samples of the number of tasks."""

    memory: Memory = field(default_factory=Memory)
    samples: tuple[tuple[float, int], ...] = ()

    def with_sample(self, now: float, tasks: int) -> "Remembered":
        """Add a sample; those of the last fifteen minutes are kept."""
        kept = tuple(one for one in self.samples if one[0] > now - SAMPLES_SECONDS)
        return replace(self, samples=(*kept, (now, tasks)))

    def while_carried_out(self, plan: HostPlan) -> "Remembered":
        """The state to write before a plan is carried out: all drains, old and new.

        A host whose drain was recorded but not made is active, and the next plan removes the
        record. With the opposite order an unrecorded drain would look like that of another party.
        """
        drained = {**self.memory.drained, **plan.memory.drained}
        return replace(self, memory=replace(plan.memory, drained=drained))

    def after(self, plan: HostPlan) -> "Remembered":
        """The state to write after the plan was carried out."""
        return replace(self, memory=plan.memory)

    def growth(self) -> float:
        """Added tasks per second, from the first and the last sample; may be negative."""
        if len(self.samples) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self.samples[0], self.samples[-1]
        return (last - first) / max(1.0, last_at - first_at)

    def to_json(self) -> str:
        """The text that `from_json` parses."""
        return json.dumps(
            {
                "drained": {
                    host: [one.reason.value, one.at] for host, one in self.memory.drained.items()
                },
                "surplusSince": self.memory.surplus_since,
                "samples": self.samples,
            }
        )


def from_json(text: str | None) -> Remembered:
    """Parse the stored text; empty state if there is none."""
    if text is None:
        return Remembered()
    document: dict[str, Any] = json.loads(text)
    drained = {
        host: Drained(DrainReason(reason), at) for host, (reason, at) in document["drained"].items()
    }
    samples: Sequence[Sequence[float]] = document["samples"]
    return Remembered(
        Memory(drained, document["surplusSince"]),
        tuple((float(at), int(tasks)) for at, tasks in samples),
    )
