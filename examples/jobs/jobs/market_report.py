"""The weekly market report."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, Field

from jobs._chart import draw_weeks
from jobs._market import Market, as_text, by_group, by_week
from jobs._records import open_source, records
from usher import Job


class MarketReport(Job):
    """Weekly market report: sales and medians by week, type and suburb, with a plot."""

    cpu = 512
    memory = 256
    timeout_seconds = 600

    class Parameters(BaseModel, extra="forbid"):
        """What to report on."""

        source: str | None = None
        """File or http(s) URL of JSON lines; without one, an invented market."""
        until: date | None = None
        """The report ends with the last week that has sales up to this day."""
        weeks: int = Field(default=12, ge=2, le=60)
        types: list[Literal["house", "unit", "townhouse"]] = []
        """All of them, unless some are named."""
        enough: int = Field(default=5, ge=1)
        """A median of fewer sales says nothing, and is not told."""
        suburbs: int = Field(default=15, ge=0, le=100)
        """How many, those with the most sales."""

    def run(self, parameters: Parameters) -> dict[str, Any]:
        """The result has the tables as rows and as text, and the plot as SVG."""
        market = Market()
        with open_source(parameters.source) as (lines, size):
            kinds = frozenset[str](parameters.types)
            for record in records(lines, size, self.progress):
                market.add(record, kinds)
        last = market.last_week(parameters.until)
        if last is None:
            raise ValueError(f"no sales among {market.read} records: {dict(market.left_out)}")
        report = self._report(market, last, parameters)
        print(report["text"])
        return report

    def _report(self, market: Market, last: date, wanted: Parameters) -> dict[str, Any]:
        weeks = by_week(market, last, wanted.weeks, wanted.enough)
        kinds = by_group(market, "kind", last, wanted.weeks, wanted.enough)
        # Most suburbs have less than one sale a week: only longer spans can be compared.
        suburbs = by_group(market, "suburb", last, wanted.weeks, wanted.enough)[: wanted.suburbs]
        title = f"Median price and sales, {len(weeks)} weeks to that of {last}"
        text = [
            *as_text("week of", weeks),
            "",
            *as_text(f"type, {wanted.weeks} weeks", kinds),
            "",
            *as_text(f"suburb, {wanted.weeks} weeks", suburbs),
        ]
        return {
            "weekOf": last.isoformat(),
            "weeks": [row.to_json() for row in weeks],
            "types": [row.to_json() for row in kinds],
            "suburbs": [row.to_json() for row in suburbs],
            "read": market.read,
            "sales": len(market.sales),
            "leftOut": dict(market.left_out),
            "text": "\n".join(text),
            "svg": draw_weeks(weeks, title),
        }
