"""Every AWS call of submit, mark and regrade fails in every way; each grading has one verdict.

The points are made from the calls that an undisturbed run of the operation makes. After each, the
worst is assumed, in two kinds. Silence: the event and the message that were being handled are lost,
and all that follow, so that only judges (which repeat what was not acknowledged) and the sweep go
on. Noise: everything comes twice, and the newest first. In the end every grading has one verdict,
of its own revision and from its own judge; no submission that was answered is lost, no grading is
in a history twice, no task is left, and all counts are exact.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib.audit.model import Action
from chalicelib.contract.jobs import Outcome
from chalicelib.errors import UnavailableError
from chalicelib.grading.model import MAX_ATTEMPTS, Grading, State, Submission
from chalicelib.jobs.model import repeated_id
from tests.integration.crash_points import (
    CrashPoint,
    act,
    compare,
    few_partitions,
    silent_and_noisy_points,
)
from tests.integration.grading_lab import OPERATOR, GradingLab, check_grading
from tests.integration.job_lab import JobContainer, failure_is_news
from tests.integration.wire import Point

MATRIX = "grading"
INDEX_LAG_SECONDS = 1.0
READ_LAG_SECONDS = 3.0
PAUSES = (0, 61, 61, 61, 61, 61, 640, 61, 61)
"""Seconds before each sweep: past every deadline there is, but for the judge's own."""
KEY = repeated_id("ada", "submit/two", "key")


@dataclass
class Story:
    """The records of an operation: submissions to one assignment."""

    lab: GradingLab
    answer: Submission | None = None
    """The submission that the operation returned, if it did."""
    answered: dict[str, Submission] = field(default_factory=dict)
    """Every submission that a client received in an answer."""
    most: int = 0
    """Number of submissions that were requested."""
    regrades: int = 0
    """Number of regrades that were requested."""
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.services = self.lab.process()
        self.lab.put_assignment(self.services, 1)

    def submits(self, submission_id: str | None = None, **facts: Any) -> Submission:
        self.most += submission_id is None or self.most == 0
        self.answer = self.lab.submit(self.services, submission_id=submission_id, **facts)
        self.answered[self.answer.id] = self.answer
        return self.answer

    def regrades_it(self, *, is_whole: bool = False) -> None:
        self.regrades += 1
        (submission,) = self.lab.submissions().values()
        self.lab.regrade(self.services, submission, "again", is_whole=is_whole)

    def round(self) -> None:
        """Wake-up messages are delivered, and the index shows waiting invocations."""
        self.lab.indexes_catch_up()
        self.services.jobs.launcher.run()
        self.lab.settle()

    def judges(self) -> list[JobContainer]:
        """The containers that run."""
        return [container for container in self.lab.jobs if container.running]

    def asking(self) -> None:
        """A judge was launched for a submission of one part, and has not asked for its permit."""
        self.submits(parts=("first",))
        self.round()

    def marking(self) -> None:
        """The judge has its start permit."""
        self.asking()
        for container in self.judges():
            self.lab.ask(self.services, container)

    def marked(self) -> None:
        """The judge has marked, and has not handed the mark in."""
        self.marking()
        for container in self.judges():
            self.lab.mark(container)

    def ending(self) -> None:
        """The judge could not hand its mark in, and is about to report it with its end."""
        self.marked()
        self.lab.end(self.judges()[0])

    def others_wait(self) -> None:
        """The judge has marked, and other gradings have no judge."""
        self.marked()
        self.submits(learner="bob", parts=("first",))
        self.lab.indexes_catch_up()

    def going_on(self) -> None:
        """The judge has handed in its mark, and marks the next grading."""
        self.others_wait()
        self.lab.hand_in(self.services, self.judges()[0])
        assert [g.place for g in self.lab.gradings().values() if not g.has_ended] == [2]

    def finished(self) -> None:
        """The submission has its marks."""
        self.ending()
        for container in self.judges():
            self.lab.report(self.services, container)
        assert all(grading.has_ended for grading in self.lab.gradings().values())

    def loses(self, container: JobContainer) -> tuple[str, dict[str, Any]]:
        """The kernel kills a judge; returns the event of its end."""
        self.lab.events()
        self.lab.end_process(container, 137)
        (event,) = [e for e in self.lab.events() if e[1]["detail"]["lastStatus"] == "STOPPED"]
        return event

    # After the operation.

    def goes_on(self, *, noise: bool) -> None:
        """Time passes and the sweep runs, until all gradings have a verdict."""
        for pause in PAUSES:
            self.lab.now.move(pause)
            self.services = self.lab.process()
            self._news(noise=noise)
            self.lab.judges_work(self.services, self.failures)
            check_grading(self.lab)
            if self.is_over():
                return
            if not pause:
                continue
            taken = self.lab.sweep(self.services)
            assert "failed" not in taken, taken
            for _ in range(2):
                self.lab.judges_work(self.services, self.failures)
            check_grading(self.lab)
            if self.is_over():
                return

    def _news(self, *, noise: bool) -> None:
        events, wake_ups = self.lab.events(), self.lab.wake_ups()
        if not noise:
            return  # the events are lost
        for event in [*reversed(events), *events]:
            with failure_is_news():
                self.lab.deliver(self.services, event)
        for wake_up in [*reversed(wake_ups), *wake_ups]:
            with failure_is_news():
                self.lab.answer_wake_up(self.services, wake_up)
        check_grading(self.lab)

    def is_over(self) -> bool:
        ended = all(grading.has_ended for grading in self.lab.gradings().values())
        return ended and all(i.has_ended for i in self.lab.invocations().values())


@dataclass(frozen=True)
class Operation:
    """Something the dispatcher does; `arrange` is what was before it."""

    name: str
    arrange: Callable[[Story], Any]
    act: Callable[[Story], Any]
    afterwards: Callable[[Story], None]
    """Extra steps of this operation: after the crash, before the sweeps."""
    verdicts: frozenset[str]
    attempts: int
    """Bound of the attempts of a grading with one failure."""
    world: dict[str, Any]


OPERATIONS: dict[str, Operation] = {}


def operation(
    arrange: Callable[[Story], Any] = lambda story: None,
    *,
    afterwards: Callable[[Story], None] = lambda story: None,
    verdicts: tuple[str, ...] = ("WA",),
    attempts: int = 1,
    **world: Any,
) -> Callable[[Callable[[Story], Any]], Callable[[Story], Any]]:
    """Make an operation of a function."""

    def made(act: Callable[[Story], Any]) -> Callable[[Story], Any]:
        name = act.__name__
        OPERATIONS[name] = Operation(
            name, arrange, act, afterwards, frozenset(verdicts), attempts, world
        )
        return act

    return made


# Assignments.


@operation()
def puts_a_revision(story: Story) -> None:
    story.lab.put_assignment(story.services, 2)


@operation()
def puts_a_revision_with_images(story: Story) -> None:
    story.lab.put_assignment(story.services, 2, has_images=True)


def has_images(story: Story) -> None:
    """The assignment's images are being prepared."""
    story.lab.put_assignment(story.services, 2, has_images=True)


@operation(has_images)
def submits_while_images_are_prepared(story: Story) -> None:
    story.submits(parts=("first",))


def images_are_prepared(story: Story) -> None:
    """The judge has not reported the images; a submission waits for them."""
    has_images(story)
    story.submits(parts=("first",))
    story.round()
    for container in story.judges():
        story.lab.ask(story.services, container)
        story.lab.mark(container)


@operation(images_are_prepared)
def takes_prepared_images(story: Story) -> None:
    story.lab.hand_in(story.services, story.judges()[0])


def images_are_refused(story: Story) -> None:
    story.lab.refuses_images = True
    images_are_prepared(story)


@operation(images_are_refused, verdicts=("IE",))
def takes_that_images_cannot_be_used(story: Story) -> None:
    story.lab.hand_in(story.services, story.judges()[0])


def ends_with_prepared_images(story: Story) -> None:
    images_are_prepared(story)
    story.lab.end(story.judges()[0])


@operation(ends_with_prepared_images)
def handles_prepared_images(story: Story) -> None:
    story.lab.report(story.services, story.judges()[0])


def images_were_refused(story: Story) -> None:
    images_are_refused(story)
    story.lab.hand_in(story.services, story.judges()[0])
    story.lab.refuses_images = False
    with pytest.raises(UnavailableError):
        story.submits()
    story.most -= 1
    story.lab.indexes_catch_up()


def prepares_them_again(story: Story) -> None:
    """The same request, repeated while that is under way: there is one preparation."""
    story.services = story.lab.process()
    story.lab.prepare(story.services)
    numbers = {story.lab.prepare(story.services).preparation.number for _ in range(2)}
    assert numbers == {2}


@operation(images_were_refused, afterwards=prepares_them_again, verdicts=("IE",))
def prepares_images_again(story: Story) -> None:
    story.lab.prepare(story.services)


def nothing_was_released(story: Story) -> None:
    """The process that recorded the prepared images exited before it released waiting gradings."""
    images_are_prepared(story)
    story.services.grading.judging._release_all = lambda grading: None  # type: ignore[method-assign]
    story.lab.hand_in(story.services, story.judges()[0])
    assert [g.awaits is not None for g in story.lab.gradings().values()].count(True) == 1
    story.lab.now.move(61)


@operation(nothing_was_released)
def sweeps_what_waits_for_images(story: Story) -> None:
    story.lab.sweep(story.services)


def puts_it_again(story: Story) -> None:
    """A client without an answer repeats the request; the same files make no new revision."""
    story.services = story.lab.process()
    after = story.lab.put_assignment(story.services, 2)
    assert after.revision == 2


@operation(Story.finished, afterwards=puts_it_again)
def puts_a_revision_of_what_was_marked(story: Story) -> None:
    story.lab.put_assignment(story.services, 2)


@operation(Story.marking)
def deletes_an_assignment(story: Story) -> None:
    audit = story.lab.audit(Action.ASSIGNMENT_DELETE, "assignments/two")
    story.services.grading.assignments.delete("two", OPERATOR, audit)


# Submissions.


@operation()
def submits(story: Story) -> None:
    story.submits()


def asks_again_with_the_key(story: Story) -> None:
    story.services = story.lab.process()
    again = {story.submits(KEY).id for _ in range(2)}
    assert again == {KEY}
    assert len(story.lab.submissions()) == 1


@operation(afterwards=asks_again_with_the_key)
def submits_with_a_key(story: Story) -> None:
    story.submits(KEY)


@operation(Story.marking, judges=1)
def submits_while_all_judges_are_busy(story: Story) -> None:
    story.submits(learner="bob", parts=("first",))


# Judges.


@operation(Story.asking)
def gives_a_judge_its_grading(story: Story) -> None:
    story.lab.ask(story.services, story.judges()[0])


def missed_the_answer(story: Story) -> None:
    story.asking()
    story.lab.ask(story.services, story.judges()[0], is_answered=False)


@operation(missed_the_answer)
def gives_it_the_same_again(story: Story) -> None:
    story.lab.ask(story.services, story.judges()[0])


@operation(Story.marked)
def takes_a_mark(story: Story) -> None:
    story.lab.hand_in(story.services, story.judges()[0])


@operation(Story.others_wait, judges=1)
def takes_a_mark_and_gives_the_next_grading(story: Story) -> None:
    story.lab.hand_in(story.services, story.judges()[0])


def next_was_not_received(story: Story) -> None:
    story.others_wait()
    story.lab.hand_in(story.services, story.judges()[0], is_answered=False)


@operation(next_was_not_received, judges=1)
def gives_the_same_next_grading_again(story: Story) -> None:
    story.lab.hand_in(story.services, story.judges()[0])


def ends_without_the_next(story: Story) -> None:
    """The answer with the next grading was lost; the judge reports its mark with its end."""
    next_was_not_received(story)
    story.lab.end(story.judges()[0])


@operation(ends_without_the_next, judges=1, attempts=2)
def handles_an_end_without_the_next_mark(story: Story) -> None:
    story.lab.report(story.services, story.judges()[0])


@operation(Story.going_on, judges=1, attempts=2)
def handles_a_judge_lost_with_its_second_grading(story: Story) -> None:
    story.lab.deliver(story.services, story.loses(story.judges()[0]))


@operation(Story.ending)
def handles_a_mark(story: Story) -> None:
    story.lab.report(story.services, story.judges()[0])


def acknowledgement_is_lost(story: Story) -> None:
    story.ending()
    story.lab.report(story.services, story.judges()[0], is_answered=False)


@operation(acknowledgement_is_lost)
def handles_a_mark_again(story: Story) -> None:
    story.lab.report(story.services, story.judges()[0])


def ends_while_others_wait(story: Story) -> None:
    story.others_wait()
    story.lab.end(story.judges()[0])


@operation(ends_while_others_wait, judges=1)
def handles_a_mark_while_others_wait(story: Story) -> None:
    story.lab.report(story.services, story.judges()[0])


def a_judge_failed(story: Story) -> None:
    story.marking()
    story.lab.end(story.judges()[0], Outcome.FAILED)


@operation(a_judge_failed, attempts=2)
def handles_a_failed_judge(story: Story) -> None:
    story.lab.report(story.services, story.judges()[0])


@operation(a_judge_failed, attempts=2, judges=1)
def handles_a_failed_judge_without_a_place(story: Story) -> None:
    story.submits(learner="bob", parts=("first",))
    story.lab.report(story.services, story.judges()[0])


@operation(Story.marking, attempts=2)
def handles_a_lost_judge(story: Story) -> None:
    event = story.loses(story.judges()[0])
    story.lab.deliver(story.services, event)


def is_lost_twice(story: Story) -> None:
    """A submission of one part, marked by its third judge."""
    story.submits(parts=("first",))
    for attempt in range(MAX_ATTEMPTS):
        story.round()
        (container,) = story.judges()
        story.lab.ask(story.services, container)
        if attempt < MAX_ATTEMPTS - 1:
            story.lab.deliver(story.services, story.loses(container))


@operation(is_lost_twice, verdicts=("IE",), attempts=3)
def handles_the_last_lost_judge(story: Story) -> None:
    story.lab.deliver(story.services, story.loses(story.judges()[0]))


@operation(Story.marking, attempts=2)
def kills_a_judge(story: Story) -> None:
    container = story.judges()[0]
    story.services.jobs.invocations.kill(container.invocation_id, "somebody asked")
    story.lab.settle()
    story.lab.end(container, Outcome.KILLED)


# Regrading.


def has_another_revision(story: Story) -> None:
    story.finished()
    story.lab.put_assignment(story.services, 2)


def regrades_it_again(story: Story) -> None:
    """The same request, repeated: nothing is marked a second time."""
    story.services = story.lab.process()
    (submission,) = story.lab.submissions().values()
    for _ in range(2):
        story.lab.regrade(story.services, submission, "again")
    assert len(story.lab.gradings()) == 2


@operation(has_another_revision, afterwards=regrades_it_again)
def regrades(story: Story) -> None:
    story.regrades_it()


@operation(has_another_revision)
def regrades_a_page(story: Story) -> None:
    story.regrades_it(is_whole=True)


def is_regraded_while_it_is_marked(story: Story) -> None:
    story.marked()
    story.lab.put_assignment(story.services, 2)
    story.regrades_it()
    story.lab.indexes_catch_up()


@operation(is_regraded_while_it_is_marked, judges=1)
def takes_a_mark_of_the_revision_before(story: Story) -> None:
    story.lab.hand_in(story.services, story.judges()[0])


# The sweep.


def no_judge_was_asked_for(story: Story) -> None:
    """The process that handed the gradings over exited before it recorded the invocations."""
    story.services.grading.judging.ask_for_judge = lambda grading: None  # type: ignore[method-assign]
    story.submits(parts=("first",))
    assert {g.state for g in story.lab.gradings().values()} == {State.HANDED}
    story.lab.now.move(61)


@operation(no_judge_was_asked_for)
def sweeps_what_no_judge_was_asked_for(story: Story) -> None:
    story.lab.sweep(story.services)


def ended_without_an_answer(story: Story) -> None:
    """The judges' ends were recorded, and their marks were not."""
    story.ending()
    story.services.grading.judging.on_ended = lambda invocation: None  # type: ignore[method-assign]
    for container in story.judges():
        story.lab.report(story.services, container)
    assert {g.state for g in story.lab.gradings().values()} == {State.STARTED}
    story.lab.now.move(61)


@operation(ended_without_an_answer)
def sweeps_marks_that_nobody_took(story: Story) -> None:
    story.lab.sweep(story.services)


def nothing_was_handed_over(story: Story) -> None:
    story.services.grading.judging.hand_over_soon = lambda newcomers: None  # type: ignore[method-assign]
    story.submits(parts=("first",))
    assert {g.state for g in story.lab.gradings().values()} == {State.QUEUED}
    story.lab.now.move(61)


@operation(nothing_was_handed_over)
def sweeps_what_waits(story: Story) -> None:
    story.lab.sweep(story.services)


def run(lab: GradingLab, operation: Operation, point: Point | None, *, noise: bool) -> list[str]:
    """Run one operation with one failure, and the steps after it; returns its calls."""
    lab.begin(**operation.world)
    story = Story(lab)
    operation.arrange(story)
    lab.settle()
    check_grading(lab)
    story.services = lab.process()
    outcome = act(lab, lambda: operation.act(story), point)
    check_grading(lab)
    operation.afterwards(story)
    story.goes_on(noise=noise)
    check_story(story, operation, point)
    return outcome.calls


def check_story(story: Story, operation: Operation, point: Point | None) -> None:
    """Check the result of an operation with one failed call."""
    lab = story.lab
    check_grading(lab)
    gradings, submissions = lab.gradings(), lab.submissions()
    assert set(story.answered) <= set(submissions), "a submission was lost"
    assert len(submissions) <= story.most
    for grading in gradings.values():
        _check_end(grading, operation, point)
    assert not lab.running(), "no task is left"
    assert not any(grading.attempt_counters for grading in gradings.values())
    handed_in = sum(lab.counts("handed-in#").values())
    assert handed_in == len(submissions), "submissions are counted once"
    resources = lab.audit_resources()
    for submission in submissions.values():
        regraded = max(len(part.older) for part in submission.parts)
        assert resources.count(f"submissions/{submission.id}") == 1 + regraded
        assert regraded <= story.regrades


def _check_end(grading: Grading, operation: Operation, point: Point | None) -> None:
    assert grading.has_ended, f"stuck: {grading}"
    if grading.is_preparation:
        assert grading.verdict in operation.verdicts | {"AC"}
        return
    may_be = operation.verdicts | ({"WA"} if point is not None else set())
    assert grading.verdict in may_be, f"{grading.verdict}: {grading}"
    most = min(MAX_ATTEMPTS, operation.attempts + (point is not None))
    assert grading.attempt <= most, f"given to a judge too often: {grading}"


def spares_looks(name: str) -> bool:
    """The looks of all sweeps are those of one of them; so are those of marks and of images."""
    if name in {"handles_prepared_images", "takes_that_images_cannot_be_used"}:
        return True
    return name.startswith("sweeps_") and name != "sweeps_marks_that_nobody_took"


def new_lab() -> GradingLab:
    """Returns a laboratory whose indexes and ECS lag: new records and tasks may be unknown."""
    return GradingLab(index_lag_seconds=INDEX_LAG_SECONDS, read_lag_seconds=READ_LAG_SECONDS)


def calls_of_operations() -> dict[str, list[str]]:
    """Returns the calls of each operation when none fails."""
    lab = new_lab()
    return {name: run(lab, found, None, noise=False) for name, found in OPERATIONS.items()}


@pytest.fixture(scope="module")
def lab() -> Iterator[GradingLab]:
    with few_partitions(), closing(new_lab()) as made:
        yield made


@pytest.mark.parametrize("noise", [False, True], ids=["silence", "noise"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_undisturbed_operation_makes_the_calls_that_are_crash_points(
    lab: GradingLab, name: str, noise: bool
) -> None:
    compare(MATRIX, name, run(lab, OPERATIONS[name], None, noise=noise))


@pytest.mark.parametrize(("crash", "noise"), silent_and_noisy_points(MATRIX, spares_looks))
def test_every_grading_gets_one_verdict_wherever_it_breaks(
    lab: GradingLab, crash: CrashPoint, noise: bool
) -> None:
    calls = run(lab, OPERATIONS[crash.operation], crash.point, noise=noise)
    assert calls[crash.number - 1] == crash.call
