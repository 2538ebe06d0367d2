"""A submission that communicates with the author's interactor: two boxes, connected by pipes."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace

from usher.box.model import BoxError, BoxSettings, File, Limit, Outcome, Task
from usher.box.runtimes import Boxes
from usher.grading.checkers import Checked
from usher.grading.programs import (
    CODES,
    NOT_RIGHT_CODES,
    SETTINGS,
    PreparedProgram,
    ProgramError,
    judge_exit,
)
from usher.grading.verdicts import Verdict, explain_run, verdict_of_run

READY_SECONDS = 60.0
LONGER_SECONDS = 2.0
"""Extra time of an interactor, so that the slow side can be determined."""


class _Side(threading.Thread):
    """One of the two programs, in its box."""

    def __init__(self, boxes: Boxes, task: Task, settings: BoxSettings) -> None:
        super().__init__(daemon=True)
        self._boxes, self._task, self._settings = boxes, task, settings
        self.outcome: Outcome | None = None
        self.error: BoxError | None = None
        self.on_error: Callable[[], None] = lambda: None

    def run(self) -> None:
        try:
            self.outcome = self._boxes.run(self._task, self._settings)
        except BoxError as error:
            self.error = error
            self.on_error()


def converse(
    boxes: Boxes,
    interactor: PreparedProgram,
    task: Task,
    settings: BoxSettings,
    *,
    given: bytes,
    answer: bytes,
) -> tuple[Outcome, Checked]:
    """How the submission ended, and the verdict. Raises ProgramError, and BoxError.

    The interactor's command is `interactor input output answer`; `output` is a file that it may
    write. Each program reads what the other prints.
    """
    wall = (settings.wall_seconds or 0) + LONGER_SECONDS
    both_ready = threading.Barrier(2)

    def wait() -> None:
        try:
            both_ready.wait(READY_SECONDS)
        except threading.BrokenBarrierError:
            raise BoxError("the other side's box was not made") from None

    to_submission, from_interactor = os.pipe()
    to_interactor, from_submission = os.pipe()
    files = {**interactor.files, "input": File(given), "answer": File(answer)}
    talk = Task(
        (*interactor.argv, "input", "output", "answer"),
        files,
        image=interactor.image,
        stdin_fd=to_interactor,
        stdout_fd=from_interactor,
        on_ready=wait,
    )
    theirs = replace(SETTINGS, wall_seconds=wall)
    mine = replace(
        task, stdin=b"", stdin_fd=to_submission, stdout_fd=from_submission, on_ready=wait
    )
    sides = (_Side(boxes, mine, settings), _Side(boxes, talk, theirs))
    for side in sides:
        side.on_error = both_ready.abort
        side.start()
    for side in sides:
        side.join()
    return _decide(*sides, settings=settings, theirs=theirs)


def _decide(
    submission: _Side, interactor: _Side, *, settings: BoxSettings, theirs: BoxSettings
) -> tuple[Outcome, Checked]:
    for side in (submission, interactor):
        if side.error is not None:
            raise side.error
    outcome, talk = submission.outcome, interactor.outcome
    assert outcome is not None and talk is not None  # noqa: S101, PT018 - no error, so an outcome
    if is_kept_waiting(outcome, talk):
        raise ProgramError(
            f"the interactor {explain_run(talk, theirs)}; the submission was waiting for it"
        )
    verdict = verdict_of_run(outcome)
    # A submission whose interactor has decided and exited ends with a broken pipe or waits for
    # ever. Only the wrong answer is its fault.
    is_left_alone = talk.ended_at < outcome.ended_at and talk.exit_code in NOT_RIGHT_CODES
    is_only_waiting = outcome.limit is Limit.WALL and is_left_alone
    if verdict in (Verdict.TLE, Verdict.MLE, Verdict.OLE) and not is_only_waiting:
        return outcome, Checked(verdict, explain_run(outcome, settings))
    checked = judge_exit(talk, "interactor", theirs)
    if verdict is Verdict.RTE and not is_left_alone:
        return outcome, Checked(verdict, explain_run(outcome, settings))
    return outcome, checked


def is_kept_waiting(outcome: Outcome, talk: Outcome) -> bool:
    """Whether the submission ran out of time because of its interactor.

    The end of the submission closes its pipe, so an interactor that waits for it exits. One that
    has not exited LONGER_SECONDS later was not waiting. A submission that used up its processor
    time was not waiting either, unless the interactor had failed before. An interactor that failed
    after it had computed for half of that time, as one that starts processes without end, was not
    waiting.
    """
    failed = talk.limit is not None or talk.exit_code not in CODES
    if talk.ended_at < outcome.ended_at:
        return failed and outcome.limit is not None
    was_busy = talk.exit_code != 0 and talk.usage.cpu_seconds >= outcome.wall_seconds / 2
    return outcome.limit is Limit.WALL and (talk.limit is not None or was_busy)
