"""EventBridge's schedule expressions: `rate(5 minutes)` and `cron(0 9 ? * MON-FRI *)`. Pure.

Cron has six fields (minutes, hours, day of month, month, day of week, year), Sunday is 1, one of
the two days is `?`, and L, W and # mean what the EventBridge user guide says. Times are UTC.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_YEARS_AHEAD = 10


class ExpressionError(ValueError):
    """Not a schedule expression."""


@dataclass(frozen=True)
class Rate:
    """Every `period`, the first time one period after the start."""

    period: timedelta

    def next_after(self, instant: datetime) -> datetime | None:
        """The next time after `instant`, which is when it fired last."""
        return instant + self.period


@dataclass(frozen=True)
class Cron:
    """At the minutes that all six fields allow; `days` and `weekdays` as they were written."""

    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: frozenset[int]
    days: str
    weekdays: str

    def next_after(self, instant: datetime) -> datetime | None:
        """The next minute after `instant` that fits; None if there is none in ten years."""
        start = instant.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for offset in range(366 * _YEARS_AHEAD):
            day = start.date() + timedelta(days=offset)
            if not self._allows(day):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                    if found >= start:
                        return found
        return None

    def _allows(self, day: date) -> bool:
        if day.year not in self.years or day.month not in self.months:
            return False
        if self.days == "?":
            return any(_is_weekday(day, part) for part in self.weekdays.split(","))
        return any(_is_day(day, part) for part in self.days.split(","))


Schedule = Rate | Cron


def parse_schedule(expression: str) -> Schedule:
    """Parse an expression. Raises ExpressionError."""
    match = re.fullmatch(r"(rate|cron)\((.+)\)", expression.strip())
    if not match:
        raise ExpressionError(f"neither rate(…) nor cron(…): {expression!r}")
    words = match[2].split()
    try:
        return _rate(words) if match[1] == "rate" else _cron(words)
    except ExpressionError as error:
        raise ExpressionError(f"{expression!r}: {error}") from error


def _rate(words: list[str]) -> Rate:
    if len(words) != 2 or not words[0].isdigit() or int(words[0]) < 1:
        raise ExpressionError("a rate is a positive number and a unit")
    number, unit = int(words[0]), words[1]
    if unit.rstrip("s") not in _UNITS or unit.endswith("s") != (number > 1):
        raise ExpressionError("the unit is minute, hour or day, with an s after all but 1")
    return Rate(number * _UNITS[unit.rstrip("s")])


def _cron(words: list[str]) -> Cron:
    if len(words) != 6:
        raise ExpressionError("cron has six fields")
    minutes, hours, days, months, weekdays, years = (word.upper() for word in words)
    if (days == "?") == (weekdays == "?"):
        raise ExpressionError("exactly one of day of month and day of week is ?")
    cron = Cron(
        _numbers(minutes, 0, 59),
        _numbers(hours, 0, 23),
        _numbers(months, 1, 12, _MONTHS),
        _numbers(years, 1970, 2199),
        days,
        weekdays,
    )
    # Finds what cannot be read now, and not in the month when it would be due.
    for part in days.split(",") if weekdays == "?" else ():
        _is_day(date(2024, 2, 29), part)
    for part in weekdays.split(",") if days == "?" else ():
        _is_weekday(date(2024, 2, 29), part)
    return cron


def _numbers(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """The numbers that a list of `*`, n, n-m, each with or without /step, stands for."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else (high if slash else start)
        if slash and (not step.isdigit() or int(step) < 1):
            raise ExpressionError(f"{part!r} has no step")
        if not low <= start <= high or not low <= end <= high:
            raise ExpressionError(f"{part!r} is not from {low} to {high}")
        # FRI-MON goes over the end of the week.
        span_numbers = (
            range(start, end + 1)
            if start <= end
            else [*range(start, high + 1), *range(low, end + 1)]
        )
        found |= set(list(span_numbers)[:: int(step) if slash else 1])
    return frozenset(found)


def _number(text: str, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not text.isdigit():
        raise ExpressionError(f"{text!r} is no number")
    return int(text)


def _is_day(day: date, part: str) -> bool:
    """Whether `day` fits one part of the day of month: n, n-m, n/s, L, LW or nW."""
    last = calendar.monthrange(day.year, day.month)[1]
    if part == "L":
        return day.day == last
    if part.endswith("W"):
        wanted = last if part == "LW" else _number(part[:-1], None)
        return wanted <= last and day == _nearest_workday(day.replace(day=wanted), last)
    return day.day in _numbers(part, 1, 31)


def _nearest_workday(day: date, last: int) -> date:
    """The workday nearest to `day` within its month."""
    if day.weekday() == calendar.SATURDAY:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.weekday() == calendar.SUNDAY:
        return day + timedelta(days=1) if day.day < last else day - timedelta(days=2)
    return day


def _is_weekday(day: date, part: str) -> bool:
    """Whether `day` fits one part of the day of week: n, n-m, n/s, L, nL or n#k; Sunday is 1."""
    weekday = day.isoweekday() % 7 + 1
    if part == "L":
        return weekday == _DAYS["SAT"]
    if part.endswith("L"):
        last = calendar.monthrange(day.year, day.month)[1]
        return weekday == _number(part[:-1], _DAYS) and day.day > last - 7
    if "#" in part:
        wanted, _, nth = part.partition("#")
        return weekday == _number(wanted, _DAYS) and (day.day - 1) // 7 + 1 == _number(nth, None)
    return weekday in _numbers(part, 1, 7, _DAYS)
