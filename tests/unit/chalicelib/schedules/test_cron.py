"""Due times of recurring schedules, compared with cronsim and with every minute."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.schedules.cron import (
    LAST_YEAR,
    ExpressionError,
    Gap,
    next_run,
    next_runs,
    parse_aws,
    parse_expression,
    parse_zone,
)

START = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)  # a Thursday
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"]


def following(expression, zone="UTC", start=START, count=3, gap=Gap.SKIP):
    local = ZoneInfo(zone)
    runs = next_runs(expression, zone, start, count, gap)
    return [run.astimezone(local).strftime("%Y-%m-%d %H:%M") for run in runs]


def test_a_rate_is_due_one_period_after_the_last_time():
    assert following("rate(1 minute)", count=2) == ["2026-01-01 12:01", "2026-01-01 12:02"]
    assert next_runs("rate(3 days)", "UTC", START, 1) == [START + timedelta(days=3)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cron(0/15 * * * ? *)", ["2026-01-01 12:15", "2026-01-01 12:30", "2026-01-01 12:45"]),
        ("cron(0 9 ? * MON-FRI *)", ["2026-01-02 09:00", "2026-01-05 09:00", "2026-01-06 09:00"]),
        ("cron(30 23 L * ? *)", ["2026-01-31 23:30", "2026-02-28 23:30", "2026-03-31 23:30"]),
        ("cron(0 0 1W * ? *)", ["2026-02-02 00:00", "2026-03-02 00:00", "2026-04-01 00:00"]),
        ("cron(0 0 LW * ? *)", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("cron(0 0 31W * ? *)", ["2026-01-30 00:00", "2026-03-31 00:00", "2026-05-29 00:00"]),
        ("cron(0 8 ? * 6L *)", ["2026-01-30 08:00", "2026-02-27 08:00", "2026-03-27 08:00"]),
        ("cron(0 8 ? * FRIL *)", ["2026-01-30 08:00", "2026-02-27 08:00", "2026-03-27 08:00"]),
        ("cron(0 8 ? * L *)", ["2026-01-03 08:00", "2026-01-10 08:00", "2026-01-17 08:00"]),
        ("cron(0 8 ? * TUE#2 *)", ["2026-01-13 08:00", "2026-02-10 08:00", "2026-03-10 08:00"]),
        ("cron(0 8 ? * sat-sun *)", ["2026-01-03 08:00", "2026-01-04 08:00", "2026-01-10 08:00"]),
        ("cron(0 8 29 FEB ? *)", ["2028-02-29 08:00", "2032-02-29 08:00", "2036-02-29 08:00"]),
        ("cron(0 0 ? 2 SUN#5 *)", ["2032-02-29 00:00", "2060-02-29 00:00", "2088-02-29 00:00"]),
        ("cron(5 0,12 1,15 1/6 ? 2026-2027)",
         ["2026-01-01 12:05", "2026-01-15 00:05", "2026-01-15 12:05"]),
        ("cron(59 23 31 12 ? 2199)", ["2199-12-31 23:59"]),
        ("cron(0 0 1 1 ? 2020)", []),
        ("cron(0 0 30 2 ? *)", []),
    ],
)  # fmt: skip
def test_cron_as_the_event_bridge_guide_says(expression, expected):
    assert following(expression) == expected
    assert parse_aws(expression) == parse_expression(expression)


@pytest.mark.parametrize(
    ("quartz", "aws"),
    [
        ("0 0/5 * * * ?", "cron(0/5 * * * ? *)"),
        ("0 15 10 ? * mon-fri", "cron(15 10 ? * MON-FRI *)"),
        ("0 15 10 ? * 6L 2026-2030", "cron(15 10 ? * 6L 2026-2030)"),
        ("00 0 12 1/5 * ?", "cron(0 12 1/5 * ? *)"),
        ("cron(0 15 10 LW * ? 2027)", "cron(15 10 LW * ? 2027)"),
        ("cron(15 10 ? * MON *)", "cron(15 10 ? * MON *)"),
        (" Rate(5 MINUTES) ".lower(), "rate(5 minutes)"),
    ],
)
def test_the_form_of_quartz_is_translated(quartz, aws):
    understood = parse_expression(quartz)
    assert understood.text == aws
    assert parse_expression(aws) == understood


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("30 0/5 * * * ?", "the seconds"),
        ("* 0/5 * * * ?", "the seconds"),
        ("0 9 ? * MON-FRI *", "written cron"),  # AWS's fields without cron(…)
        ("*/5 * * * *", "neither rate"),
        ("0 0 0 L-3 * ?", "no days before"),
        ("", "neither rate"),
        ("cron(0 0 ? * 2#1,3#1 *)", "no list"),
    ],
)
def test_what_cannot_be_understood_is_explained(expression, why):
    with pytest.raises(ExpressionError, match=why):
        next_runs(expression, "UTC", START, 1)


@pytest.mark.parametrize(
    "expression",
    [
        "", "rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(5 weeks)", "rate(5)",
        "rate(999999999 days)", "cron(* * * * *)", "cron(* * * * * *)", "cron(* * ? * ? *)",
        "cron(60 * * * ? *)", "cron(* 24 * * ? *)", "cron(* * 32 * ? *)", "cron(* * ? * 8 *)",
        "cron(* * ? * FUN *)", "cron(*/0 * * * ? *)", "cron(* * 0 * ? *)", "every(5 minutes)",
        "cron(0 0 1 1 ? 2026-2024)", "cron(0 0 1 1 ? 2030,2028-2027/2)",
        "cron(a * * * ? *)", "cron(* * 32W * ? *)", "cron(* * ? * MON#6 *)", "cron(* * ? * 2-3L *)",
        "cron(* * * * ? 2200)", "cron(² * * * ? *)", "cron(0 0 9 ? * MON *)", "0 0 9 ? * MON",
        "cron(0 9 ? * MON *) x", "rate (5 minutes)",
    ],
)  # fmt: skip
def test_what_event_bridge_would_refuse_is_refused(expression):
    with pytest.raises(ExpressionError):
        parse_aws(expression)


@given(st.text(alphabet="0123456789*?,-/#LWMONcronrate() \n", max_size=40))
@example("cron(" + "9" * 300 + ")")
def test_any_text_is_understood_or_refused(text):
    try:
        understood = parse_expression(text)
    except ExpressionError:
        return
    assert parse_expression(understood.text).text == understood.text


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Nowhere", "../etc/passwd", "/etc", "a\0b"])
def test_what_is_no_time_zone_is_refused(name):
    with pytest.raises(ExpressionError, match="no time zone"):
        parse_zone(name)


# Clocks that are set forward and back.


@pytest.mark.parametrize(
    ("zone", "start", "expression", "skipped", "moved"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), "cron(30 2 * * ? *)",
         ["2026-03-30 02:30"], ["2026-03-29 03:00", "2026-03-30 02:30"]),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 2, tzinfo=UTC), "cron(15 2 * * ? *)",
         ["2026-10-05 02:15"], ["2026-10-04 02:30", "2026-10-05 02:15"]),
        ("America/Sao_Paulo", datetime(2018, 11, 3, 12, tzinfo=UTC), "cron(0 0 * * ? *)",
         ["2018-11-05 00:00"], ["2018-11-04 01:00", "2018-11-05 00:00"]),
        ("Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC), "cron(0 12 30 12 ? *)",
         ["2012-12-30 12:00"], ["2011-12-31 00:00", "2012-12-30 12:00"]),
    ],
)  # fmt: skip
def test_a_run_in_the_gap_is_skipped_or_moved_to_its_end(zone, start, expression, skipped, moved):
    assert following(expression, zone, start, len(skipped)) == skipped
    assert following(expression, zone, start, len(moved), Gap.MOVE) == moved


def test_several_runs_in_one_gap_are_moved_together():
    start = datetime(2026, 3, 29, 0, 45, tzinfo=UTC)  # 01:45 in Berlin
    found = following("cron(0/20 * * * ? *)", "Europe/Berlin", start, 2, Gap.MOVE)
    assert found == ["2026-03-29 03:00", "2026-03-29 03:20"]


def test_a_run_in_the_hour_that_comes_twice_is_once_the_first():
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)
    runs = next_runs("cron(30 2 * * ? *)", "Europe/Berlin", start, 2)
    assert runs[0] == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert runs[1] == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def every_minute(expression, zone, start, hours, gap):
    """Another way to the same: look at the clock on the wall in every minute of the time."""
    cron, local = parse_expression(expression), ZoneInfo(zone)

    def is_due(wall):
        return next(cron.wall_times(wall), None) == wall

    found, minute = [], timedelta(minutes=1)
    latest = (start - minute).astimezone(local).replace(tzinfo=None)
    for number in range(hours * 60):
        now = start + number * minute
        wall = now.astimezone(local).replace(tzinfo=None)
        missing = [latest + n * minute for n in range(1, int((wall - latest) / minute))]
        moved = gap is Gap.MOVE and any(is_due(time) for time in missing)
        if wall > latest and (is_due(wall) or moved):
            found.append(now)
        latest = max(latest, wall)
    return found


TRANSITIONS = {
    "UTC": [datetime(2026, 3, 29, tzinfo=UTC)],
    "Europe/Berlin": [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)],
    "America/New_York": [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2030, 11, 3, 6, tzinfo=UTC)],
    "Australia/Lord_Howe": [
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)
    ],
    "America/Sao_Paulo": [
        datetime(2018, 11, 4, 3, tzinfo=UTC), datetime(2019, 2, 17, 2, tzinfo=UTC)
    ],
}  # fmt: skip


@given(
    zone_and_place=st.sampled_from([(z, t) for z, times in TRANSITIONS.items() for t in times]),
    minutes=st.sampled_from(["0", "30", "0/15", "*", "15-45/10", "59"]),
    hours=st.sampled_from(["*", "0", "1", "2", "3", "0/2", "1-3", "23"]),
    gap=st.sampled_from(Gap),
    before=st.integers(0, 300),
)
def test_around_a_change_of_clocks_it_is_due_as_the_clock_on_the_wall_says(
    zone_and_place, minutes, hours, gap, before
):
    zone, place = zone_and_place
    start = place - timedelta(minutes=before)
    expression = f"cron({minutes} {hours} * * ? *)"
    expected = every_minute(expression, zone, start, 10, gap)
    end = start + timedelta(hours=10)
    found = next_runs(expression, zone, start - timedelta(seconds=1), 700, gap)
    assert [run for run in found if run < end] == expected


# cronsim counts days of the week from 0 for Sunday, and supports neither W nor years.

FIELD = {
    "minute": st.sampled_from(["*", "0", "7,37", "*/20", "10-14", "59"]),
    "hour": st.sampled_from(["*", "0", "2", "3,15", "*/6", "9-17", "23"]),
    "month": st.sampled_from(["*", "2", "1-3", "4,10", "FEB", "*/5"]),
}
DAYS = st.one_of(
    st.tuples(st.sampled_from(["*", "1", "29", "31", "1,15", "10-12", "L", "LW", "*/9"]),
              st.just(("?", "*"))),
    st.tuples(st.just("?"), st.sampled_from(
        [("2-6", "1-5"), ("SUN", "SUN"), ("2#1", "1#1"), ("6L", "5L"), ("1,7", "0,6"),
         ("MON-WED", "MON-WED"), ("4#5", "3#5")])),
)  # fmt: skip
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1))  # noqa: DTZ001


def theirs(minute, hour, day, month, weekday, start, count):
    """Returns cronsim's times, up to our last year; it refuses expressions that are never due, and
    searches 50 years after the last time.
    """
    try:
        runs = CronSim(f"{minute} {hour} {day.replace('?', '*')} {month} {weekday}", start)
    except CronSimError:
        return []
    return [run for run in islice(runs, 2 * count) if run.year <= LAST_YEAR]


@given(days=DAYS, start=INSTANTS, count=st.integers(1, 12), **FIELD)
def test_in_utc_it_is_due_when_cronsim_says(days, start, count, minute, hour, month):
    day, (weekday, their_weekday) = days
    expected = theirs(minute, hour, day, month, their_weekday, start, count)[:count]
    expression = f"cron({minute} {hour} {day} {month} {weekday} *)"
    ours = next_runs(expression, "UTC", start.replace(tzinfo=UTC), count)
    found = [run.replace(tzinfo=None) for run in ours]
    assert found[: len(expected)] == expected
    assert all(run.year > start.year + 40 for run in found[len(expected) :])


@given(
    days=DAYS,
    start=INSTANTS,
    zone=st.sampled_from(ZONES),
    count=st.integers(1, 12),
    minute=st.sampled_from(["0", "7,37", "59"]),
    hour=st.sampled_from(["0", "2", "1,3,15", "23"]),
    month=FIELD["month"],
)
def test_at_fixed_times_it_is_due_in_any_zone_when_cronsim_says(
    days, start, zone, count, minute, hour, month
):
    """Debian's cron, which cronsim follows, runs what falls into a gap right after it, and what
    comes twice once."""
    day, (weekday, their_weekday) = days
    local, begin = ZoneInfo(zone), start.replace(tzinfo=UTC)
    expected: list[datetime] = []
    for run in theirs(minute, hour, day, month, their_weekday, begin.astimezone(local), count):
        instant = run.astimezone(UTC)
        if instant > begin and instant not in expected:
            expected.append(instant)
    expression = f"cron({minute} {hour} {day} {month} {weekday} *)"
    ours = next_runs(expression, zone, begin, count, Gap.MOVE)
    assert ours[: len(expected)] == expected[:count]
    assert all(run.year > start.year + 40 for run in ours[len(expected) :])


@given(start=INSTANTS, zone=st.sampled_from(ZONES), gap=st.sampled_from(Gap))
def test_runs_come_one_by_one_as_they_come_together(start, zone, gap):
    begin, expression = start.replace(tzinfo=UTC), parse_expression("cron(0/30 0-3 * * ? *)")
    together = next_runs(expression, zone, begin, 20, gap)
    one_by_one, at = [], begin
    for _ in range(20):
        at = next_run(expression, ZoneInfo(zone), at, gap)
        one_by_one.append(at)
    assert one_by_one == together


@pytest.mark.parametrize(
    "expression", ["cron(0 0 29 2 ? *)", "cron(0 0 30 2 ? *)", "cron(* * * * ? 2199)"]
)
def test_the_search_for_what_is_rare_is_no_walk_through_all_minutes(expression):
    for day in range(200):
        start = START + timedelta(days=day)
        assert all(run > start for run in next_runs(expression, "Europe/Berlin", start, 1))
