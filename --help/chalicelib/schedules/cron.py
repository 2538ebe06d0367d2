"""Schedule expressions: `rate(…)`, `cron(…)` in AWS's syntax, and Quartz's. Pure.

AWS's cron has six fields: minutes, hours, day of month, month, day of week (Sunday is 1), year. One
of the two days is `?`; L, W and # have the meaning of the EventBridge Scheduler user guide.
Quartz's has seconds before these, which must be 0, and an optional year; it is written without
`cron(…)`, or within it with all seven fields.

An expression has wall-clock times; `next_run` converts them with a time zone. A time that occurs
twice (when clocks are set back) is due once, the first time. A time that does not occur (when
clocks are set forward) is skipped, or moved to the first instant after it: see `Gap`.
"""

import calendar
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FIRST_YEAR, LAST_YEAR = 1970, 2199
MAX_LENGTH = 256
MAX_PERIOD = timedelta(days=366 * 10)

_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_SATURDAY = 7


class ExpressionError(ValueError):
    """An invalid schedule expression or time zone; the message has the reason."""


class Gap(StrEnum):
    """Treatment of a run in the hour that is missing when clocks are set forward."""

    SKIP = "skip"
    MOVE = "move"
    """Moved to the first instant after the gap; several runs in the gap become one."""


@dataclass(frozen=True)
class Rate:
    """Every `period`, regardless of changes of clocks."""

    period: timedelta
    text: str
    """In AWS's syntax."""


@dataclass(frozen=True)
class Cron:
    """At the minutes that all six fields match."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    years: tuple[int, ...]
    days: str
    """As written, such as `weekdays`; one of them is `?`."""
    weekdays: str
    text: str
    """In AWS's syntax."""

    def wall_times(self, start: datetime) -> Iterator[datetime]:
        """The wall-clock times from `start` on, in order; all without a time zone."""
        for day in self._days_from(start.date()):
            first = start.hour if day == start.date() else 0
            for hour in self.hours[bisect_left(self.hours, first) :]:
                for minute in self.minutes:
                    found = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
                    if found >= start:
                        yield found

    def _days_from(self, start: date) -> Iterator[date]:
        for year in self.years[bisect_left(self.years, start.year) :]:
            for month in sorted(self.months):
                if (year, month) < (start.year, start.month):
                    continue
                for day in _days_of(self.days, self.weekdays, year, month):
                    if day >= start:
                        yield day


Expression = Rate | Cron


def parse_expression(text: str) -> Expression:
    """Parse any of the three syntaxes. Raises ExpressionError."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    match = re.fullmatch(r"\s*(?:(rate|cron)\((.*)\)|(.*))\s*", text, re.DOTALL)
    kind, inner, bare = match.groups() if match else (None, None, text)
    parts = (inner or bare or "").upper().split()
    try:
        if kind == "rate":
            return _rate(parts)
        if kind == "cron" and len(parts) != 7:
            return _cron(parts)
        return _quartz(parts)
    except ExpressionError as error:
        hint = " (read as Quartz's form; AWS's is written cron(…))" if kind is None else ""
        raise ExpressionError(f"{text.strip()!r}: {error}{hint}") from error


def parse_aws(text: str) -> Expression:
    """Parse EventBridge's syntax only: `rate(…)`, or `cron(…)` with six fields.

    Raises ExpressionError.
    """
    parts = len(text.split())
    if not re.match(r"\s*(rate|cron)\(", text) or ("cron" in text and parts != 6):
        raise ExpressionError(f"{text.strip()!r} is neither rate(…) nor cron(…) with six fields")
    return parse_expression(text)


def parse_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as Europe/Berlin. Raises ExpressionError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ExpressionError(f"no time zone is called {name!r}") from error


def next_run(
    expression: Expression, zone: ZoneInfo, after: datetime, gap: Gap = Gap.SKIP
) -> datetime | None:
    """The first time after `after` (any zone), in UTC; None if there is none up to 2199."""
    return next(_runs(expression, zone, after, gap), None)


def next_runs(
    expression: Expression | str,
    timezone: str,
    after: datetime,
    count: int,
    gap: Gap = Gap.SKIP,
) -> list[datetime]:
    """The next `count` times after `after`; fewer if there are no more.

    Raises ExpressionError.
    """
    parsed = parse_expression(expression) if isinstance(expression, str) else expression
    runs = _runs(parsed, parse_zone(timezone), after, gap)
    return [instant for instant, _ in zip(runs, range(count), strict=False)]


def _runs(expression: Expression, zone: ZoneInfo, after: datetime, gap: Gap) -> Iterator[datetime]:
    last = after.astimezone(UTC)
    if isinstance(expression, Rate):
        while last.year <= LAST_YEAR:
            last += expression.period
            yield last
        return
    wall = last.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
    for time in expression.wall_times(wall):
        instant = instant_of(time, zone, gap)
        # Times that were moved out of a gap may be equal; a repeated time is due only the first
        # time.
        if instant is not None and instant > last:
            last = instant
            yield instant


def instant_of(wall: datetime, zone: ZoneInfo, gap: Gap) -> datetime | None:
    """The instant of a wall-clock time's first occurrence; determined by `gap` if it has none."""
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    return _end_of_gap(wall, zone) if gap is Gap.MOVE else None


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the clocks were set forward over `wall`.

    It lies between the wall time with the later offset (fold=1) and with the earlier one (fold=0).
    """
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    late = wall.replace(tzinfo=zone).astimezone(UTC)
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)


def _rate(parts: list[str]) -> Rate:
    if len(parts) != 2 or not re.fullmatch(r"[0-9]{1,9}", parts[0]) or int(parts[0]) < 1:
        raise ExpressionError("a rate is a positive number and a unit, as in rate(5 minutes)")
    number, unit = int(parts[0]), parts[1].lower()
    if unit.removesuffix("s") not in _UNITS or unit.endswith("s") != (number > 1):
        raise ExpressionError("the unit is minute, hour or day, with an s after all but 1")
    period = number * _UNITS[unit.removesuffix("s")]
    if period > MAX_PERIOD:
        raise ExpressionError("a rate is of ten years at most")
    return Rate(period, f"rate({number} {unit})")


def _quartz(parts: list[str]) -> Cron:
    if len(parts) not in {6, 7}:
        raise ExpressionError(
            "neither rate(…) nor cron(…) with its six fields, nor Quartz's form with six or seven "
            "that begin with the seconds"
        )
    seconds, *fields = parts
    if seconds not in {"0", "00"}:
        raise ExpressionError(
            f"Quartz's first field is the seconds, here {seconds!r}: schedules are to the minute, "
            "so it must be 0"
        )
    if "L-" in fields[2]:
        raise ExpressionError(f"{fields[2]!r}: AWS knows L, and no days before it")
    return _cron([*fields, "*"] if len(fields) == 5 else fields)


def _cron(parts: list[str]) -> Cron:
    if len(parts) != 6:
        raise ExpressionError("cron has six fields: minutes hours day month weekday year")
    minutes, hours, days, months, weekdays, years = parts
    if (days == "?") == (weekdays == "?"):
        raise ExpressionError("exactly one of day of month and day of week is ?")
    cron = Cron(
        minutes=tuple(sorted(_numbers(minutes, 0, 59))),
        hours=tuple(sorted(_numbers(hours, 0, 23))),
        months=_numbers(months, 1, 12, _MONTHS),
        years=tuple(sorted(_numbers(years, FIRST_YEAR, LAST_YEAR, wraps=False))),
        days=days,
        weekdays=weekdays,
        text=f"cron({' '.join(parts)})",
    )
    if "#" in weekdays and "," in weekdays:
        raise ExpressionError("with # there is one day of week, and no list")
    _days_of(days, weekdays, 2024, 2)  # raises for an invalid field
    return cron


def _numbers(
    text: str,
    low: int,
    high: int,
    names: dict[str, int] | None = None,
    *,
    wraps: bool = True,
) -> frozenset[int]:
    """The numbers of a list of `*`, n, n-m, each with or without /step.

    A range that ends before it starts continues at the field's beginning if the field `wraps`, such
    as FRI-MON and 22-2; years do not (Quartz: "Start year must be less than stop year").
    """
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else (high if slash else start)
        if slash and _number(step, None) < 1:
            raise ExpressionError(f"{part!r} has no step")
        if not low <= start <= high or not low <= end <= high:
            raise ExpressionError(f"{part!r} is not from {low} to {high}")
        if start > end and not wraps:
            raise ExpressionError(f"{part!r} ends before it starts")
        span_numbers = (
            range(start, end + 1)
            if start <= end
            # FRI-MON continues at the week's beginning
            else [*range(start, high + 1), *range(low, end + 1)]
        )
        found |= set(list(span_numbers)[:: int(step) if slash else 1])
    return frozenset(found)


def _number(text: str, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise ExpressionError(f"{text!r} is no number")
    return int(text)


@lru_cache(maxsize=4096)
def _days_of(days: str, weekdays: str, year: int, month: int) -> tuple[date, ...]:
    """The days of a month that both fields match."""
    fits = _day_test(days) if weekdays == "?" else _weekday_test(weekdays)
    last = calendar.monthrange(year, month)[1]
    month_days = (date(year, month, number) for number in range(1, last + 1))
    return tuple(day for day in month_days if fits(day, last))


Test = Callable[[date, int], bool]
"""Whether a day matches, given the number of its month's last day."""


@cache
def _day_test(field: str) -> Test:
    """Each part is n, n-m, n/s, L, LW or nW. Raises ExpressionError."""
    tests = [_day_part(part) for part in field.split(",")]
    return lambda day, last: any(fits(day, last) for fits in tests)


def _day_part(part: str) -> Test:
    if part == "L":
        return lambda day, last: day.day == last
    if part == "LW":
        return lambda day, last: day == _nearest_workday(day.replace(day=last), last)
    if part.endswith("W"):
        wanted = _number(part[:-1], None)
        if not 1 <= wanted <= 31:
            raise ExpressionError(f"{part!r} is not from 1W to 31W")
        return lambda day, last: (
            wanted <= last and day == _nearest_workday(day.replace(day=wanted), last)
        )
    numbers = _numbers(part, 1, 31)
    return lambda day, _: day.day in numbers


def _nearest_workday(day: date, last: int) -> date:
    """The workday nearest to `day` within its month."""
    if day.weekday() == calendar.SATURDAY:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.weekday() == calendar.SUNDAY:
        return day + timedelta(days=1) if day.day < last else day - timedelta(days=2)
    return day


@cache
def _weekday_test(field: str) -> Test:
    """Each part is n, n-m, n/s, L, nL or n#k; Sunday is 1. Raises ExpressionError."""
    tests = [_weekday_part(part) for part in field.split(",")]
    return lambda day, last: any(fits(day, last) for fits in tests)


def _weekday_part(part: str) -> Test:
    if part == "L":
        return lambda day, _: _weekday(day) == _SATURDAY
    if part.endswith("L"):
        wanted = _one_weekday(part[:-1])
        return lambda day, last: _weekday(day) == wanted and day.day > last - 7
    if "#" in part:
        name, _, nth = part.partition("#")
        wanted, number = _one_weekday(name), _number(nth, None)
        if not 1 <= number <= 5:
            raise ExpressionError(f"{part!r}: a month has the first to the fifth of a weekday")
        return lambda day, _: _weekday(day) == wanted and (day.day - 1) // 7 + 1 == number
    numbers = _numbers(part, 1, 7, _DAYS)
    return lambda day, _: _weekday(day) in numbers


def _one_weekday(text: str) -> int:
    found = _numbers(text, 1, 7, _DAYS)
    if len(found) != 1:
        raise ExpressionError(f"{text!r} is no single day of the week")
    return min(found)


def _weekday(day: date) -> int:
    """As AWS counts them: Sunday is 1."""
    return day.isoweekday() % 7 + 1
