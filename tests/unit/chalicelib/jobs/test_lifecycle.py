"""An invocation's state depends on the received news, and not on their order."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.contract.jobs import EXIT_NOT_RUN, EXIT_TIMED_OUT, Outcome
from chalicelib.jobs import lifecycle
from chalicelib.jobs.lifecycle import MAX_START_FAILURES, Refused
from chalicelib.jobs.model import ENDS, KEPT_CHANGES, NEXT, Invocation, Reason, State
from tests.unit.chalicelib.jobs.examples import (
    ARN,
    CREATED,
    DEFINITION,
    NO_ROOM,
    NOT_AFTER,
    OTHER_ARN,
    OTHER_PROCESS,
    PROCESS,
    REQUEST,
    SILENT,
    THROTTLED,
    WRONG,
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

NOW = CREATED + 7


def report(
    invocation: Invocation, outcome: Outcome = Outcome.SUCCEEDED, code: int = 0, **facts: Any
) -> Invocation:
    """Returns the invocation after its container's report."""
    told: dict[str, Any] = {"detail": "", "result": None, "usage": None, "now": NOW} | facts
    process = told.pop("process", PROCESS)
    after = lifecycle.fold_finish(invocation, process, outcome, exit_code=code, **told)
    assert isinstance(after, Invocation), after
    return after


def request_permit(
    invocation: Invocation, attempt: int = 1, arn: str | None = ARN, process: str = PROCESS
) -> Invocation | Refused:
    return lifecycle.give_permit(invocation, attempt, arn, process, NOW)


# The start permit.


@pytest.mark.parametrize("before", [claimed(), launched()])
@pytest.mark.parametrize("arn", [ARN, None])
def test_leave_is_given_to_the_current_attempt(before, arn):
    after = request_permit(before, arn=arn)
    assert after.state is State.STARTED
    assert (after.permit.process, after.started_at) == (PROCESS, NOW)
    assert after.task_arn == (arn or before.task_arn)


def test_the_same_process_may_ask_again_and_no_other_ever():
    once = request_permit(launched())
    assert request_permit(once) is once
    for before in (once, killed(once), report(once)):
        assert isinstance(request_permit(before, process=OTHER_PROCESS), Refused)
        assert isinstance(request_permit(before, arn=OTHER_ARN, process=OTHER_PROCESS), Refused)
    assert isinstance(request_permit(killed(once)), Refused), (
        "the answer was lost, and a kill came first"
    )


@pytest.mark.parametrize(
    "before",
    [
        scheduled(),
        accepted(),
        queued(),
        killed(queued()),
        killed(claimed()),
        killed(launched()),
        report(started()),
        lifecycle.expire(queued(), NOW),
        lifecycle.skipped(accepted(), "busy", NOW),
    ],
    ids=lambda invocation: f"{invocation.state}",
)
def test_nothing_starts_in_any_other_state(before):
    assert isinstance(request_permit(before), Refused)


def test_an_attempt_that_is_over_gets_no_leave():
    second = claimed(lifecycle.fold_refusal(claimed(), 1, NO_ROOM, NOW))
    assert second.attempt == 2
    assert isinstance(request_permit(second, attempt=1), Refused)
    assert isinstance(request_permit(second, attempt=3), Refused)
    assert request_permit(second, attempt=2).state is State.STARTED


def test_a_second_task_of_the_same_attempt_gets_no_leave():
    assert isinstance(request_permit(launched(), arn=OTHER_ARN), Refused)


def test_a_container_that_is_quicker_than_the_answer_of_runtask_keeps_its_task():
    nameless = request_permit(claimed(), arn=None)
    assert nameless.task_arn is None
    after = lifecycle.fold_launch(nameless, 1, task(), NOW)
    assert (after.state, after.task_arn) == (State.STARTED, ARN)
    named = request_permit(claimed(), arn=OTHER_ARN)
    assert lifecycle.fold_launch(named, 1, task(), NOW) is named


# Results of RunTask.


@pytest.mark.parametrize("error", [NO_ROOM, THROTTLED])
def test_without_room_it_waits_longer_each_time(error):
    before, pauses = claimed(), []
    for attempt in range(1, 9):
        after = lifecycle.fold_refusal(before, attempt, error, NOW)
        assert (after.state, after.attempt, after.refusals) == (State.QUEUED, attempt + 1, attempt)
        assert (after.request, after.task_arn, after.attempt_counters) == (None, None, ())
        pauses.append(after.next_try_at - NOW)
        before = claimed(after)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert str(error) in before.detail


def test_one_that_found_room_has_found_none_no_times_in_a_row():
    before = claimed(lifecycle.fold_refusal(claimed(), 1, NO_ROOM, NOW))
    after = lifecycle.fold_launch(before, 2, task(attempt=2), NOW)
    assert (after.refusals, after.next_try_at) == (0, None)


def test_silence_of_runtask_changes_nothing_as_it_may_run():
    for before in (claimed(), killed(claimed())):
        assert lifecycle.fold_refusal(before, 1, SILENT, NOW) is before


def test_a_request_that_is_wrong_is_the_end_with_ecs_s_words():
    after = lifecycle.fold_refusal(claimed(), 1, WRONG, NOW)
    assert (after.state, after.reason) == (State.FINISHED, Reason.START_FAILED)
    assert after.detail == str(WRONG)


@pytest.mark.parametrize("error", [NO_ROOM, WRONG, THROTTLED])
@pytest.mark.parametrize("before", [launched(), started(), killed(launched()), report(started())])
def test_a_refusal_that_something_overtook_is_no_news(before, error):
    assert lifecycle.fold_refusal(before, 1, error, NOW) is before
    assert lifecycle.fold_refusal(claimed(), 7, error, NOW).state is State.LAUNCHING


def test_one_that_is_killed_meanwhile_and_finds_no_room_is_over():
    after = lifecycle.fold_refusal(killed(claimed()), 1, NO_ROOM, NOW)
    assert (after.state, after.reason, after.attempt_counters) == (
        State.FINISHED,
        Reason.KILLED,
        (),
    )


def test_one_that_is_killed_while_it_is_launched_learns_its_task():
    after = lifecycle.fold_launch(killed(claimed()), 1, task(), NOW)
    assert (after.state, after.task_arn) == (State.KILL_INITIATED, ARN)


# Reports of ECS on the task.


@pytest.mark.parametrize("code", [0, 1, 75, 137, None])
@pytest.mark.parametrize("before", [claimed(), launched()])
def test_what_ends_before_the_fence_is_tried_again(before, code):
    after = lifecycle.fold_task(before, 1, stopped(code), NOW)
    assert (after.state, after.attempt, after.start_failures) == (State.QUEUED, 2, 1)
    assert (after.exit_code, after.attempt_counters, after.task_arn) == (None, (), None)
    assert after.next_try_at == NOW + 1


def test_after_so_many_starts_it_is_given_up():
    before = claimed()
    for attempt in range(1, MAX_START_FAILURES + 1):
        gone = stopped(None, attempt=attempt, container_reason="CannotPullContainerError: nope")
        after = lifecycle.fold_task(before, attempt, gone, NOW)
        if attempt < MAX_START_FAILURES:
            before = claimed(after)
    assert (after.state, after.reason) == (State.FINISHED, Reason.START_FAILED)
    assert "CannotPullContainerError: nope" in after.detail
    assert after.exit_code is None


def test_a_host_that_goes_before_the_fence_is_no_failure_of_the_job():
    gone = stopped(None, stopped_reason="Host EC2 (instance i-1) terminated.")
    after = lifecycle.fold_task(launched(), 1, gone, NOW)
    assert (after.state, after.start_failures, after.attempt) == (State.QUEUED, 0, 2)


@pytest.mark.parametrize(
    ("code", "now", "reason"),
    [
        (None, NOW, Reason.LOST),
        (0, NOW, Reason.SUCCEEDED),
        (1, NOW, Reason.FAILED),
        (137, NOW, Reason.FAILED),
        (EXIT_NOT_RUN, NOW, Reason.FAILED),
        (EXIT_TIMED_OUT, CREATED + 599, Reason.FAILED),
        (EXIT_TIMED_OUT, CREATED + 600, Reason.TIMED_OUT),
    ],
)
def test_what_ends_behind_the_fence_without_a_report_is_never_tried_again(code, now, reason):
    after = lifecycle.fold_task(started(), 1, stopped(code), now)
    assert (after.state, after.reason, after.attempt) == (State.FINISHED, reason, 1)
    assert after.exit_code == code
    assert after.attempt_counters == ()


def test_one_that_never_received_its_permit_is_reported_as_such():
    after = lifecycle.fold_task(started(), 1, stopped(EXIT_NOT_RUN), NOW)
    assert "nothing ran" in after.detail
    assert after.attempt == 1


@pytest.mark.parametrize("gone", [stopped(None), stopped(143)])
def test_what_is_killed_ends_killed_whether_it_had_started_or_not(gone):
    for before in (claimed(), launched(), started()):
        after = lifecycle.fold_task(killed(before), 1, gone, NOW)
        assert (after.state, after.reason, after.attempt) == (State.FINISHED, Reason.KILLED, 1)


def test_old_news_and_news_of_other_tasks_change_nothing():
    seen = lifecycle.fold_task(request_permit(claimed(), arn=None), 1, task(5), NOW)
    assert (seen.task_version, seen.task_arn) == (5, ARN)
    for change in (task(5), task(4), task(6), stopped(0, version=5)):
        assert lifecycle.fold_task(seen, 1, change, NOW) is seen
    assert lifecycle.fold_task(seen, 2, stopped(attempt=2), NOW) is seen
    assert lifecycle.fold_task(seen, 1, stopped(arn=OTHER_ARN), NOW) is seen
    ended = report(started())
    assert lifecycle.fold_task(ended, 1, stopped(1), NOW) is ended
    waits = lifecycle.fold_refusal(claimed(), 1, NO_ROOM, NOW)
    assert lifecycle.fold_task(waits, 2, stopped(attempt=2), NOW) is waits


def test_a_task_that_ecs_forgot_is_lost_behind_the_fence_and_tried_again_before_it():
    assert lifecycle.forgotten(launched(), NOW).state is State.QUEUED
    lost = lifecycle.forgotten(started(), NOW)
    assert (lost.reason, lost.exit_code) == (Reason.LOST, None)
    assert lost.detail.startswith("may have run")
    for before in (claimed(), started()):
        assert lifecycle.forgotten(killed(before), NOW).reason is Reason.KILLED
    for before in (accepted(), queued(), scheduled(), lost):
        assert lifecycle.forgotten(before, NOW) is before


def test_a_task_that_never_asked_is_a_failed_start_and_would_ask_in_vain():
    after = lifecycle.never_asked(launched(), NOW)
    assert (after.state, after.attempt, after.start_failures) == (State.QUEUED, 2, 1)
    assert isinstance(request_permit(after), Refused)
    for before in (started(), killed(launched()), queued(), report(started())):
        assert lifecycle.never_asked(before, NOW) is before
    last = replace(launched(), start_failures=MAX_START_FAILURES - 1)
    assert lifecycle.never_asked(last, NOW).reason is Reason.START_FAILED


# Reports of the container.


@pytest.mark.parametrize("outcome", Outcome)
def test_a_report_is_the_end_in_the_container_s_words(outcome):
    code = 0 if outcome is Outcome.SUCCEEDED else 3
    after = report(started(), outcome, code, result={"rows": 3}, detail="words")
    assert (after.state, after.reason, after.exit_code) == (State.FINISHED, Reason(outcome), code)
    assert (after.result, after.detail, after.attempt_counters) == ({"rows": 3}, "words", ())
    assert report(after, Outcome.FAILED, 9) is after


def test_a_report_without_a_permit_is_refused():
    for before in (launched(), started()):
        process = OTHER_PROCESS if before.permit else PROCESS
        told = lifecycle.fold_finish(
            before,
            process,
            Outcome.SUCCEEDED,
            exit_code=0,
            detail="",
            result=1,
            usage=None,
            now=NOW,
        )
        assert isinstance(told, Refused)
        assert isinstance(lifecycle.fold_progress(before, process, 0.5, "", NOW), Refused)
    assert isinstance(lifecycle.fold_progress(report(started()), PROCESS, 1.0, "", NOW), Refused)


def test_the_newest_progress_is_kept():
    after = lifecycle.fold_progress(started(), PROCESS, 0.5, "half", NOW)
    assert (after.progress.fraction, after.progress.message, after.progress.at) == (
        0.5,
        "half",
        NOW,
    )


def test_a_job_whose_time_is_up_did_not_end_because_somebody_killed_it():
    late = lifecycle.ask_for_end(started(), "its 600 s were over", NOW, Reason.TIMED_OUT)
    assert report(late, Outcome.KILLED, 143).reason is Reason.TIMED_OUT
    assert lifecycle.fold_task(late, 1, stopped(143), NOW).reason is Reason.TIMED_OUT
    assert report(late).reason is Reason.SUCCEEDED, "it was done before it was told to stop"


# Waiting and its end.


def test_a_deferred_one_comes_due_at_its_time_and_not_before():
    before = scheduled(at=2_000.0)
    assert lifecycle.came_due(before, 7, 1_999.9) is before
    after = lifecycle.came_due(before, 7, 2_000.0)
    assert (after.state, after.turn) == (State.QUEUED, 7)
    assert lifecycle.came_due(after, 8, 3_000.0) is after


def test_what_is_accepted_is_queued_once():
    once = queued()
    assert (once.state, once.queued_at) == (State.QUEUED, CREATED)
    assert lifecycle.queue(once, NOW) is once
    assert lifecycle.queue(claimed(), NOW).state is State.LAUNCHING


@pytest.mark.parametrize("before", [scheduled(), accepted(), queued()])
def test_what_has_no_task_is_killed_at_once(before):
    after = killed(before, NOW)
    assert (after.state, after.reason, after.detail) == (
        State.FINISHED,
        Reason.KILLED,
        "ann asked",
    )
    assert killed(after) is after


def test_a_kill_that_is_repeated_changes_nothing():
    for before in (claimed(), launched(), started()):
        once = killed(before)
        assert once.state is State.KILL_INITIATED
        assert once.attempt_counters == before.attempt_counters
        assert killed(once) is once


def test_too_late_for_another_attempt():
    for fold in (
        lambda i: lifecycle.fold_refusal(i, 1, NO_ROOM, NOT_AFTER),
        lambda i: lifecycle.fold_task(i, 1, stopped(1), NOT_AFTER),
        lambda i: lifecycle.forgotten(i, NOT_AFTER),
    ):
        after = fold(claimed())
        assert (after.state, after.reason) == (State.EXPIRED, Reason.EXPIRED)
        assert (after.attempt, after.attempt_counters) == (1, ())


def test_one_that_is_left_out_has_its_reason():
    after = lifecycle.skipped(accepted(), "the one before still runs", NOW)
    assert (after.state, after.reason, after.has_ended) == (State.SKIPPED, Reason.SKIPPED, True)


def test_the_history_keeps_its_beginning_and_its_end():
    invocation = accepted()
    for attempt in range(1, 60):
        invocation = lifecycle.fold_refusal(claimed(invocation), attempt, NO_ROOM, NOW)
    assert len(invocation.history) == KEPT_CHANGES + 1
    assert invocation.history[0].cause == "asked for by ann"
    assert invocation.history[-1].state is State.QUEUED


# Any news, in any order, as often as it likes.

ARNS, PROCESSES, ATTEMPTS = (ARN, OTHER_ARN), (PROCESS, OTHER_PROCESS), (1, 2, 3)
CODES = (None, 0, 1, EXIT_NOT_RUN, EXIT_TIMED_OUT, 137)


@dataclass
class Story:
    """An invocation, and what an observer has seen of it."""

    invocation: Invocation = field(default_factory=accepted)
    now: float = CREATED
    leaves: int = 0
    succeeded: bool = False
    """Whether success was reported: by its process, or by ECS with exit code 0 and a start
    permit.
    """

    def take(self, news: Callable[["Story"], Invocation | Refused]) -> None:
        before, self.now = self.invocation, self.now + 1
        after = news(self)
        if isinstance(after, Refused) or after is before:
            return
        check_step(before, after)
        self.leaves += before.permit is None and after.permit is not None
        self.invocation = after
        if after.reason is Reason.SUCCEEDED:
            assert self.succeeded, f"nobody said so: {after}"
        assert self.leaves <= 1


def check_step(before: Invocation, after: Invocation) -> None:
    """Check the rules that every change of an invocation has to keep."""
    assert not before.has_ended, "an end is the end"
    assert before.state is after.state or after.state in NEXT[before.state] or hops(before, after)
    for one, next_one in pairwise(after.history):
        assert next_one.state in NEXT[one.state]
    assert after.history[-1].state is after.state
    if before.permit is not None:
        assert after.permit == before.permit, "a permit is given once"
        assert after.attempt == before.attempt, "what may have run is not run again"
    elif after.permit is not None:
        assert (before.state, after.state) in {
            (State.LAUNCHING, State.STARTED),
            (State.LAUNCHED, State.STARTED),
        }
        assert after.attempt == before.attempt
    assert after.attempt in {before.attempt, before.attempt + 1}
    if after.attempt > before.attempt:
        assert after.is_waiting
    if after.is_waiting or after.has_ended:
        assert after.attempt_counters == (), "who does not run takes no place"
    elif before.attempt_counters:
        assert after.attempt_counters == before.attempt_counters
    if after.state in {State.STARTED, State.KILL_INITIATED} and before.is_waiting:
        pytest.fail("nothing starts from the queue")
    if after.has_ended:
        assert after.finished_at is not None
        assert after.reason is not None
        assert after.detail
        check_end(after)


def hops(before: Invocation, after: Invocation) -> bool:
    """One event may report both RunTask's success and the end."""
    steps = after.history[len(before.history) :]
    return [step.state for step in steps] == [State.LAUNCHED, after.state]


def check_end(ended: Invocation) -> None:
    """The end is true."""
    if ended.reason in {Reason.SUCCEEDED, Reason.FAILED, Reason.INVALID, Reason.LOST}:
        assert ended.permit is not None
    if ended.reason in {Reason.START_FAILED, Reason.EXPIRED}:
        assert ended.permit is None
    if ended.reason is Reason.SUCCEEDED:
        assert ended.exit_code == 0
    if ended.reason is Reason.LOST:
        assert ended.exit_code is None
    if ended.reason is Reason.FAILED:
        assert ended.exit_code


def a_claim(story: Story) -> Invocation:
    if not story.invocation.is_waiting:
        return story.invocation
    return lifecycle.claim(
        story.invocation,
        task_definition=DEFINITION,
        image="any",
        timeout_seconds=5,
        request=REQUEST,
        attempt_counters=("capacity#jobs",),
        now=story.now,
    )


def a_launch(attempt, arn):
    return lambda s: lifecycle.fold_launch(
        s.invocation, attempt, task(arn=arn, attempt=attempt), s.now
    )


def a_refusal(attempt, error):
    return lambda s: lifecycle.fold_refusal(s.invocation, attempt, error, s.now)


def a_task(attempt, arn, version, *, code=None, ends=False):
    """A report of ECS on the task; it may be the first one with its ARN."""

    def news(story):
        facts = {"arn": arn, "attempt": attempt}
        change = stopped(code, version, **facts) if ends else task(version, **facts)
        story.succeeded |= ends and code == 0 and story.invocation.permit is not None
        return lifecycle.fold_task(story.invocation, attempt, change, story.now)

    return news


def a_question(attempt, arn, process):
    return lambda s: lifecycle.give_permit(s.invocation, attempt, arn, process, s.now)


def a_report(process, outcome):
    def news(story):
        permit = story.invocation.permit
        mine = permit is not None and permit.process == process
        story.succeeded |= mine and outcome is Outcome.SUCCEEDED
        code = 0 if outcome is Outcome.SUCCEEDED else 3
        return lifecycle.fold_finish(
            story.invocation, process, outcome, exit_code=code, detail="", result=None, usage=None,
            now=story.now,
        )  # fmt: skip

    return news


def a_progress(process):
    return lambda s: lifecycle.fold_progress(s.invocation, process, 0.5, "half", s.now)


def plain(fold):
    return lambda s: fold(s.invocation, s.now)


attempts, arns = st.sampled_from(ATTEMPTS), st.sampled_from(ARNS)
processes, versions = st.sampled_from(PROCESSES), st.integers(1, 5)
news = st.one_of(
    st.just(a_claim),
    st.just(plain(lifecycle.queue)),
    st.just(lambda s: lifecycle.came_due(s.invocation, 7, s.now)),
    st.just(plain(lifecycle.forgotten)),
    st.just(plain(lifecycle.never_asked)),
    st.just(lambda s: killed(s.invocation, s.now)),
    st.just(lambda s: lifecycle.ask_for_end(s.invocation, "late", s.now, Reason.TIMED_OUT)),
    st.just(lambda s: lifecycle.waits_because(s.invocation, "no room")),
    st.builds(a_launch, attempts, arns),
    st.builds(a_refusal, attempts, st.sampled_from([NO_ROOM, THROTTLED, SILENT, WRONG])),
    st.builds(a_task, attempts, arns, versions),
    st.builds(a_task, attempts, arns, versions, code=st.sampled_from(CODES), ends=st.just(True)),
    st.builds(a_question, attempts, st.none() | arns, processes),
    st.builds(a_report, processes, st.sampled_from(Outcome)),
    st.builds(a_progress, processes),
)


@settings(max_examples=600)
@given(st.lists(news, min_size=1, max_size=40))
def test_whatever_comes_in_whatever_order_leave_is_given_once_and_the_end_is_true(told):
    story = Story()
    for one in told:
        story.take(one)


@settings(max_examples=200)
@given(st.data())
def test_the_news_of_one_good_run_may_come_twice_and_in_any_order(data):
    """However it comes: it succeeded, or it was given up unfenced, and then nothing was run."""
    run = [
        a_launch(1, ARN), a_task(1, ARN, 2), a_question(1, ARN, PROCESS), a_progress(PROCESS),
        a_report(PROCESS, Outcome.SUCCEEDED), a_task(1, ARN, 9, code=0, ends=True),
    ]  # fmt: skip
    order = data.draw(st.permutations(run * 2))
    story = Story(claimed())
    for one in order:
        story.take(one)
    after = story.invocation
    if story.leaves:
        assert (after.reason, after.attempt) in {(Reason.SUCCEEDED, 1), (None, 1)}
        assert (after.reason is None) == (not story.succeeded)
    else:
        assert (after.state, after.attempt) == (State.QUEUED, 2)


def test_the_table_of_transitions_has_no_way_back_but_to_the_queue():
    order = list(State)
    for state, following in NEXT.items():
        backwards = {one for one in following if order.index(one) < order.index(state)}
        allowed = {State.QUEUED} if state in {State.LAUNCHING, State.LAUNCHED} else set()
        assert backwards <= allowed
        assert (state in ENDS) == (not following)
    for state in (State.FINISHED, State.EXPIRED, State.SKIPPED):
        with pytest.raises(ValueError, match="does not lead to"):
            replace(accepted(), state=state).moved(State.QUEUED, NOW, "")
