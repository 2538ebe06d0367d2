"""Scores, groups and verdicts; no byte of a hidden case reaches a learner."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.graders import Case, Grader, Group
from usher.grading.results import (
    CaseResult,
    Grading,
    conclude,
    document,
    for_learner,
    scale,
    why_skipped,
)
from usher.grading.verdicts import Verdict, gravest

SECRET = "Q7hidden7Q"


def result(name, verdict=Verdict.AC, points=None, most=10.0, is_visible=True, **more):
    points = (most if verdict is Verdict.AC else 0.0) if points is None else points
    return CaseResult(name, verdict, points, most, is_visible, **more)


def grader_of(count, groups=()):
    cases = tuple(Case(str(n), "i", "a", 10.0, True) for n in range(count))
    return Grader("tests", cases=cases, groups=tuple(groups))


def test_the_gravest_verdict_counts():
    order = ["IE", "CE", "TLE", "MLE", "OLE", "RTE", "PE", "WA", "SK", "AC"]
    for place, name in enumerate(order):
        assert gravest(Verdict[other] for other in order[place:]).name == name


@given(st.lists(st.sampled_from([Verdict.AC, Verdict.WA, Verdict.TLE]), min_size=1, max_size=6))
def test_without_groups_the_score_is_the_sum(verdicts):
    cases = [result(str(n), verdict) for n, verdict in enumerate(verdicts)]
    grading = conclude(cases, grader_of(len(cases)))
    assert grading.score == 10 * verdicts.count(Verdict.AC)
    assert (grading.verdict is Verdict.AC) is (grading.score == grading.max_score)


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_groups_are_all_or_nothing_and_depend(rights):
    groups = (
        Group("a", ("0", "1")),
        Group("b", ("2", "3"), ("a",)),
        Group("c", ("4", "5"), ("b",)),
    )
    grader = grader_of(6, groups)
    done = {}
    for case, is_right in zip(grader.cases, rights, strict=True):
        skipped = why_skipped(case, groups, done)
        verdict = Verdict.SK if skipped else Verdict.AC if is_right else Verdict.WA
        done[case.name] = result(case.name, verdict)
    first = all(rights[:2])
    second = first and all(rights[2:4])
    third = second and all(rights[4:])
    assert conclude(list(done.values()), grader).score == 20 * (first + second + third)


def test_a_broken_case_leaves_no_score():
    grading = conclude([result("0"), result("1", Verdict.IE, message=SECRET)], grader_of(2))
    assert grading.score is None
    assert SECRET in grading.details
    assert SECRET not in json.dumps(document(for_learner(grading)))


def test_a_part_is_worth_its_points():
    grading = scale(conclude([result("0"), result("1", Verdict.WA), result("2")], grader_of(3)), 50)
    assert (grading.score, grading.max_score) == (33.333333, 50)


KEYS = (
    "id assignment part submission state verdict score maxScore feedback cases compile "
    "queuedAt startedAt finishedAt revision"
)
CASE_KEYS = (
    "name verdict points maxPoints cpuSeconds wallSeconds memoryMib message output answer input"
)


def test_the_document_has_these_keys_in_this_order():
    told = document(conclude([result("0", output="o", answer="a", input="i")], grader_of(1)))
    assert " ".join(told) == KEYS
    assert " ".join(told["cases"][0]) == CASE_KEYS


hidden_texts = st.text("Q7hid", max_size=20).map(lambda text: SECRET + text)


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Verdict)), hidden_texts, st.booleans()),
        min_size=1,
        max_size=5,
    ),
    hidden_texts,
)
def test_no_byte_of_a_hidden_case_reaches_a_learner(cases, details):
    made = [
        result(
            str(n), verdict, is_visible=False, message=text, input=text, output=text, answer=text
        )
        for n, (verdict, text, _) in enumerate(cases)
    ]
    made.append(result("v", Verdict.WA, message="seen", output="seen"))
    grading = conclude(made, grader_of(len(made)))
    broken = Grading(Verdict.IE, None, 1.0, "words", tuple(made), details=details)
    for each in (grading, broken):
        told = json.dumps(document(for_learner(each)), ensure_ascii=False)
        assert SECRET not in told
        assert SECRET in json.dumps(document(each), ensure_ascii=False)
        assert '"seen"' in told


@pytest.mark.parametrize("is_visible", [True, False])
def test_numbers_of_hidden_cases_are_rounded(is_visible):
    case = result("0", is_visible=is_visible, cpu_seconds=0.123456, memory_mib=3.14159)
    (seen,) = for_learner(conclude([case], grader_of(1))).cases
    assert (seen.cpu_seconds == 0.1) is not is_visible
    assert (seen.memory_mib == 3.0) is not is_visible
