"""The sweep's plan: what is repaired, and what is left alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.dynamodb.comparisons import get_filter_expression
from moto.dynamodb.models.dynamo_type import DynamoType, Item

from chalicelib.config import load_config
from chalicelib.dynamodb.expressions import expressions
from chalicelib.sessions import lifecycle, reaping
from chalicelib.sessions.items import to_item
from chalicelib.sessions.model import Reason, State
from chalicelib.sessions.sweep import SessionsKind
from chalicelib.tasks.repairs import Observe, StopOrphan
from tests.unit.chalicelib.test_lifecycle import (
    APP,
    ARN,
    RUNNING,
    START,
    WAITS,
    asked_to_stop,
    connected,
    disconnected,
    launched,
    queued,
    task,
    until,
)

NOW = 10_000.0


class OnlyOfFile:
    """The catalog of a deployment in which no app was registered."""

    def __init__(self, config):
        self._apps = config.apps

    def all(self):
        return self._apps.by_name

    def of(self, session):
        return self._apps.get(session.app)


def plan(*sessions, tasks=(), now=NOW):
    by_arn = {t.task_arn: t for t in tasks}
    return list(reaping.plan_reaping(sessions, by_arn, {"chat": APP}, now))


def test_all_in_order_means_nothing_to_do():
    session = replace(until(*START, connected), created_at=NOW - 60)
    assert plan(session, tasks=[RUNNING]) == []


def test_a_task_without_a_record_is_an_orphan():
    assert plan(tasks=[RUNNING]) == [StopOrphan(RUNNING)]


def test_a_task_of_somebody_else_is_left_alone():
    assert plan(tasks=[replace(RUNNING, started_by="deploy")]) == []
    assert plan(tasks=[replace(RUNNING, started_by=None)]) == []


def test_a_second_task_of_a_session_is_an_orphan():
    session = replace(until(*START, connected), created_at=NOW)
    second = replace(RUNNING, task_arn=ARN + "2")
    assert plan(session, tasks=[RUNNING, second]) == [StopOrphan(second)]


def test_a_stopped_task_is_no_orphan():
    assert plan(tasks=[task(9, last_status="STOPPED")]) == []


def test_what_an_event_failed_to_tell_is_observed():
    starting = until(launched)
    assert plan(starting, tasks=[RUNNING], now=1002.0) == [Observe(RUNNING)]


def test_a_running_task_whose_address_was_not_to_be_had_is_looked_at_again():
    session = lifecycle.fold_task(until(launched), RUNNING, None, APP, 1001.0)
    assert session.task_version == RUNNING.version
    assert plan(session, tasks=[RUNNING], now=1002.0) == [Observe(RUNNING)]
    found = lifecycle.fold_task(session, RUNNING, "192.0.2.7", APP, 1002.0)
    assert found.is_reachable
    assert plan(found, tasks=[RUNNING], now=1002.0) == []


def test_a_task_that_nobody_wrote_down_is_adopted():
    assert plan(queued(), tasks=[RUNNING], now=1002.0) == [Observe(RUNNING)]


def test_a_vanished_task_ends_its_session_but_not_at_once():
    session = until(*START, connected)
    assert plan(session, now=session.changed_at + 1) == []
    assert plan(session, now=session.changed_at + 16) == [reaping.EndLost(session)]


def test_a_recorded_session_that_nobody_launched_is_launched():
    assert plan(queued(), now=1030.0) == []
    assert plan(queued(), now=1046.0) == [reaping.Relaunch(queued())]


def test_a_session_that_waits_is_left_to_its_message_until_that_is_overdue():
    waiting = replace(queued(), tried_at=1080.0, retry_after_seconds=30)
    assert plan(waiting, now=1110.0) == []
    assert plan(replace(waiting, not_after=2000.0), now=1150.0) == []
    assert plan(replace(waiting, not_after=2000.0), now=1156.0) != []
    assert plan(waiting, now=1121.0) == [reaping.Relaunch(waiting)]


@pytest.mark.parametrize(
    ("session", "after", "expected"),
    [
        (until(launched), 301, Reason.FAILED_TO_START),  # it has no address to be asked at
        (until(*START, connected, disconnected), 21, Reason.DISCONNECTED),
        (until(*START, connected), APP.max_session_seconds + 301, Reason.EXPIRED),
    ],
)
def test_the_overdue_are_stopped_after_their_time_and_not_before(session, after, expected):
    status = "RUNNING" if session.is_reachable else "PENDING"
    seen = replace(RUNNING, version=session.task_version, last_status=status)
    early = plan(session, tasks=[seen], now=session.changed_at + 5)
    late = plan(session, tasks=[seen], now=max(session.changed_at, session.created_at) + after)
    assert early == []
    assert [(type(a), a.reason) for a in late] == [(reaping.Stop, expected)]


def test_the_life_of_a_pooled_session_begins_with_its_claim():
    session = replace(until(*START, connected), pooled=True)
    seen = replace(RUNNING, version=session.task_version)
    overdue = session.created_at + APP.max_session_seconds + 301
    assert plan(session, tasks=[seen], now=overdue) == []
    assert plan(session, tasks=[seen], now=overdue + APP.pool.max_age_seconds) != []


def test_a_reserved_session_is_asked_before_it_is_stopped():
    session = until(*START)
    assert session.state is State.RESERVED
    assert session.connect_by is not None
    assert plan(session, tasks=[RUNNING], now=session.connect_by + 5) == []
    assert plan(session, tasks=[RUNNING], now=session.connect_by + 11) == [
        reaping.AskWhetherConnected(session)
    ]


def test_a_reserved_session_that_cannot_be_asked_has_more_time():
    session = until(*START)

    def unasked(now):
        seen = {RUNNING.task_arn: replace(RUNNING, version=session.task_version)}
        return list(reaping.plan_reaping([session], seen, {"chat": APP}, now, can_ask=False))

    assert session.connect_by is not None
    assert unasked(session.connect_by + 299) == []
    [stop] = unasked(session.connect_by + 301)
    assert (type(stop), stop.reason) == (reaping.Stop, Reason.NEVER_CONNECTED)


STARTING = lifecycle.fold_task(until(launched), RUNNING, "192.0.2.7", APP, 1001.0)


def starting(seconds, **facts):
    since = STARTING.changed_at
    seen = replace(RUNNING, pull_started_at=since)
    return list(
        reaping.plan_reaping(
            [STARTING], {RUNNING.task_arn: seen}, {"chat": APP}, since + seconds, **facts
        )
    )


def test_a_container_whose_ready_was_not_received_is_queried_before_it_is_stopped():
    assert STARTING.state is State.STARTING
    assert starting(60) == []
    assert starting(61) == [reaping.AskWhetherReady(STARTING, is_late=False)]
    assert starting(301) == [reaping.AskWhetherReady(STARTING, is_late=True)]
    assert starting(300, can_ask=False) == []
    [stop] = starting(301, can_ask=False)
    assert (type(stop), stop.reason) == (reaping.Stop, Reason.FAILED_TO_START)


def test_what_ecs_says_of_its_task_is_taken_in_before_it_is_asked_or_stopped():
    """Its event was not heard either: the record has no address yet."""
    seen = replace(RUNNING, pull_started_at=1000.0)
    (observe,) = plan(until(launched), tasks=[seen], now=2000.0)
    assert observe == Observe(seen)


def test_one_that_is_found_ready_is_nobodys_or_its_owners():
    assert lifecycle.found_ready(replace(STARTING, owner=None), APP, 1400.0).state is State.WARM
    found = lifecycle.found_ready(STARTING, APP, 1400.0)
    assert (found.state, found.ready_at) == (State.RESERVED, 1400.0)
    assert lifecycle.found_ready(found, APP, 1500.0) is found


@pytest.mark.parametrize(
    ("reach", "asks"),
    [
        ({"ADDRESSES": "public"}, True),
        ({"ADDRESSES": "private"}, False),
        ({"ADDRESSES": "public", "PROBES": "off"}, False),  # a closed ClientCidr
    ],
)
def test_the_sweep_asks_only_containers_that_it_can_reach(reach, asks):
    session = until(*START)
    assert session.connect_by is not None
    config = load_config({"STAGE": "test"} | reach)
    nothing = dict.fromkeys(
        (
            "table",
            "records",
            "launches",
            "sessions",
            "pools",
            "queue",
            "hosts_wanted",
            "metrics",
            "unreadable",
        )
    )
    asked = []
    kind = SessionsKind(
        **nothing,
        apps=OnlyOfFile(config),
        config=config,
        probe=asked.append,
        now=lambda: session.connect_by + 60,
    )
    seen = {RUNNING.task_arn: replace(RUNNING, version=session.task_version)}
    names = [name for name, _ in kind.steps(list(kind.plan(session, seen)))]
    assert names == (["NotAsked"] if asks else [])
    assert asked == (["http://192.0.2.7:49153/healthz"] if asks else [])


def test_an_app_that_was_taken_away_does_not_kill_its_sessions():
    session = replace(until(*START, connected), app="gone")
    assert plan(session, tasks=[RUNNING]) == []


WAITING = lifecycle.fold_launch(queued(), WAITS, 1001.0)


def test_waiting_for_a_host_is_no_start_and_ends_at_its_deadline_only():
    waiting = replace(WAITING, not_after=9_000.0)
    assert plan(waiting, tasks=[replace(WAITS, version=0)], now=8_999.0) == []
    (late,) = plan(waiting, tasks=[replace(WAITS, version=0)], now=9_000.0)
    assert late == reaping.Expire(waiting)


def test_the_start_deadline_counts_from_the_hosts_beginning():
    starting = until(launched)
    pulling = replace(RUNNING, version=0, last_status="PENDING", pull_started_at=9_000.0)
    assert plan(starting, tasks=[pulling], now=9_300.0) == []
    (late,) = plan(starting, tasks=[pulling], now=9_301.0)
    assert late.reason is Reason.FAILED_TO_START


def test_a_session_that_ecs_accepted_a_moment_ago_is_not_lost():
    waiting = replace(WAITING, tried_at=9_000.0, not_after=20_000.0)
    assert plan(waiting, now=9_014.0) == []
    assert plan(waiting, now=9_016.0) == [reaping.EndLost(waiting)]


ENDS_ONE = (reaping.Stop, reaping.Expire, reaping.AskWhetherConnected)
instants = st.floats(min_value=1_000, max_value=20_000).map(lambda at: round(at, 3))


@given(
    folds=st.sampled_from(
        [(), START[:1], START[:2], START, (*START, connected), (*START, asked_to_stop)]
    ),
    pooled=st.booleans(),
    owner=st.sampled_from([None, "ann"]),
    now=instants,
    tasks=st.sampled_from([WAITS, RUNNING, replace(RUNNING, pull_started_at=5_000.0)]),
    connect_by=st.none() | instants,
    not_after=instants,
)
def test_the_filters_let_everything_through_that_is_overdue(
    folds, pooled, owner, now, tasks, connect_by, not_after
):
    session = replace(
        until(*folds), pooled=pooled, owner=owner, connect_by=connect_by, not_after=not_after
    )
    seen = replace(tasks, version=session.task_version)
    if any(isinstance(action, ENDS_ONE) for action in plan(session, tasks=[seen], now=now)):
        is_old = session.created_at <= reaping.too_old_since([APP], now)
        assert matches(reaping.looks_overdue(now), session) or (
            is_old and matches(reaping.SERVED, session)
        )


def matches(condition, session):
    """By the evaluator of the embedded DynamoDB."""
    request = expressions(only=condition)
    names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
    found = get_filter_expression(request["FilterExpression"], names, values)
    item = Item(DynamoType({"S": session.id}), None, to_item(session))
    return found.expr(item)
