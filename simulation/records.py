"""The result of each visitor."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Visit:
    """One visitor. Instants are seconds since 1970."""

    arrived_at: float
    owner: str
    address_at: float | None = None
    is_warm: bool = False
    outcome: str = "waiting"
    session_id: str = ""
    was_cut: bool = False
    """Its container ended while it was connected."""
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def waited(self) -> float | None:
        """Seconds until it had an address."""
        return None if self.address_at is None else self.address_at - self.arrived_at


@dataclass
class Visits:
    """All visitors."""

    all: list[Visit] = field(default_factory=list)

    def add(self, visit: Visit) -> None:
        """One more."""
        self.all.append(visit)

    def outcomes(self) -> dict[str, int]:
        """The number of visitors with each outcome."""
        return dict(sorted(Counter(visit.outcome for visit in self.all).items()))

    def refusals(self) -> dict[str, int]:
        """Answers that sent a visitor away for a moment, by their code."""
        found: Counter[str] = Counter()
        for visit in self.all:
            found.update(visit.refusals)
        return dict(sorted(found.items()))
