"""Decisions of schedules: which runs start, which are skipped, what pausing and editing change."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.jobs.model import Priority
from chalicelib.schedules import model as rules
from chalicelib.schedules.cron import Gap
from chalicelib.schedules.items import from_item, to_item
from chalicelib.schedules.model import KEPT_SKIPPED, Attention, Decision, Overlap, Skipped
from chalicelib.schedules.requests import (
    message_of,
    parse_page,
    parse_schedule,
    parse_schedule_id,
    read_message,
    show_schedule,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
HOUR, DAY = 3600, 86_400


def made(expression="cron(0 * * * ? *)", at=NOON, **settings):
    body = {"job": "report", "expression": expression, **settings}
    return parse_schedule("s", body, owner="o", callback_base_url="http://x", now=at)


def fired(schedule, now, *, live=False):
    decision = rules.plan_firing(schedule, now, live)
    if decision is None:
        return schedule, None
    after = rules.decided(schedule, decision, "run", now)
    return rules.carried_out(after, None, now), decision


def test_nothing_is_due_before_its_time_and_the_run_when_it_has_come():
    schedule = made()
    assert rules.plan_firing(schedule, NOON + HOUR - 1, False) is None
    assert rules.plan_firing(schedule, NOON + HOUR, False) == Decision(
        NOON + HOUR, None, (), NOON + HOUR
    )


def test_an_instant_is_decided_once():
    after, _ = fired(made(), NOON + HOUR)
    assert fired(after, NOON + HOUR + 5) == (after, None)
    assert rules.next_planned(after) == NOON + 2 * HOUR
    assert (after.last_planned_at, after.last_invocation) == (NOON + HOUR, "run")


@pytest.mark.parametrize(
    ("overlap", "runs", "kill", "skipped"),
    [("allow", True, None, 0), ("skip", False, None, 1), ("replace", True, "before", 0)],
)
def test_a_run_that_comes_while_the_last_goes_on(overlap, runs, kill, skipped):
    schedule = replace(made(overlap=overlap), last_invocation="before")
    after, decision = fired(schedule, NOON + HOUR, live=True)
    assert (decision.run_at is not None, decision.kill, len(decision.skipped)) == (
        runs,
        kill,
        skipped,
    )
    assert after.last_invocation == ("run" if runs else "before")
    assert rules.plan_firing(schedule, NOON + HOUR, False).run_at == NOON + HOUR


def test_of_missed_runs_the_newest_is_run_within_the_misfire_time():
    _, decision = fired(made(misfireSeconds=1800), NOON + 3 * HOUR + 1700)
    assert decision.run_at == NOON + 3 * HOUR
    assert [skipped.planned_at for skipped in decision.skipped] == [NOON + HOUR, NOON + 2 * HOUR]
    _, decision = fired(made(misfireSeconds=1800), NOON + 3 * HOUR + 1900)
    assert decision.run_at is None
    assert len(decision.skipped) == 3
    assert "misfireSeconds" in decision.skipped[-1].why


def test_what_is_a_little_late_is_on_time_whatever_the_misfire_time():
    _, decision = fired(made(misfireSeconds=0), NOON + HOUR + rules.ON_TIME_SECONDS)
    assert decision.run_at == NOON + HOUR
    _, decision = fired(made(misfireSeconds=0), NOON + HOUR + rules.ON_TIME_SECONDS + 1)
    assert decision.run_at is None


@pytest.mark.parametrize("expression", ["rate(1 minute)", "cron(* * * * ? *)"])
def test_after_years_of_silence_few_are_recorded_and_none_is_looked_for_in_vain(expression):
    schedule = made(expression)
    after, decision = fired(schedule, NOON + 5 * 365 * DAY)
    assert len(decision.skipped) == KEPT_SKIPPED
    assert decision.run_at == NOON + 5 * 365 * DAY
    assert rules.next_planned(after) == decision.run_at + 60


def test_a_rare_run_that_was_missed_long_ago_is_found_all_the_same():
    schedule = made("cron(0 0 29 2 ? *)")
    now = datetime(2030, 6, 1, tzinfo=UTC).timestamp()
    _, decision = fired(schedule, now)
    leap_day = datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    assert [skipped.planned_at for skipped in decision.skipped] == [leap_day]


def test_paused_time_is_not_made_up_for():
    schedule = rules.paused(made(), NOON + 60)
    assert rules.next_planned(schedule) is None
    assert rules.plan_firing(schedule, NOON + 5 * HOUR, False) is None
    assert rules.attention(schedule, NOON + 5 * HOUR) is None
    resumed = rules.resumed(schedule, NOON + 5 * HOUR + 60)
    assert rules.next_planned(resumed) == NOON + 6 * HOUR
    assert rules.resumed(resumed, NOON + 9 * HOUR) is resumed


def test_new_times_count_from_now_and_other_changes_leave_them():
    before, _ = fired(made("rate(5 hours)"), NOON + 5 * HOUR)
    later = NOON + 7 * HOUR
    same = rules.edited(before, made("rate(5 hours)", at=later, overlap="allow"), later)
    assert rules.next_planned(same) == NOON + 10 * HOUR
    assert (same.overlap, same.created_at) == (Overlap.ALLOW, NOON)
    other = rules.edited(before, made("rate(1 hour)", at=later), later)
    assert rules.next_planned(other) == later + HOUR
    assert other.last_invocation == "run"
    paused = rules.edited(before, made("rate(5 hours)", at=later, paused=True), later)
    assert rules.next_planned(paused) is None
    again = rules.edited(paused, made("rate(5 hours)", at=later), NOON + 21 * HOUR)
    assert rules.next_planned(again) == NOON + 25 * HOUR


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("fire"), st.integers(0, 3 * HOUR)),
            st.tuples(st.just("pause"), st.integers(0, HOUR)),
            st.tuples(st.just("resume"), st.integers(0, HOUR)),
        ),
        max_size=30,
    ),
    st.sampled_from(["cron(0/20 * * * ? *)", "rate(7 minutes)", "cron(30 2 * * ? *)"]),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    st.booleans(),
)
def test_whatever_happens_no_instant_is_decided_twice_or_before_it_came(steps, text, zone, live):
    schedule, now, seen = made(text, timezone=zone), NOON, []
    for step, seconds in steps:
        now += seconds
        if step == "pause":
            schedule = rules.paused(schedule, now)
        elif step == "resume":
            schedule = rules.resumed(schedule, now)
        else:
            schedule, decision = fired(schedule, now, live=live)
            if decision is not None:
                instants = [skipped.planned_at for skipped in decision.skipped]
                instants += [] if decision.run_at is None else [decision.run_at]
                assert all(at <= now for at in instants)
                seen += instants
        at = rules.next_planned(schedule)
        assert at is None or at > schedule.decided_until
    assert seen == sorted(set(seen))


def test_the_sweep_sees_what_was_left_undone():
    schedule = replace(made(), armed_for=NOON + HOUR)
    assert rules.attention(schedule, NOON + HOUR + 10) is None
    assert rules.attention(schedule, NOON + HOUR + 100) is Attention.FIRE
    unarmed = made()
    assert rules.attention(unarmed, NOON + 1) is None
    assert rules.attention(unarmed, NOON + 60) is Attention.ARM
    decision = rules.plan_firing(schedule, NOON + HOUR, False)
    pending = rules.decided(schedule, decision, "run", NOON + HOUR)
    assert rules.attention(pending, NOON + HOUR + 1) is None
    assert rules.attention(pending, NOON + HOUR + 60) is Attention.CARRY_OUT


def test_a_schedule_comes_back_from_the_table_as_it_was():
    schedule = replace(
        made(parameters={"a": [1, None, 2.5]}, priority="low", gap="move", timezone="Asia/Tokyo"),
        pending=Decision(None, "k", (Skipped(NOON + 0.5, "why"),), NOON),
        armed_for=NOON,
        trouble="t",
    )
    item = to_item(schedule)
    assert from_item(item) == schedule
    assert from_item(to_item(made())) == made()
    # No index of invocations may have it.
    assert not {"job", "day", "live_bucket", "waiting", "expire_at"} & set(item)
    assert (item["id"], item["schedules"]) == ({"S": "schedule#s"}, {"S": "all"})


def test_a_message_is_read_as_it_was_written():
    fire = read_message(json.dumps(message_of("s", NOON + 60)))
    assert (fire.schedule_id, fire.planned_at) == ("s", NOON + 60)
    for text in ("{}", "[]", '{"schedule": 1, "planned": "x"}'):
        with pytest.raises(ValueError, match="not a message"):
            read_message(text)


def test_a_schedule_is_shown_with_its_next_runs_as_it_was_understood():
    schedule = made("0 0 9 ? * MON-FRI", timezone="Europe/Berlin", priority="critical")
    shown = show_schedule(schedule, NOON)
    assert shown["expression"] == "cron(0 9 ? * MON-FRI *)"
    assert shown["nextRuns"][:2] == ["2026-01-02T08:00:00.000Z", "2026-01-05T08:00:00.000Z"]
    assert len(shown["nextRuns"]) == 10
    assert (shown["priority"], shown["overlap"], shown["gap"]) == ("critical", "skip", "move")
    paused = show_schedule(rules.paused(schedule, NOON), NOON + 10 * DAY)
    assert paused["nextRuns"][0] == "2026-01-12T08:00:00.000Z"


def test_what_is_left_out_has_its_documented_value():
    schedule = made()
    assert schedule.timezone == "UTC"
    assert (schedule.overlap, schedule.gap, schedule.priority) == (Overlap.SKIP, Gap.MOVE, None)
    assert (schedule.misfire_seconds, schedule.paused, schedule.parameters) == (3600, False, None)
    assert made(priority="low").priority is Priority.LOW


@pytest.mark.parametrize(
    "change",
    [
        {"job": None}, {"job": ""}, {"expression": "every day"}, {"expression": 5},
        {"expression": "cron(0 0 30 2 ? *)"}, {"expression": "cron(0 0 1 1 ? 2020)"},
        {"timezone": "Mars"}, {"timezone": None}, {"priority": "high"}, {"overlap": "queue"},
        {"gap": 1}, {"misfireSeconds": -1}, {"misfireSeconds": True}, {"misfireSeconds": 1e9},
        {"paused": "no"}, {"cron": "x"}, {"parameters": "x" * 70_000},
    ],
)  # fmt: skip
def test_what_cannot_be_a_schedule_is_refused(change):
    with pytest.raises(BadRequestError):
        made(**{"expression": "rate(1 hour)"} | change) if "job" not in change else parse_schedule(
            "s", {"expression": "rate(1 hour)"} | change, owner="o", callback_base_url="", now=NOON
        )


@pytest.mark.parametrize("text", ["", "A", "1a", "a/b", "a" * 41, "a b", "schedule#x"])
def test_what_can_be_no_id_is_refused(text):
    with pytest.raises(NotFoundError):
        parse_schedule_id(text)
    body = {"job": "j", "expression": "rate(1 hour)"}
    with pytest.raises(BadRequestError):
        parse_schedule(text, body, owner="o", callback_base_url="", now=NOON)


def test_pages_are_asked_for_within_bounds():
    assert parse_page({}) == (100, None)
    assert parse_page({"limit": "7", "next": "a"}) == (7, "a")
    for query in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"next": "?"}):
        with pytest.raises(BadRequestError):
            parse_page(query)
