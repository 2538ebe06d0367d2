"""Draws the weeks as an SVG: bars for the sales, a line for the median. Pure."""

from collections.abc import Sequence
from html import escape

from jobs._market import Row

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 64, 36, 44
BARS, LINE, WORDS, GRID = "#c9d7e8", "#0b5394", "#333333", "#dddddd"
STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10)
GRID_LINES = 4


def draw_weeks(rows: Sequence[Row], title: str) -> str:
    """The plot as a document of its own; a week without a median leaves a gap in the line."""
    chart = _Chart(rows)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="sans-serif" font-size="11" fill="{WORDS}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
            *chart.grid(),
            *chart.bars(),
            *chart.line(),
            *chart.days(),
            "</svg>",
        ]
    )


def nice_step(most: float, lines: int = GRID_LINES) -> float:
    """A round number, of which at most `lines` make up `most`."""
    least = most / lines
    power = 1.0
    while power * 10 <= least:
        power *= 10
    return next(step * power for step in STEPS if step * power >= least)


class _Chart:
    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._step = nice_step(max((row.median or 0 for row in rows), default=0) or 1)
        self._most_sales = max((row.sales for row in rows), default=0) or 1
        self._slot = (WIDTH - LEFT - RIGHT) / max(1, len(rows))

    def _x(self, index: int) -> float:
        return LEFT + (index + 0.5) * self._slot

    def _y(self, share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> list[str]:
        parts = []
        for count in range(GRID_LINES + 1):
            y = self._y(count / GRID_LINES)
            price = count * self._step
            words = f"{price / 1_000_000:g} M" if price >= 1_000_000 else f"{price / 1_000:g} k"
            parts += [
                f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>',
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>',
            ]
        sales = f"{self._most_sales} sales"
        x, y = WIDTH - RIGHT + 4, self._y(0.6)
        return [*parts, f'<text x="{x}" y="{y + 4:.1f}" fill="#7a93b0">{sales}</text>']

    def bars(self) -> list[str]:
        parts = []
        for index, row in enumerate(self._rows):
            height = 0.6 * row.sales / self._most_sales  # the line keeps the upper part to itself
            top, width = self._y(height), self._slot * 0.7
            parts.append(
                f'<rect x="{self._x(index) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{self._y(0) - top:.1f}" fill="{BARS}"/>'
            )
        return parts

    def line(self) -> list[str]:
        path, parts, goes_on = "", [], False
        for index, row in enumerate(self._rows):
            if row.median is None:
                goes_on = False
                continue
            x, y = self._x(index), self._y(row.median / (self._step * GRID_LINES))
            path += f"{'L' if goes_on else 'M'}{x:.1f} {y:.1f}"
            goes_on = True
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{LINE}"/>')
        return [f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="2"/>', *parts]

    def days(self) -> list[str]:
        every = max(1, -(-len(self._rows) // 8))
        return [
            f'<text x="{self._x(index):.1f}" y="{HEIGHT - 22}" text-anchor="middle">'
            f"{escape(row.name)}</text>"
            for index, row in enumerate(self._rows)
            if index % every == 0
        ]
