"""The sweep repairs the effects of lost messages, events, answers and tasks."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.ecs.task_changes import SETTLE_SECONDS
from chalicelib.jobs import lifecycle
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.reaping import (
    LEASE_SECONDS,
    MARGIN_SECONDS,
    START_DEADLINE_SECONDS,
    STOP_SECONDS,
    ComeDue,
    Expire,
    Forget,
    LaunchAgain,
    NeverAsked,
    StopTask,
    TimeUp,
    plan_reaping,
)
from chalicelib.tasks.repairs import Observe, StopOrphan
from tests.unit.chalicelib.jobs.examples import (
    CREATED,
    NO_ROOM,
    NOT_AFTER,
    OTHER_ARN,
    PROCESS,
    accepted,
    claimed,
    killed,
    launched,
    queued,
    scheduled,
    started,
    stopped,
    task,
)


def plan(invocation: Invocation, seconds: float, *tasks):
    """Returns the actions this many seconds after the last change."""
    by_arn = {one.task_arn: one for one in tasks}
    return list(plan_reaping([invocation], by_arn, invocation.changed_at + seconds))


def nameless() -> Invocation:
    """Started by a container that had no task ARN."""
    after = lifecycle.give_permit(claimed(), 1, None, PROCESS, CREATED)
    assert isinstance(after, Invocation)
    return after


def test_what_is_as_it_should_be_is_left_alone():
    assert plan(scheduled(at=CREATED + 999), 500) == []
    assert plan(accepted(), SETTLE_SECONDS) == []
    assert plan(queued(), 500) == []
    assert plan(claimed(), LEASE_SECONDS) == []
    assert plan(launched(), START_DEADLINE_SECONDS, task()) == []
    assert plan(started(), 600 + MARGIN_SECONDS, task(5)) == []
    assert plan(killed(started()), STOP_SECONDS, task()) == []


def test_a_deferred_one_without_a_message_comes_due():
    due = scheduled(at=2_000.0)
    assert list(plan_reaping([due], {}, 2_000.0)) == [ComeDue(due)]


@pytest.mark.parametrize("before", [accepted(), queued()])
def test_who_waited_for_too_long_is_expired(before):
    assert plan(before, NOT_AFTER - CREATED) == [Expire(before)]


def test_a_forgotten_claim_is_launched_again_unless_it_is_too_late():
    assert plan(claimed(), LEASE_SECONDS + 1) == [LaunchAgain(claimed())]
    late = claimed(now=NOT_AFTER - 10)
    assert plan(late, LEASE_SECONDS + 1) == [Expire(late)]
    assert plan(killed(claimed()), LEASE_SECONDS + 1) == [Forget(killed(claimed()))]


@pytest.mark.parametrize("before", [launched(), started(), killed(launched()), nameless()])
def test_a_task_that_ecs_knows_nothing_of_is_gone(before):
    assert plan(before, SETTLE_SECONDS) == []
    seconds = max(SETTLE_SECONDS, LEASE_SECONDS) + 1
    assert plan(before, seconds) == [Forget(before)]


@pytest.mark.parametrize("before", [claimed(), nameless(), killed(claimed())])
def test_a_task_whose_name_is_not_known_yet_is_adopted(before):
    assert plan(before, 1, task())[0] == Observe(task())


def test_an_end_without_an_event_is_observed():
    for before in (launched(), started(), killed(started())):
        assert plan(before, 1, stopped()) == [Observe(stopped())]


@pytest.mark.parametrize(
    "orphan",
    [
        task(arn=OTHER_ARN),
        task(arn=OTHER_ARN, attempt=2),
        replace(
            task(), task_arn=OTHER_ARN, started_by="job/00000000-0000-4000-8000-000000000000/1"
        ),
    ],
)
def test_a_task_that_nobody_claims_is_stopped_once(orphan):
    assert plan(launched(), 1, task(), orphan) == [StopOrphan(orphan)]
    assert plan(launched(), 1, task(), replace(orphan, last_status="STOPPED")) == []


def test_a_task_of_an_attempt_that_is_over_is_an_orphan():
    waits = lifecycle.fold_refusal(claimed(), 1, NO_ROOM, CREATED)
    assert plan(waits, 1, task()) == [StopOrphan(task())]


def test_tasks_of_others_are_nobody_s_business_here():
    of_a_session = replace(task(arn=OTHER_ARN), started_by="session/x")
    assert plan(launched(), 1, task(), of_a_session) == []
    assert plan(launched(), 1, task(), replace(of_a_session, started_by=None)) == []


def test_who_never_asks_for_leave_or_does_not_stop_is_stopped():
    assert plan(launched(), START_DEADLINE_SECONDS + 1, task()) == [NeverAsked(launched())]
    before = killed(started())
    assert plan(before, STOP_SECONDS + 1, task()) == [StopTask(before)]


def test_who_runs_for_longer_than_its_job_may_is_out_of_time():
    assert plan(started(), 600 + MARGIN_SECONDS + 1, task()) == [TimeUp(started())]


WITH_A_TASK = [
    claimed(), launched(), started(), nameless(), killed(claimed()), killed(started()),
]  # fmt: skip


@given(st.floats(0, 1e6), st.sampled_from(WITH_A_TASK))
def test_its_own_task_is_no_orphan_and_not_forgotten_while_it_is_seen(seconds, before):
    taken = {type(action) for action in plan(before, seconds, task())}
    assert not taken & {StopOrphan, Forget, LaunchAgain, Expire}


@given(st.floats(START_DEADLINE_SECONDS + 1, 3e6), st.sampled_from(WITH_A_TASK))
def test_nothing_without_a_task_is_stuck_for_ever(seconds, before):
    """An invocation without news is changed after its deadlines."""
    assert plan(before, seconds)
