"""Transitions of gradings. Pure.

Each decision returns its argument if nothing is to be written. Events of invocations other than the
grading's current one change nothing, so a mark comes from one judge and counts once.
"""

import hashlib
import hmac
import re
from dataclasses import replace
from typing import Any

from chalicelib.grading.model import (
    IE_FOR_LEARNERS,
    INTERNAL_ERROR,
    MAX_ATTEMPTS,
    MAX_FEEDBACK_CHARACTERS,
    VERDICTS,
    Assignment,
    Grading,
    Mark,
    Readiness,
    State,
    Submission,
)
from chalicelib.jobs.model import Invocation, Reason, derived_id
from chalicelib.jobs.model import State as JobState

PLACE = "capacity#judges"
"""Counter of the gradings that judges have."""
NO_USE_TO_REPEAT = frozenset({Reason.TIMED_OUT, Reason.INVALID})
"""Ends of a judge's invocation that a repetition would not avoid."""

REFERENCE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}@)?sha256:[0-9a-f]{64}")
"""An immutable reference of an image: a name with a digest, or an id of the engine."""
MOST_IN_A_ROW = 25
"""Maximum number of gradings that one invocation of the judge marks."""
RUN_SECONDS = 120.0
"""An invocation of the judge receives no further gradings after this time."""


def invocation_id(grading_id: str, attempt: int) -> str:
    """The id of the judge's invocation for one attempt; equal for all processes that request it."""
    return derived_id("grading", grading_id, str(attempt))


def decide_hand_over(grading: Grading, now: float) -> Grading:
    """Hand the grading over to a judge, as its next attempt."""
    if not grading.is_waiting:
        return grading
    attempt = grading.attempt + 1
    return grading.moved(
        State.HANDED,
        attempt=attempt,
        invocation=invocation_id(grading.id, attempt),
        handed_at=now,
        results=f"results/{grading.id}/{attempt}",
        attempt_counters=(*grading.attempt_counters, PLACE),
    )


def marks_key(invocation_key: str) -> str:
    """The key with which a judge reports marks; it permits nothing else."""
    return hmac.new(invocation_key.encode(), b"marks", hashlib.sha256).hexdigest()


def may_go_on(grading: Grading, invocation: Invocation, newest: str | None, now: float) -> bool:
    """Whether the judge that marked `grading` may receive another one.

    `newest`: the task definition of the deployed judge.
    """
    return (
        invocation.state is JobState.STARTED
        and invocation.started_at is not None
        and invocation.task_definition == newest
        and grading.place < MOST_IN_A_ROW
        and now - invocation.started_at < RUN_SECONDS
    )


def decide_next(grading: Grading, marked: Grading, now: float) -> Grading:
    """Assign the grading to the judge that has just marked `marked`, in its place."""
    if not grading.is_waiting or marked.invocation is None:
        return grading
    attempt = grading.attempt + 1
    return grading.moved(
        State.STARTED,
        attempt=attempt,
        invocation=marked.invocation,
        handed_at=now,
        started_at=now,
        results=f"results/{grading.id}/{attempt}",
        attempt_counters=(*grading.attempt_counters, PLACE),
        place=marked.place + 1,
    )


def decide_mark(grading: Grading, mark: Mark, now: float) -> Grading:
    """Apply a judge's mark, or its result of a preparation."""
    failed = grading.is_preparation and mark.verdict == INTERNAL_ERROR
    return grading.moved(
        State.FINISHED,
        finished_at=now,
        verdict=mark.verdict,
        score=mark.score,
        feedback=mark.feedback,
        reason=mark.feedback if failed else grading.reason,
        images=mark.images if grading.is_preparation else grading.images,
        results=grading.results if mark.is_detailed else None,
        attempt_counters=(),
    )


def decide_release(grading: Grading, preparation: Grading | None, now: float) -> Grading:
    """Apply the end of the preparation that a grading waits for; None if its record is missing."""
    if grading.awaits is None or grading.has_ended:
        return grading
    if preparation is None:
        return replace(grading, awaits=None)
    if preparation.id != grading.awaits or not preparation.has_ended:
        return grading
    if preparation.verdict != INTERNAL_ERROR:
        return replace(grading, awaits=None, image=preparation.images.get(grading.part))
    return grading.moved(
        State.FINISHED,
        finished_at=now,
        verdict=INTERNAL_ERROR,
        score=None,
        feedback=IE_FOR_LEARNERS,
        reason=f"the grader's image cannot be used: {preparation.reason}",
        awaits=None,
        attempt_counters=(),
    )


def fold_preparation(assignment: Assignment, grading: Grading) -> Assignment:
    """The assignment with the result of a preparation, if that is its current one."""
    current = assignment.preparation
    if current is None or current.grading != grading.id or not grading.has_ended:
        return assignment
    failed = grading.verdict == INTERNAL_ERROR
    after = replace(
        current,
        state=Readiness.FAILED if failed else Readiness.READY,
        changed_at=grading.finished_at or current.changed_at,
        images={} if failed else grading.images,
        reason=(grading.reason or "") if failed else "",
    )
    return assignment if after == current else replace(assignment, preparation=after)


def decide_start(grading: Grading, invocation: str, now: float) -> Grading | None:
    """The invocation got its start permit; None if the grading is not assigned to it."""
    if grading.invocation != invocation or grading.has_ended or grading.is_waiting:
        return None
    if grading.state is State.STARTED:  # it did not receive the answer and repeats the request
        return grading
    return grading.moved(State.STARTED, started_at=now)


def decide_end(grading: Grading, invocation: Invocation, now: float) -> Grading:
    """The judge's invocation ended: a mark, the next attempt, or IE after the last one."""
    if grading.invocation != invocation.id or grading.has_ended or grading.is_waiting:
        return grading
    mark = read_mark(invocation.result, grading.max_score)
    if invocation.reason is Reason.SUCCEEDED and mark and _is_of(invocation, grading):
        return decide_mark(grading, mark, now)
    why = _why(invocation)
    # A grading that was not the judge's first did not have its full time.
    is_useful = invocation.reason not in NO_USE_TO_REPEAT or grading.place > 1
    if grading.attempt < MAX_ATTEMPTS and is_useful:
        attempt_counters = tuple(key for key in grading.attempt_counters if key != PLACE)
        return grading.moved(
            State.QUEUED,
            invocation=None,
            started_at=None,
            results=None,
            reason=why,
            attempt_counters=attempt_counters,
            place=1,
        )
    return grading.moved(
        State.FINISHED,
        finished_at=now,
        verdict=INTERNAL_ERROR,
        score=None,
        feedback=IE_FOR_LEARNERS,
        reason=why,
        results=None,
        attempt_counters=(),
    )


def read_mark(result: Any, max_score: float) -> Mark | None:
    """The result of a judge's invocation; None if it is invalid."""
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
    images = result.get("images", {})
    if not isinstance(images, dict) or not all(map(_is_reference, images.values())):
        return None
    text = feedback[:MAX_FEEDBACK_CHARACTERS]
    return Mark(str(verdict), score, text, is_detailed, images)


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


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


def _is_of(invocation: Invocation, grading: Grading) -> bool:
    """Whether the invocation's result belongs to the grading; without a grading id it belongs to
    the invocation's first.
    """
    found, given = invocation.result, invocation.parameters
    first = given.get("grading") if isinstance(given, dict) else None
    return isinstance(found, dict) and found.get("grading", first) == grading.id


def _why(invocation: Invocation) -> str:
    detail = f": {invocation.detail}" if invocation.detail else ""
    return f"the judge ended without a mark ({invocation.reason}{detail})"
