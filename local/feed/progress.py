"""Progress messages of `feed`."""

import time
from dataclasses import dataclass, field
from typing import TextIO

from local.feed.entries import BadLine

EVERY_SECONDS_ON_TERMINAL = 0.1
EVERY_SECONDS_IN_LOG = 5.0
MAX_BAD_LINES_PRINTED = 20


@dataclass
class Totals:
    """Totals of feeding; `refused` counts entries that had to be put again."""

    records: int = 0
    data_bytes: int = 0
    refused: int = 0
    seconds: float = 0.0
    bad: list[BadLine] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Records a second since the start."""
        return self.records / self.seconds if self.seconds > 0 else 0.0


class Progress:
    """A line that is rewritten on a terminal, and a new line now and then in a log."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._every = EVERY_SECONDS_ON_TERMINAL if self._terminal else EVERY_SECONDS_IN_LOG
        self._printed_at = time.monotonic()
        self._open_line = False

    def show(self, totals: Totals) -> None:
        """Report the progress, unless it was reported within the last period."""
        if time.monotonic() - self._printed_at < self._every:
            return
        self._printed_at = time.monotonic()
        text = f"{totals.records:,} records, {totals.rate:,.0f} a second"
        if totals.refused:
            text += f", {totals.refused:,} put again"
        if totals.bad:
            text += f", {len(totals.bad):,} bad lines"
        self._out.write(f"\r\x1b[K{text}" if self._terminal else f"feed: {text}\n")
        self._out.flush()
        self._open_line = self._terminal

    def finish(self) -> None:
        """End the terminal's progress line, so that the next message has its own."""
        if self._open_line:
            self._out.write("\r\x1b[K")
            self._open_line = False


def summary(totals: Totals, *, dry_run: bool, stopped: bool) -> list[str]:
    """The final lines: invalid lines with their numbers, then the totals."""
    lines = [f"feed: line {bad.number}: {bad.why}" for bad in totals.bad[:MAX_BAD_LINES_PRINTED]]
    if len(totals.bad) > MAX_BAD_LINES_PRINTED:
        lines.append(f"feed: {len(totals.bad) - MAX_BAD_LINES_PRINTED:,} more bad lines")
    verb = "checked" if dry_run else "put"
    text = f"feed: {'stopped, ' if stopped else ''}{verb} {totals.records:,} records"
    text += f" ({totals.data_bytes / 1e6:.1f} MB) in {totals.seconds:.1f} s"
    if totals.records:
        text += f", {totals.rate:,.0f} a second"
    if totals.refused:
        text += f", {totals.refused:,} put again after a refusal"
    if totals.bad:
        text += f", {len(totals.bad):,} bad lines left out"
    return [*lines, text]
