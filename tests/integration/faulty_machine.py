"""A state machine whose rules inject faults into a laboratory."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule


class FaultyMachine(RuleBasedStateMachine):
    """Subclasses set `lab`, a laboratory of sessions or jobs."""

    lab: Any

    @rule(
        seed=st.integers(0, 99),
        drop=st.sampled_from([0, 0.5, 1]),
        twice=st.sampled_from([0, 0.5]),
        late=st.sampled_from([0, 0.5]),
        overtaken=st.sampled_from([0, 0.5]),
        lost=st.sampled_from([0, 0.2]),
    )
    def switches(
        self, seed: int, drop: float, twice: float, late: float, overtaken: float, lost: float
    ) -> None:
        self.lab.faults.set(
            {
                "seed": seed,
                "drop_events": drop,
                "duplicate_events": twice,
                "late_events": {"probability": late, "seconds": 40},
                "reorder_events": overtaken,
                "calls": {"*": {"lose_reply": {"probability": lost}}},
            }
        )

    @rule()
    def all_is_well_again(self) -> None:
        self.lab.faults.set({})
