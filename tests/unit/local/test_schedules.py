from datetime import UTC, datetime, timedelta

from chalicelib.schedules.cron import parse_aws
from local.functions.triggers.schedules import due_and_next, scheduled_event

START = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


def test_what_is_due_fires_once_and_keeps_its_beat():
    schedules = {"a": parse_aws("rate(1 minute)"), "b": parse_aws("rate(1 hour)")}
    upcoming = {"a": START, "b": START + timedelta(hours=1)}
    due, after = due_and_next(upcoming, schedules, START + timedelta(seconds=2))
    assert due == ["a"]
    assert after == {"a": START + timedelta(minutes=1), "b": START + timedelta(hours=1)}


def test_after_a_long_sleep_a_schedule_fires_once_and_not_once_a_period():
    schedules = {"a": parse_aws("rate(1 minute)")}
    late = START + timedelta(hours=8)
    due, after = due_and_next({"a": START}, schedules, late)
    assert due == ["a"]
    assert after == {"a": late + timedelta(minutes=1)}


def test_a_schedule_without_another_time_is_over():
    schedules = {"a": parse_aws("cron(0 0 1 1 ? 2020)")}
    assert due_and_next({"a": START}, schedules, START) == (["a"], {})


def test_the_event_of_a_schedule_is_what_chalice_parses():
    event = scheduled_event("sweep", START, "us-east-1", "123456789012")
    assert event["detail-type"] == "Scheduled Event"
    assert event["time"] == "2026-01-01T12:00:30Z"
    assert event["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/sweep"]
