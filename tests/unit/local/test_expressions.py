from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.triggers.expressions import ExpressionError, parse_schedule
from local.triggers.schedules import due_and_next, scheduled_event

START = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)  # a Thursday


def following(expression, start=START, count=3):
    schedule, found = parse_schedule(expression), []
    for _ in range(count):
        start = schedule.next_after(start)
        if start is None:
            break
        found.append(start.strftime("%Y-%m-%d %H:%M"))
    return found


def test_a_rate_first_fires_one_period_after_the_start():
    assert parse_schedule("rate(1 minute)").next_after(START) == START + timedelta(minutes=1)
    assert parse_schedule("rate(3 days)").next_after(START) == START + timedelta(days=3)


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
        ("cron(0 8 ? * TUE#2 *)", ["2026-01-13 08:00", "2026-02-10 08:00", "2026-03-10 08:00"]),
        ("cron(0 8 ? * SAT-SUN *)", ["2026-01-03 08:00", "2026-01-04 08:00", "2026-01-10 08:00"]),
        ("cron(0 8 29 FEB ? *)", ["2028-02-29 08:00", "2032-02-29 08:00"]),
        ("cron(5 0,12 1,15 1/6 ? 2026-2027)", ["2026-01-01 12:05", "2026-01-15 00:05"]),
        ("cron(0 0 1 1 ? 2020)", []),
    ],
)  # fmt: skip
def test_cron_as_the_event_bridge_guide_says(expression, expected):
    assert following(expression)[: len(expected)] == expected
    assert bool(following(expression)) == bool(expected)


@pytest.mark.parametrize(
    "expression",
    [
        "", "rate(0 minutes)", "rate(1 minutes)", "rate(5 minute)", "rate(5 weeks)", "rate(5)",
        "cron(* * * * *)", "cron(* * * * * *)", "cron(* * ? * ? *)", "cron(60 * * * ? *)",
        "cron(* 24 * * ? *)", "cron(* * 32 * ? *)", "cron(* * ? * 8 *)", "cron(* * ? * FUN *)",
        "cron(*/0 * * * ? *)", "cron(* * 0 * ? *)", "every(5 minutes)", "cron(a * * * ? *)",
    ],
)  # fmt: skip
def test_what_event_bridge_would_refuse_is_refused(expression):
    with pytest.raises(ExpressionError):
        parse_schedule(expression)


INSTANTS = st.integers(0, 6 * 366 * 24 * 3600).map(lambda s: START + timedelta(seconds=s))


@given(
    start=INSTANTS,
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    weekday=st.sampled_from(["MON", "WED", "SUN", "*"]),
)
def test_the_next_time_fits_lies_ahead_and_nothing_was_skipped(start, minute, hour, weekday):
    schedule = parse_schedule(f"cron({minute} {hour} ? * {weekday} *)")
    found = schedule.next_after(start)
    assert found > start
    assert (found.minute, found.hour, found.second) == (minute, hour, 0)
    assert weekday in {"*", found.strftime("%a").upper()}
    assert found - start <= timedelta(days=7, minutes=1)


def test_what_is_due_fires_once_and_keeps_its_beat():
    schedules = {"a": parse_schedule("rate(1 minute)"), "b": parse_schedule("rate(1 hour)")}
    upcoming = {"a": START, "b": START + timedelta(hours=1)}
    due, after = due_and_next(upcoming, schedules, START + timedelta(seconds=2))
    assert due == ["a"]
    assert after == {"a": START + timedelta(minutes=1), "b": START + timedelta(hours=1)}


def test_after_a_long_sleep_a_schedule_fires_once_and_not_once_a_period():
    schedules = {"a": parse_schedule("rate(1 minute)")}
    late = START + timedelta(hours=8)
    due, after = due_and_next({"a": START}, schedules, late)
    assert due == ["a"]
    assert after == {"a": late + timedelta(minutes=1)}


def test_a_schedule_without_another_time_is_over():
    schedules = {"a": parse_schedule("cron(0 0 1 1 ? 2020)")}
    assert due_and_next({"a": START}, schedules, START) == (["a"], {})


def test_the_event_of_a_schedule_is_what_chalice_parses():
    event = scheduled_event("sweep", START, "us-east-1", "123456789012")
    assert event["detail-type"] == "Scheduled Event"
    assert event["time"] == "2026-01-01T12:00:30Z"
    assert event["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/sweep"]
