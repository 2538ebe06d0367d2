"""The order of marking, with judges that mark several gradings in a row; and the ends of their
runs.
"""

from collections.abc import Iterator

import pytest

from chalicelib.grading.lifecycle import MOST_IN_A_ROW, RUN_SECONDS
from tests.integration.grading_lab import GradingLab, check_grading
from tests.integration.job_lab import Phase

ONE = ("first",)
SECONDS_EACH = 3.0


@pytest.fixture(scope="module")
def lab() -> Iterator[GradingLab]:
    made = GradingLab()
    yield made
    made.close()


def begin(lab: GradingLab, judges: int = 1) -> None:
    lab.begin(judges=judges)
    lab.services = lab.process()
    lab.put_assignment(lab.services, 1)


def hand_in(lab: GradingLab, learner: str, count: int = 1) -> list[str]:
    """A learner submits this many times; returns the ids of the gradings."""
    made = [lab.submit(lab.services, learner, parts=ONE) for _ in range(count)]
    return [submission.parts[0].grading for submission in made]


def step(lab: GradingLab) -> None:
    """Launched judges begin, and each running one marks one grading."""
    lab.services.jobs.launcher.run()
    lab.settle()
    for container in [each for each in lab.jobs if each.running]:
        if container.phase is Phase.ASKING:
            lab.ask(lab.services, container)
        if lab.judge_of(container).order is not None:
            lab.now.move(SECONDS_EACH)
            lab.mark(container)
            lab.hand_in(lab.services, container)
        if container.phase is Phase.REPORTING:
            lab.report(lab.services, container)


def order_of(lab: GradingLab) -> list[str]:
    """Whose gradings judges got, in their order."""
    begun = [each for each in lab.gradings().values() if each.started_at is not None]
    return [each.learner for each in sorted(begun, key=lambda each: each.started_at or 0)]


def test_one_learner_with_many_slow_submissions_delays_another_by_at_most_two_gradings(lab):
    begin(lab)
    hand_in(lab, "ada", 12)
    step(lab)
    before = len(order_of(lab))
    (late,) = hand_in(lab, "bob")
    while lab.gradings()[late].started_at is None:
        step(lab)
    after = order_of(lab)[before:]
    assert after.count("ada") <= 1, "besides the one that was being marked"
    check_grading(lab)


def test_many_learners_with_one_each_are_marked_before_the_rest_of_one_with_many(lab):
    begin(lab, judges=2)
    hand_in(lab, "ada", 20)
    others = [f"learner-{number}" for number in range(10)]
    for learner in others:
        hand_in(lab, learner)
    while not all(each.has_ended for each in lab.gradings().values()):
        step(lab)
    order = order_of(lab)
    last = max(order.index(learner) for learner in others)
    assert order[: last + 1].count("ada") <= 4, order
    assert lab.counts("capacity#judges") == {"capacity#judges": 0}
    judges = {grading.invocation for grading in lab.gradings().values()}
    assert len(judges) < 6, "judges mark several in a row"
    check_grading(lab)


def test_a_judge_marks_so_many_in_a_row_and_another_one_the_rest(lab):
    begin(lab)
    hand_in(lab, "ada", MOST_IN_A_ROW + 2)
    most = RUN_SECONDS / SECONDS_EACH
    assert most > MOST_IN_A_ROW
    while not all(each.has_ended for each in lab.gradings().values()):
        step(lab)
    places = sorted(grading.place for grading in lab.gradings().values())
    assert places == sorted([*range(1, MOST_IN_A_ROW + 1), 1, 2])
    check_grading(lab)


@pytest.mark.parametrize("end", ["killed", "late", "deployed again"])
def test_what_ends_a_judges_run(lab, end):
    """The judge hands its mark in and receives no other grading; a new judge receives that one."""
    begin(lab)
    first, second = hand_in(lab, "ada", 2)
    lab.services.jobs.launcher.run()
    lab.settle()
    (container,) = [each for each in lab.jobs if each.running]
    lab.ask(lab.services, container)
    lab.mark(container)
    if end == "killed":
        lab.services.jobs.invocations.kill(container.invocation_id, "somebody asked")
    elif end == "late":
        lab.now.move(RUN_SECONDS + 1)
    else:
        lab.deploy_job("usher_judge", parameters={"type": "object"}, memory=128)
        lab.services = lab.process()
    lab.hand_in(lab.services, container)
    found = lab.gradings()
    assert found[first].has_ended, "the mark counts"
    assert found[first].next_grading is None
    assert found[second].invocation != container.invocation_id
    lab.report(lab.services, container)
    while not lab.gradings()[second].has_ended:
        step(lab)
    assert lab.gradings()[second].attempt == 1
    check_grading(lab)


def test_position_and_estimate_are_told(lab):
    begin(lab)
    hand_in(lab, "ada", 4)
    (waiting,) = hand_in(lab, "bob")
    views = lab.services.grading.views

    def shown():
        return views.grading(lab.gradings()[waiting], is_author=False)

    assert (shown()["position"], shown()["estimateSeconds"]) == (0, None)
    (last,) = hand_in(lab, "ada")
    step(lab)
    found = views.grading(lab.gradings()[last], is_author=False)
    assert found["position"] == 3
    assert found["estimateSeconds"] == 5 * SECONDS_EACH


def test_a_judge_cannot_mark_the_grading_of_another(lab):
    begin(lab, judges=2)
    hand_in(lab, "ada", 2)
    lab.services.jobs.launcher.run()
    lab.settle()
    mine, other = [each for each in lab.jobs if each.running]
    for container in (mine, other):
        lab.ask(lab.services, container)
    judge = lab.judge_of(mine)
    judge.order, asked = lab.judge_of(other).order, judge.order
    lab.mark(mine)
    lab.hand_in(lab.services, mine)
    assert not any(each.has_ended for each in lab.gradings().values())
    assert asked is not None
    check_grading(lab)
