"""What a list of property records says about a market, and what it does not. Pure.

Records are auction results or updates of listings: only those with a status of a sale, a price
and a date are sales. A median is told only where there are enough of them, and it is the median
of what was sold: when dearer houses come up for sale, it rises and no price has.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from statistics import median
from typing import Any

SOLD = frozenset({"sold", "sold prior", "sold after auction"})
UNSOLD = frozenset({"passed in", "vendor bid"})
"""Auctions without a sale: what they say as price is a bid."""
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Sale:
    """One sale."""

    week: date
    """The Monday of its week."""
    suburb: str
    kind: str
    price: float


@dataclass
class Market:
    """What was read. `left_out` counts the records that say nothing here, by why."""

    sales: list[Sale] = field(default_factory=list)
    unsold: Counter[date] = field(default_factory=Counter)
    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, record: Mapping[str, Any] | None, kinds: frozenset[str]) -> None:
        """Take in one record; None is one that cannot be read."""
        self.read += 1
        reason = "not a JSON object" if record is None else self._take(record, kinds)
        if reason:
            self.left_out[reason] += 1

    def _take(self, record: Mapping[str, Any], kinds: frozenset[str]) -> str:
        """Returns why it is left out; empty if it is not."""
        if kinds and record.get("type") not in kinds:
            return "of another type"
        day = _day(record.get("date"))
        if day is None:
            return "without a date"
        week = day - timedelta(days=day.weekday())
        if record.get("status") in UNSOLD:
            self.unsold[week] += 1
            return ""
        if record.get("status") not in SOLD:
            return "neither sold nor passed in"
        price = record.get("price")
        if isinstance(price, bool) or not isinstance(price, int | float) or price <= 0:
            return "sold without a price"
        sale = Sale(week, str(record.get("suburb")), str(record.get("type")), float(price))
        self.sales.append(sale)
        return ""

    def last_week(self, until: date | None) -> date | None:
        """The Monday of the last week with a sale, not after `until`; None when there is none."""
        weeks = {sale.week for sale in self.sales if until is None or sale.week <= until}
        return max(weeks, default=None)


def _day(text: Any) -> date | None:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Row:
    """Sales of one group in one span of time."""

    name: str
    sales: int
    median: float | None
    change: float | None
    """Of the median: 0.05 = 5 % more."""
    against: str | None
    """What it is compared with: the span that begins on this day."""
    cleared: float | None = None
    """Sold, as a share of all results."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the result."""
        return {
            "name": self.name,
            "sales": self.sales,
            "medianPrice": self.median,
            "change": self.change,
            "against": self.against,
            "cleared": self.cleared,
        }


def by_week(market: Market, last: date, weeks: int, enough: int) -> list[Row]:
    """The weeks up to `last` that have results; each compared with the one before that has."""
    prices: dict[date, list[float]] = defaultdict(list)
    for sale in market.sales:
        prices[sale.week].append(sale.price)
    first = last - (weeks - 1) * WEEK
    known = sorted(week for week in prices if week <= last)
    rows = []
    for before, week in zip([None, *known], known, strict=False):
        if week >= first:
            earlier = prices[before] if before else []
            row = _row(week.isoformat(), prices[week], earlier, enough, before)
            rows.append(_with_clearance(row, market.unsold[week]))
    return rows


def by_group(market: Market, group: str, last: date, weeks: int, enough: int) -> list[Row]:
    """Rows for each `suburb` or `kind`: the `weeks` up to `last`, compared with as many before.

    The one with the most sales is first.
    """
    first, before = last - (weeks - 1) * WEEK, last - (2 * weeks - 1) * WEEK
    now: dict[str, list[float]] = defaultdict(list)
    earlier: dict[str, list[float]] = defaultdict(list)
    for sale in market.sales:
        if first <= sale.week <= last:
            now[getattr(sale, group)].append(sale.price)
        elif before <= sale.week < first:
            earlier[getattr(sale, group)].append(sale.price)
    rows = [_row(name, prices, earlier[name], enough, before) for name, prices in now.items()]
    return sorted(rows, key=lambda row: (-row.sales, row.name))


def _row(
    name: str, prices: list[float], earlier: list[float], enough: int, before: date | None
) -> Row:
    now, then = _median(prices, enough), _median(earlier, enough)
    if now is None or then is None or before is None:
        return Row(name, len(prices), now, None, None)
    return Row(name, len(prices), now, round(now / then - 1, 4), before.isoformat())


def _median(prices: list[float], enough: int) -> float | None:
    return median(prices) if len(prices) >= enough else None


def _with_clearance(row: Row, unsold: int) -> Row:
    if not unsold:
        return row  # a source that does not tell of them would clear 100 %
    return replace(row, cleared=round(row.sales / (row.sales + unsold), 4))


def as_text(title: str, rows: Iterable[Row]) -> list[str]:
    """A table for people: a Markdown one."""
    lines = [f"| {title} | sales | median | change | cleared |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        middle = "" if row.median is None else f"{row.median:,.0f}"
        change = "" if row.change is None else f"{row.change:+.1%}"
        cleared = "" if row.cleared is None else f"{row.cleared:.0%}"
        lines.append(f"| {row.name} | {row.sales} | {middle} | {change} | {cleared} |")
    return lines
