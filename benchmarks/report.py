"""Results: series of values, each beside the floor of the same run. Pure."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

P99_FROM = 50
"""With fewer values the 99th percentile is the largest one, and says nothing."""


@dataclass(frozen=True)
class Series:
    """Values of one kind. `floor` names another series of the same group."""

    group: str
    what: str
    unit: str
    values: tuple[float, ...]
    floor: str | None = None

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def p99(self) -> float | None:
        """The value that 99 of 100 do not exceed; None for too few values."""
        if len(self.values) < P99_FROM:
            return None
        return sorted(self.values)[math.ceil(0.99 * len(self.values)) - 1]


@dataclass
class Report:
    """All series of a run, in the order in which they were added, and what was left out."""

    series: list[Series] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self, group: str, what: str, unit: str, values: Iterable[float], floor: str | None = None
    ) -> None:
        """Add a series; one without values is left out."""
        found = tuple(values)
        if found:
            self.series.append(Series(group, what, unit, found, floor))

    def skip(self, group: str, reason: str) -> None:
        """Say why something was not measured."""
        self.skipped.append((group, reason))

    def ratio(self, series: Series) -> float | None:
        """Its median over the median of its floor."""
        for other in self.series:
            if (other.group, other.what) == (series.group, series.floor) and other.median:
                return series.median / other.median
        return None

    def document(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "series": [
                {
                    "group": series.group,
                    "what": series.what,
                    "unit": series.unit,
                    "n": len(series.values),
                    "median": series.median,
                    "p99": series.p99,
                    "floor": series.floor,
                    "ratio": self.ratio(series),
                    "values": list(series.values),
                }
                for series in self.series
            ],
            "skipped": [{"group": group, "reason": reason} for group, reason in self.skipped],
        }

    def table(self, since: int = 0, skipped_since: int = 0) -> str:
        """A table for people, of the series from number `since` on."""
        rows: list[tuple[str, ...]] = [("", "unit", "n", "median", "p99", "x floor", "floor")]
        lines: list[str] = []
        group = ""
        for series in self.series[since:]:
            if series.group != group:
                group = series.group
                rows.append((group, *[""] * 6))
            rows.append(self._row(series))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        if len(rows) > 1:
            lines = [_line(row, widths) for row in rows]
        lines += [f"{group}: left out, {reason}" for group, reason in self.skipped[skipped_since:]]
        return "\n".join(lines)

    def _row(self, series: Series) -> tuple[str, ...]:
        ratio = self.ratio(series)
        return (
            f"  {series.what}",
            series.unit,
            str(len(series.values)),
            _number(series.median),
            "" if series.p99 is None else _number(series.p99),
            "" if ratio is None else f"{ratio:.2f}",
            "" if ratio is None else str(series.floor),
        )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
    cells += [cell.rjust(width) for cell, width in zip(row[2:6], widths[2:6], strict=True)]
    return "  ".join([*cells, row[6]]).rstrip()


def _number(value: float) -> str:
    if (value == int(value) and abs(value) >= 1) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
