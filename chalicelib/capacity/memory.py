"""What the planner of hosts remembers between two plans, as one item. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.capacity.hosts import Drained, DrainReason, HostPlan, Memory

SAMPLES_SECONDS = 900


@dataclass(frozen=True)
class Remembered:
    """The planner's memory, and how many tasks there were at the last plans."""

    memory: Memory = field(default_factory=Memory)
    samples: tuple[tuple[float, int], ...] = ()

    def with_sample(self, now: float, tasks: int) -> "Remembered":
        """One more sample; those of the last fifteen minutes are kept."""
        kept = tuple(one for one in self.samples if one[0] > now - SAMPLES_SECONDS)
        return replace(self, samples=(*kept, (now, tasks)))

    def while_carried_out(self, plan: HostPlan) -> "Remembered":
        """What is written before the plan is carried out: all drains, old and new.

        A host whose drain was written but not made is active, and the next plan forgets that.
        In the other order a drain that is not written here would look like that of another party.
        """
        drained = {**self.memory.drained, **plan.memory.drained}
        return replace(self, memory=replace(plan.memory, drained=drained))

    def after(self, plan: HostPlan) -> "Remembered":
        """What is written when the plan was carried out."""
        return replace(self, memory=plan.memory)

    def growth(self) -> float:
        """Tasks that were added each second, by the first and the last sample; may be negative."""
        if len(self.samples) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self.samples[0], self.samples[-1]
        return (last - first) / max(1.0, last_at - first_at)

    def to_json(self) -> str:
        """What `from_json` reads."""
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
    """Nothing where there is none yet."""
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
