"""What becomes of a grading when something happens to it. Pure.

Each decision returns its argument where nothing is to be written. News of an invocation that is not
the grading's current one changes nothing, so a mark comes from one judge and counts once.
"""

from dataclasses import replace
from typing import Any

from chalicelib.grading.model import (
    IE_FOR_LEARNERS,
    INTERNAL_ERROR,
    MAX_ATTEMPTS,
    MAX_FEEDBACK_CHARACTERS,
    VERDICTS,
    Grading,
    Mark,
    State,
    Submission,
)
from chalicelib.jobs.model import Invocation, Reason, derived_id

PLACE = "capacity#judges"
"""Counter of the gradings that judges have."""
NO_USE_TO_REPEAT = frozenset({Reason.TIMED_OUT, Reason.INVALID})
"""Ends of a judge that another one would come to as well."""


def invocation_id(grading_id: str, attempt: int) -> str:
    """The judge's invocation of one attempt: the same for everybody who asks for it."""
    return derived_id("grading", grading_id, str(attempt))


def decide_hand_over(grading: Grading, now: float) -> Grading:
    """Give it to a judge, as its next attempt."""
    if not grading.is_waiting:
        return grading
    attempt = grading.attempt + 1
    return grading.moved(
        State.HANDED,
        attempt=attempt,
        invocation=invocation_id(grading.id, attempt),
        handed_at=now,
        results=f"results/{grading.id}/{attempt}",
        holds=(*grading.holds, PLACE),
    )


def decide_start(grading: Grading, invocation: str, now: float) -> Grading | None:
    """The invocation got its start permit; None where the grading is none of its business."""
    if grading.invocation != invocation or grading.has_ended or grading.is_waiting:
        return None
    if grading.state is State.STARTED:  # it did not get the answer, and asks again
        return grading
    return grading.moved(State.STARTED, started_at=now)


def decide_end(grading: Grading, invocation: Invocation, now: float) -> Grading:
    """The invocation of a judge is over: a mark, the next attempt, or IE after the last one."""
    if grading.invocation != invocation.id or grading.has_ended or grading.is_waiting:
        return grading
    mark = read_mark(invocation.result, grading.max_score)
    if invocation.reason is Reason.SUCCEEDED and mark is not None:
        return grading.moved(
            State.FINISHED,
            finished_at=now,
            verdict=mark.verdict,
            score=mark.score,
            feedback=mark.feedback,
            results=grading.results if mark.is_detailed else None,
            holds=(),
        )
    why = _why(invocation)
    if grading.attempt < MAX_ATTEMPTS and invocation.reason not in NO_USE_TO_REPEAT:
        holds = tuple(key for key in grading.holds if key != PLACE)
        return grading.moved(
            State.QUEUED, invocation=None, started_at=None, results=None, reason=why, holds=holds
        )
    return grading.moved(
        State.FINISHED,
        finished_at=now,
        verdict=INTERNAL_ERROR,
        score=None,
        feedback=IE_FOR_LEARNERS,
        reason=why,
        results=None,
        holds=(),
    )


def read_mark(result: Any, max_score: float) -> Mark | None:
    """The result of a judge's invocation; None for what is none."""
    if not isinstance(result, dict):
        return None
    verdict, score, feedback = (result.get(key) for key in ("verdict", "score", "feedback"))
    if verdict not in VERDICTS or not isinstance(feedback, str):
        return None
    if verdict == INTERNAL_ERROR:
        score = None
    else:
        if not isinstance(score, int | float) or isinstance(score, bool):
            return None
        if not 0 <= score <= max_score + 1e-6:
            return None
        score = min(round(float(score), 6), max_score)
    is_detailed = result.get("detailed") is True
    return Mark(str(verdict), score, feedback[:MAX_FEEDBACK_CHARACTERS], is_detailed)


def fold_mark(submission: Submission, grading: Grading) -> Submission:
    """The submission with the mark of a finished grading, if that is the part's current one."""
    parts = tuple(
        replace(
            part,
            verdict=grading.verdict,
            score=grading.score,
            max_score=grading.max_score,
            finished_at=grading.finished_at,
        )
        if part.grading == grading.id
        else part
        for part in submission.parts
    )
    return submission if parts == submission.parts else replace(submission, parts=parts)


def _why(invocation: Invocation) -> str:
    said = f": {invocation.detail}" if invocation.detail else ""
    return f"the judge ended without a mark ({invocation.reason}{said})"
