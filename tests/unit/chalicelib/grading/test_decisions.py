"""Gradings: turns, marks, repetitions and best scores, against plain models."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.capacity.fairness import next_turns
from chalicelib.grading import lifecycle
from chalicelib.grading.fairness import in_fair_order
from chalicelib.grading.model import (
    MAX_ATTEMPTS,
    NEXT,
    Assignment,
    Grading,
    PartInfo,
    Preparation,
    Readiness,
    State,
    Submission,
    SubmittedPart,
)
from chalicelib.grading.scores import standing
from chalicelib.jobs.model import Invocation, Priority, Reason
from chalicelib.jobs.model import State as JobState


def grading(**changes):
    values = {
        "id": "12345678-0000-4000-8000-000000000001",
        "submission": "s",
        "assignment": "a",
        "author": "me",
        "part": "p",
        "learner": "ada",
        "revision": 1,
        "grader": "g",
        "files": "f",
        "max_score": 10.0,
        "flow": "ada",
        "turn": 0,
        "created_at": 1.0,
        "attempt_counters": ("learner#x",),
    }
    return Grading(**values | changes)


def ended(invocation_id, reason=Reason.SUCCEEDED, result=None):
    return Invocation(
        id=invocation_id,
        job="usher_judge",
        owner="usher:judge",
        key="k",
        priority=Priority.NORMAL,
        created_at=0.0,
        not_after=9.0,
        state=JobState.FINISHED,
        reason=reason,
        parameters={"grading": grading().id},
        result=result,
    )


RIGHT = {"verdict": "AC", "score": 10, "feedback": "well", "detailed": True}


def handed():
    return lifecycle.decide_hand_over(grading(), 2.0)


# Fairness


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 6)), max_size=12), st.data())
def test_a_single_submission_is_passed_over_by_at_most_one_of_each_other_learner(before, data):
    clock, last, waiting, number = 0, {}, [], 0

    def queue(learner, count):
        nonlocal number
        for turn in next_turns(clock, last.get(learner), count):
            number += 1
            waiting.append(grading(id=f"{number:05d}", flow=learner, turn=turn, created_at=number))
            last[learner] = turn

    def mark():
        nonlocal clock
        first = in_fair_order(waiting)[0]
        waiting.remove(first)
        clock = max(clock, first.turn)
        return first.flow

    for learner, count in before:
        queue(learner, count)
        for _ in range(data.draw(st.integers(0, len(waiting)))):
            mark()
    queue("single", 1)
    passed = []
    while (marked := mark()) != "single":
        passed.append(marked)
        queue(marked, data.draw(st.integers(0, 2)))  # and hands in more meanwhile
    assert len(passed) == len(set(passed))


def test_a_hundred_of_one_learner_do_not_delay_another_s_first():
    many = [
        grading(id=str(n), turn=t, created_at=n) for n, t in enumerate(next_turns(0, None, 100))
    ]
    clock = 3  # four of them are with judges
    (turn,) = next_turns(clock, None, 1)
    single = grading(id="single", flow="bob", turn=turn, created_at=1_000.0)
    assert in_fair_order([*many[4:], single])[0] is single


# The life of a grading


def test_a_mark_counts_once_and_from_the_current_judge_alone():
    given_over = handed()
    started = lifecycle.decide_start(given_over, given_over.invocation, 3.0)
    assert started is not None
    assert started.state is State.STARTED
    stranger = ended("another", result=RIGHT)
    assert lifecycle.decide_end(started, stranger, 4.0) is started
    done = lifecycle.decide_end(started, ended(started.invocation, result=RIGHT), 4.0)
    assert (done.verdict, done.score, done.attempt_counters) == ("AC", 10.0, ())
    worse = ended(started.invocation, result=RIGHT | {"verdict": "WA", "score": 0})
    assert lifecycle.decide_end(done, worse, 5.0) is done


@pytest.mark.parametrize(
    "reason", [Reason.KILLED, Reason.LOST, Reason.START_FAILED, Reason.EXPIRED, Reason.FAILED]
)
def test_a_lost_judge_is_repeated_so_often_and_then_the_verdict_is_ie(reason):
    current = grading()
    seen = set()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        current = lifecycle.decide_hand_over(current, 2.0)
        assert (current.attempt, current.attempt_counters) == (
            attempt,
            ("learner#x", lifecycle.PLACE),
        )
        seen.add(current.invocation)
        current = lifecycle.decide_end(current, ended(current.invocation, reason), 3.0)
    assert (current.state, current.verdict, current.score) == (State.FINISHED, "IE", None)
    assert current.attempt_counters == ()
    assert len(seen) == MAX_ATTEMPTS


def test_a_judge_that_was_repeated_cannot_start_any_more():
    first = handed()
    again = lifecycle.decide_end(first, ended(first.invocation, Reason.LOST), 3.0)
    assert again.attempt_counters == ("learner#x",)
    assert lifecycle.decide_start(again, first.invocation, 4.0) is None
    second = lifecycle.decide_hand_over(again, 5.0)
    assert lifecycle.decide_start(second, first.invocation, 6.0) is None


def test_a_grader_that_takes_too_long_is_not_repeated():
    first = handed()
    done = lifecycle.decide_end(first, ended(first.invocation, Reason.TIMED_OUT), 3.0)
    assert done.verdict == "IE"


def going_on(**changes):
    values = {"task_definition": "judge:1", "started_at": 100.0, "state": JobState.STARTED}
    return replace(ended("i", reason=None), **values | changes)


@pytest.mark.parametrize(
    ("changes", "place", "now", "goes_on"),
    [
        ({}, 1, 100.0, True),
        ({}, lifecycle.MOST_IN_A_ROW - 1, 100.0, True),
        ({}, lifecycle.MOST_IN_A_ROW, 100.0, False),
        ({}, 1, 100.0 + lifecycle.RUN_SECONDS - 0.1, True),
        ({}, 1, 100.0 + lifecycle.RUN_SECONDS, False),
        ({"task_definition": "judge:0"}, 1, 100.0, False),
        ({"state": JobState.KILL_INITIATED}, 1, 100.0, False),
        ({"state": JobState.FINISHED}, 1, 100.0, False),
        ({"started_at": None}, 1, 100.0, False),
    ],
)
def test_when_a_judge_is_given_another_grading(changes, place, now, goes_on):
    marked = replace(handed(), place=place)
    assert lifecycle.may_go_on(marked, going_on(**changes), "judge:1", now) == goes_on


def test_the_next_grading_of_a_judge_has_its_invocation_and_its_own_attempt():
    marked = handed()
    second = replace(grading(), id="12345678-0000-4000-8000-000000000002", attempt=1)
    given = lifecycle.decide_next(second, marked, 5.0)
    assert (given.state, given.invocation) == (State.STARTED, marked.invocation)
    assert (given.place, given.attempt, given.started_at) == (2, 2, 5.0)
    assert given.results == f"results/{second.id}/2"
    assert lifecycle.decide_next(marked, marked, 5.0) is marked, "a judge has it"


def test_the_result_of_an_invocation_is_of_the_grading_that_it_names():
    first = handed()
    second = lifecycle.decide_next(replace(grading(), id="second"), first, 5.0)
    told = replace(
        ended(first.invocation, result=RIGHT | {"grading": first.id}),
        parameters={"grading": first.id},
    )
    assert lifecycle.decide_end(first, told, 6.0).verdict == "AC"
    assert lifecycle.decide_end(second, told, 6.0).state is State.QUEUED
    unnamed = replace(told, result=RIGHT)
    assert lifecycle.decide_end(second, unnamed, 6.0).state is State.QUEUED


def test_a_grading_that_was_given_less_than_all_of_a_judges_time_is_repeated():
    second = lifecycle.decide_next(replace(grading(), id="second"), handed(), 5.0)
    late = ended(second.invocation, Reason.TIMED_OUT)
    again = lifecycle.decide_end(second, late, 6.0)
    assert (again.state, again.place) == (State.QUEUED, 1)


def test_the_key_of_marks_tells_nothing_of_the_invocations():
    key = lifecycle.marks_key("secret")
    assert len(key) == 64
    assert lifecycle.marks_key("other") != key


@pytest.mark.parametrize(
    "result",
    [
        None, [], {}, RIGHT | {"score": 11}, RIGHT | {"score": -1}, RIGHT | {"score": True},
        RIGHT | {"score": None}, RIGHT | {"verdict": "GREAT"}, RIGHT | {"feedback": 3},
        RIGHT | {"score": float("nan")},
    ],
)  # fmt: skip
def test_what_is_no_mark_is_none(result):
    assert lifecycle.read_mark(result, 10.0) is None
    first = handed()
    after = lifecycle.decide_end(first, ended(first.invocation, result=result), 3.0)
    assert after.state is State.QUEUED


# Images


PINNED = f"registry/grader@sha256:{'1' * 64}"


def prepared(**result):
    """A preparation that ended with this result of its judge."""
    first = lifecycle.decide_hand_over(grading(submission="", max_score=0.0, id="prep"), 2.0)
    told = {"grading": "prep", "verdict": "AC", "score": 0, "feedback": "", "images": {"p": PINNED}}
    told |= result
    return lifecycle.decide_end(first, ended(first.invocation, result=told), 3.0)


def test_what_waits_for_images_goes_to_a_judge_with_what_they_were_found_to_be():
    waiting = grading(awaits="prep")
    assert not waiting.is_waiting
    assert lifecycle.decide_hand_over(waiting, 2.0) is waiting
    unfinished = grading(submission="", id="prep")
    assert lifecycle.decide_release(waiting, unfinished, 4.0) is waiting
    assert lifecycle.decide_release(waiting, replace(prepared(), id="older"), 4.0) is waiting
    after = lifecycle.decide_release(waiting, prepared(), 4.0)
    assert (after.is_waiting, after.image) == (True, PINNED)
    assert lifecycle.decide_release(waiting, None, 4.0).is_waiting


def test_images_that_cannot_be_used_are_the_graders_failure_and_cost_nothing():
    failed = prepared(verdict="IE", score=None, feedback="it is for windows", images={})
    after = lifecycle.decide_release(grading(awaits="prep"), failed, 4.0)
    assert (after.verdict, after.score, after.attempt_counters) == ("IE", None, ())
    assert "it is for windows" in after.reason
    assert "windows" not in after.feedback
    assert lifecycle.decide_release(after, failed, 5.0) is after


@pytest.mark.parametrize("images", [["x"], {"p": 1}, {"p": "grader:3"}, {"p": "a@sha256:12"}])
def test_a_name_that_may_come_to_mean_another_image_is_no_result(images):
    told = {"verdict": "AC", "score": 0, "feedback": "", "images": images}
    assert lifecycle.read_mark(told, 0.0) is None


@pytest.mark.parametrize(
    ("result", "state", "images"),
    [
        ({}, Readiness.READY, {"p": PINNED}),
        ({"verdict": "IE", "score": None, "feedback": "why"}, Readiness.FAILED, {}),
    ],
)
def test_the_assignment_knows_how_its_current_preparation_ended(result, state, images):
    found = prepared(**result)
    of_another = Preparation("another", Readiness.PREPARING, 1.0)
    assert lifecycle.fold_preparation(with_preparation(of_another), found).preparation is of_another
    current = Preparation("prep", Readiness.PREPARING, 1.0)
    after = lifecycle.fold_preparation(with_preparation(current), found).preparation
    assert (after.state, after.images, after.changed_at) == (state, images, 3.0)
    assert after.reason == result.get("feedback", "")


def with_preparation(preparation):
    return Assignment("a", "me", "A", 0.0, (), "g", "d", 0.0, 0.0, preparation=preparation)


@given(st.lists(st.sampled_from(["hand", "start", "mark", "lose", "old"]), max_size=30))
def test_states_move_as_the_table_says_and_a_verdict_stays(steps):
    current, old = grading(), "old"
    for step in steps:
        invocation = current.invocation or old
        after = {
            "hand": lambda c=current: lifecycle.decide_hand_over(c, 2.0),
            "start": lambda c=current, i=invocation: lifecycle.decide_start(c, i, 2.0) or c,
            "mark": lambda c=current, i=invocation: lifecycle.decide_end(
                c, ended(i, result=RIGHT), 2.0
            ),
            "lose": lambda c=current, i=invocation: lifecycle.decide_end(
                c, ended(i, Reason.LOST), 2.0
            ),
            "old": lambda c=current: lifecycle.decide_end(c, ended(old, result=RIGHT), 2.0),
        }[step]()
        if after is not current and after.state is not current.state:
            assert after.state in NEXT[current.state]
        if current.has_ended:
            assert after is current
        assert after.attempt <= MAX_ATTEMPTS
        assert (lifecycle.PLACE in after.attempt_counters) == (
            after.state in {State.HANDED, State.STARTED}
        )
        current = after


# Scores


def part(name, points):
    return PartInfo(name, name, points, "tests", ("f",), 1, 1.0, 64, 1024)


def assignment(pass_points, **points):
    return Assignment(
        id="a",
        author="me",
        title="A",
        pass_points=pass_points,
        parts=tuple(part(name, worth) for name, worth in points.items()),
        archive="k",
        digest="d",
        created_at=0.0,
        changed_at=0.0,
    )


def submission(number, **marks):
    parts = tuple(
        SubmittedPart(name, "k", (), f"g{number}{name}", (), verdict, score, 10.0, 1.0)
        for name, (verdict, score) in marks.items()
    )
    return Submission(str(number), "a", "me", "ada", float(number), 1, parts)


MARKS = st.one_of(
    st.just((None, None)),
    st.just(("IE", None)),
    st.tuples(st.just("WA"), st.integers(0, 100).map(lambda n: n / 10)),
)


@given(st.lists(st.tuples(MARKS, MARKS), max_size=20), st.integers(0, 20))
def test_the_best_of_each_part_counts(marks, pass_points):
    made = [submission(n, p=p, q=q) for n, (p, q) in enumerate(marks)]
    found = standing(assignment(pass_points, p=10.0, q=10.0), reversed(made))
    best = [
        max((s for _, s in of if s is not None), default=None) for of in zip(*marks, strict=True)
    ]
    wanted = [score for score in best if score is not None]
    assert [each.score for each in found.best] == wanted
    assert found.total == pytest.approx(sum(wanted))
    assert found.passed == (bool(wanted) and found.total >= pass_points)


def test_a_part_with_other_points_now_keeps_its_share():
    found = standing(assignment(1, p=50.0), [submission(1, p=("WA", 5.0))])
    assert (found.total, found.max_score) == (25.0, 50.0)


def test_a_mark_of_a_grading_that_is_not_current_any_more_changes_no_submission():
    seen = submission(1, p=(None, None))
    other = replace(handed(), id="older", verdict="AC", score=10.0)
    assert lifecycle.fold_mark(seen, other) is seen
