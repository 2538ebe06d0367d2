"""A session's state depends on the received news, and not on their order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.apps import App
from chalicelib.contract import Callback
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.sessions import lifecycle
from chalicelib.sessions.model import NEXT, Reason, Session, State

APP = App(name="chat", image="chat")
ARN = "arn:aws:ecs:us-east-1:123456789012:task/usher/1"
DEFINITION = "arn:aws:ecs:us-east-1:123456789012:task-definition/usher-chat:7"


def queued(owner: str | None = "somebody") -> Session:
    return Session(
        id="6d6cf8ce-6d4e-4a8c-9a38-0c5a51b5b1d3",
        uuid="11111111-1111-4111-8111-111111111111",
        key="secret",
        app="chat",
        owner=owner,
        callback_url="http://dispatcher/sessions/6d6c/events",
        created_at=1000.0,
        not_after=1120.0,
        task_definition=DEFINITION,
    )


def task(version: int = 1, **facts) -> TaskChange:
    facts = {"last_status": "RUNNING", "desired_status": "RUNNING"} | facts
    return TaskChange(task_arn=ARN, version=version, started_by=queued().started_by, **facts)


ACCEPTED = task(1, last_status="PROVISIONING", container_instance_arn="ci")
WAITS = task(1, last_status="PROVISIONING")
RUNNING = task(3, host_port=49153, container_instance_arn="ci")


def launched(s, now):
    return lifecycle.fold_launch(s, ACCEPTED, now)


def running(s, now):
    return lifecycle.fold_task(s, RUNNING, "192.0.2.7", APP, now)


def ready(s, now):
    after = lifecycle.fold_callback(s, Callback.READY, APP, now)
    return s if isinstance(after, lifecycle.Refused) else after


def connected(s, now):
    after = lifecycle.fold_callback(s, Callback.CONNECTED, APP, now)
    return s if isinstance(after, lifecycle.Refused) else after


def disconnected(s, now):
    after = lifecycle.fold_callback(s, Callback.DISCONNECTED, APP, now)
    return s if isinstance(after, lifecycle.Refused) else after


def stopped(s, now):
    gone = task(9, last_status="STOPPED", exit_code=0)
    return lifecycle.fold_task(s, gone, None, APP, now)


def asked_to_stop(s, now):
    return lifecycle.fold_stop(s, Reason.STOPPED, "asked", now)


START = [launched, running, ready]
NEWS = [*START, connected, disconnected, stopped, asked_to_stop]


@given(st.permutations(START * 2))
def test_every_order_of_the_start_ends_in_the_same_reserved_session(news):
    session = queued()
    for at, fold in enumerate(news):
        session = fold(session, 1001.0 + at)
    assert session.state is State.RESERVED
    assert (session.ip, session.port, session.task_arn) == ("192.0.2.7", 49153, ARN)
    assert session.connect_by is not None


@given(st.permutations(START))
def test_without_an_owner_it_becomes_warm(news):
    session = queued(owner=None)
    for at, fold in enumerate(news):
        session = fold(session, 1001.0 + at)
    assert session.state is State.WARM
    assert session.connect_by is None


@given(st.lists(st.sampled_from(NEWS), max_size=20))
def test_states_only_move_forward_and_the_end_is_final(news):
    session = queued()
    for at, fold in enumerate(news):
        before, session = session, fold(session, 1001.0 + at)
        if session.state is not before.state:
            steps = [c.state for c in session.history[len(before.history) :]]
            for one, other in zip([before.state, *steps], steps, strict=False):
                assert other in NEXT[one]
        if before.state is State.ENDED:
            assert session is before
    assert (session.state is State.ENDED) == (
        session.reason is not None and session.ended_at is not None
    )


@given(st.lists(st.sampled_from(NEWS), max_size=12), st.sampled_from(NEWS))
def test_repeating_any_news_at_once_changes_nothing(news, last):
    session = queued()
    for at, fold in enumerate([*news, last]):
        session = fold(session, 1001.0 + at)
    assert last(session, 1100.0) is session


def test_an_older_observation_is_ignored():
    session = running(launched(queued(), 1001.0), 1002.0)
    assert lifecycle.fold_task(session, task(2, host_port=1), "10.0.0.1", APP, 1003.0) is session


def test_another_task_of_the_same_session_has_no_claim():
    session = launched(queued(), 1001.0)
    other = replace(task(9, last_status="STOPPED"), task_arn=ARN + "2")
    assert lifecycle.fold_task(session, other, None, APP, 1003.0) is session
    assert not session.has_claim_to(other.task_arn)


def test_a_healthy_container_that_does_not_call_back_is_ready():
    session = running(launched(queued(), 1001.0), 1002.0)
    healthy = lifecycle.fold_task(session, task(5, health_status="HEALTHY"), None, APP, 1009.0)
    assert healthy.state is State.RESERVED


def test_nobody_connects_to_a_warm_container():
    session = queued(owner=None)
    for fold in START:
        session = fold(session, 1001.0)
    told = lifecycle.fold_callback(session, Callback.CONNECTED, APP, 1002.0)
    assert isinstance(told, lifecycle.Refused)


def test_an_ended_session_hears_nothing():
    session = asked_to_stop(queued(), 1001.0)
    assert session.state is State.ENDED
    for callback in Callback:
        assert isinstance(
            lifecycle.fold_callback(session, callback, APP, 1002.0), lifecycle.Refused
        )


def until(*folds):
    session = queued()
    for at, fold in enumerate(folds):
        session = fold(session, 1001.0 + at)
    return session


def reason_after(session: Session, **facts) -> Reason | None:
    gone = task(9, last_status="STOPPED", **facts)
    return lifecycle.fold_task(session, gone, None, APP, 1100.0).reason


def test_the_end_tells_why():
    starting, reserved = until(launched), until(*START)
    active = until(*START, connected)
    assert reason_after(starting, exit_code=1) is Reason.FAILED_TO_START
    assert reason_after(starting, container_reason="CannotPullContainerError: no") is (
        Reason.FAILED_TO_START
    )
    assert reason_after(reserved, exit_code=0) is Reason.NEVER_CONNECTED
    assert reason_after(active, exit_code=0) is Reason.DISCONNECTED
    assert reason_after(active, exit_code=137) is Reason.LOST
    assert reason_after(active, stopped_reason="Host EC2 (instance i-1) terminated.") is Reason.LOST
    assert reason_after(active, stopped_reason="Task failed container health checks") is (
        Reason.UNHEALTHY
    )
    assert reason_after(active, stop_code="UserInitiated", exit_code=143) is Reason.STOPPED


def test_a_reason_known_before_the_end_explains_the_exit_code():
    leaving = until(*START, connected, disconnected)
    assert leaving.state is State.STOPPING
    assert reason_after(leaving, exit_code=137) is Reason.DISCONNECTED


def test_why_the_feed_failed_is_in_the_record():
    active = until(*START, connected)
    words = "feed_failed: stream updates: ResourceNotFoundException"
    leaving = lifecycle.fold_callback(active, Callback.STOPPING, APP, 1009.0, words)
    assert isinstance(leaving, Session)
    gone = task(9, last_status="STOPPED", exit_code=1)
    ended = lifecycle.fold_task(leaving, gone, None, APP, 1010.0)
    assert (ended.reason, ended.detail) == (Reason.UNHEALTHY, words.partition(": ")[2])


def test_the_containers_own_words_survive_to_the_end():
    session = lifecycle.fold_callback(
        until(launched), Callback.FAILED, APP, 1002.0, "stream x does not exist"
    )
    assert isinstance(session, Session)
    gone = task(9, last_status="STOPPED", exit_code=1)
    ended = lifecycle.fold_task(session, gone, None, APP, 1003.0)
    assert (ended.reason, ended.detail) == (Reason.FAILED_TO_START, "stream x does not exist")


def waiting(owner: str | None = "somebody") -> Session:
    return lifecycle.fold_launch(queued(owner), WAITS, 1001.0)


NO_HOST = task(
    4, last_status="STOPPED", stop_code="TaskFailedToStart", stopped_reason="RESOURCE:MEMORY"
)


def test_a_task_without_a_host_leaves_the_session_queued():
    session = waiting()
    assert (session.state, session.task_arn) == (State.QUEUED, ARN)
    assert session.detail == lifecycle.WAITS
    placed = lifecycle.fold_task(session, task(2, last_status="PENDING"), None, APP, 1500.0)
    assert (placed.state, placed.changed_at, placed.detail) == (State.STARTING, 1500.0, None)


def test_a_container_that_calls_first_has_a_host():
    called = lifecycle.fold_callback(waiting(), Callback.READY, APP, 1500.0)
    assert called.state is State.STARTING
    reached = lifecycle.fold_task(called, RUNNING, "192.0.2.1", APP, 1501.0)
    assert reached.state is State.RESERVED


def test_at_the_deadline_the_task_that_waits_is_to_be_stopped():
    assert lifecycle.expire(waiting(), 1119.9) == waiting()
    leaving = lifecycle.expire(waiting(), 1120.0)
    assert (leaving.state, leaving.reason) == (State.STOPPING, Reason.QUEUE_TIMEOUT)
    stopped = task(5, last_status="STOPPED", stop_code="UserInitiated", stopped_reason="no host")
    ended = lifecycle.fold_task(leaving, stopped, None, APP, 1121.0)
    assert (ended.state, ended.reason) == (State.ENDED, Reason.QUEUE_TIMEOUT)


def test_a_host_at_the_deadline_wins_if_it_was_seen_first():
    placed = lifecycle.fold_task(waiting(), task(2, last_status="PENDING"), None, APP, 1120.0)
    assert lifecycle.expire(placed, 1120.0) == placed


def test_a_task_that_ecs_gave_up_for_want_of_room_is_tried_again_until_the_deadline():
    again = lifecycle.fold_task(waiting(), NO_HOST, None, APP, 1119.0)
    assert (again.state, again.task_arn, again.attempt) == (State.QUEUED, None, 2)
    late = lifecycle.fold_task(waiting(), NO_HOST, None, APP, 1120.0)
    assert (late.state, late.reason) == (State.ENDED, Reason.QUEUE_TIMEOUT)
    pooled = lifecycle.fold_task(waiting(None), NO_HOST, None, APP, 1002.0)
    assert (pooled.state, pooled.reason) == (State.ENDED, Reason.QUEUE_TIMEOUT)


def test_the_owner_may_leave_while_waiting():
    leaving = lifecycle.fold_stop(waiting(), Reason.STOPPED, "asked", 1002.0)
    assert (leaving.state, leaving.task_arn) == (State.STOPPING, ARN)


@pytest.mark.parametrize(
    ("ran_for", "exit_code", "owner", "reason"),
    [
        (APP.connect_deadline_seconds, 0, "ann", Reason.NEVER_CONNECTED),
        (APP.connect_deadline_seconds - 1, 0, "ann", Reason.FAILED_TO_START),
        (APP.connect_deadline_seconds, 1, "ann", Reason.FAILED_TO_START),
        (APP.connect_deadline_seconds, 0, None, Reason.FAILED_TO_START),
    ],
)
def test_one_that_waited_for_its_client_without_its_ready_is_no_failed_start(
    ran_for, exit_code, owner, reason
):
    session = replace(until(launched), owner=owner)
    gone = task(9, last_status="STOPPED", exit_code=exit_code)
    ended = lifecycle.fold_task(session, gone, None, APP, session.changed_at + ran_for)
    assert (ended.state, ended.reason) == (State.ENDED, reason)
