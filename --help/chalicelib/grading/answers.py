"""Answers about assignments, submissions and gradings. Pure.

Learners receive the judge's document for learners; the document for the author is never read for
them (`chalicelib.grading.views`).
"""

import re
from collections.abc import Mapping
from typing import Any

from chalicelib.grading.model import (
    Assignment,
    Grading,
    Preparation,
    Readiness,
    State,
    Submission,
)
from chalicelib.grading.scores import Standing
from chalicelib.instants import instant
from chalicelib.jobs.model import Invocation

_CASE = re.compile(r"case (\d{1,4}) of (\d{1,4})")
_ID_CHARACTERS = 36


def show_assignment(assignment: Assignment, *, is_author: bool) -> dict[str, Any]:
    """An assignment, with its author if the caller is the author or an operator."""
    shown: dict[str, Any] = {
        "id": assignment.id,
        "title": assignment.title,
        "revision": assignment.revision,
        "passPoints": assignment.pass_points,
        "maxScore": assignment.max_score,
        "parts": [
            {
                "name": part.name,
                "title": part.title,
                "kind": part.kind,
                "maxScore": part.max_score,
                "files": list(part.files),
                "cases": part.cases,
                "timeLimitSeconds": part.time_limit_seconds,
                "memoryLimitMib": part.memory_limit_mib,
                "outputLimitKib": part.output_limit_kib,
            }
            for part in assignment.parts
        ],
        "createdAt": instant(assignment.created_at),
        "changedAt": instant(assignment.changed_at),
        "isAuthor": is_author,
        "preparation": _show_preparation(assignment.preparation, is_author=is_author),
    }
    return shown | ({"author": assignment.author} if is_author else {})


def _show_preparation(preparation: Preparation | None, *, is_author: bool) -> dict[str, Any]:
    """Of a revision's images: why they cannot be used is the author's to see."""
    if preparation is None:
        shown: dict[str, Any] = {"state": Readiness.READY.value}
        return shown | ({"reason": "", "images": {}, "changedAt": None} if is_author else {})
    shown = {"state": preparation.state.value}
    if is_author:
        shown |= {
            "reason": preparation.reason,
            "images": dict(preparation.images),
            "changedAt": instant(preparation.changed_at),
        }
    return shown


def show_submission(submission: Submission, gradings: list[dict[str, Any]]) -> dict[str, Any]:
    """A submission with its current gradings as they are to be shown."""
    states = {grading["state"] for grading in gradings}
    state = next(
        (name for name in ("RUNNING", "COMPILING", "QUEUED") if name in states), "FINISHED"
    )
    return show_row(submission) | {"state": state, "gradings": gradings}


def show_row(submission: Submission) -> dict[str, Any]:
    """The row of a submission in a listing."""
    finished = [part for part in submission.parts if part.score is not None]
    return {
        "id": submission.id,
        "assignment": submission.assignment,
        "learner": submission.learner,
        "revision": submission.revision,
        "submittedAt": instant(submission.created_at),
        "state": "FINISHED" if submission.is_finished else "QUEUED",
        "score": round(sum(part.score or 0 for part in finished), 6) if finished else None,
        "maxScore": round(sum(part.max_score for part in submission.parts), 6),
        "parts": [
            {
                "part": part.part,
                "files": [{"name": file.name, "size": file.size} for file in part.files],
                "grading": part.grading,
                "regrades": len(part.older),
                "verdict": part.verdict,
                "score": part.score,
                "maxScore": part.max_score,
                "finishedAt": instant(part.finished_at),
            }
            for part in submission.parts
        ],
    }


def show_standing(standing: Standing) -> dict[str, Any]:
    """The points that a learner has earned."""
    return {
        "best": [
            {
                "part": best.part,
                "score": best.score,
                "maxScore": best.max_score,
                "verdict": best.verdict,
                "submission": best.submission,
            }
            for best in standing.best
        ],
        "total": standing.total,
        "maxScore": standing.max_score,
        "passPoints": standing.pass_points,
        "passed": standing.passed,
    }


def show_grading(
    grading: Grading,
    document: Mapping[str, Any] | None,
    *,
    is_author: bool,
    invocation: Invocation | None = None,
    position: int | None = None,
    estimate: int | None = None,
) -> dict[str, Any]:
    """A grading in the format of the judge's result document.

    `document` is the judge's document for this reader; `invocation` the judge's invocation, for a
    grading that is not finished; `position` the number of gradings before it in the queue, and
    `estimate` the seconds until its verdict.
    """
    result = document or {}
    state, progress = _progress(grading, invocation)
    shown = {
        "id": grading.id,
        "assignment": grading.assignment,
        "part": grading.part,
        "submission": grading.submission,
        "state": state,
        "verdict": grading.verdict,
        "score": grading.score,
        "maxScore": grading.max_score,
        "feedback": result.get("feedback", grading.feedback),
        "cases": result.get("cases", []),
        "compile": result.get("compile"),
        "queuedAt": instant(grading.created_at),
        "startedAt": instant(grading.started_at),
        "finishedAt": instant(grading.finished_at),
        "revision": grading.revision,
        "attempts": grading.attempt,
        "progress": progress,
        "position": position if grading.state is State.QUEUED else None,
        "estimateSeconds": estimate if grading.state is State.QUEUED else None,
        "preparing": grading.awaits is not None,
    }
    if is_author:
        shown |= {"reason": grading.reason, "invocation": grading.invocation}
    return shown


def show_older(grading: Grading) -> dict[str, Any]:
    """A grading that was replaced by a regrade, without its cases."""
    return {
        "id": grading.id,
        "part": grading.part,
        "verdict": grading.verdict,
        "score": grading.score,
        "maxScore": grading.max_score,
        "revision": grading.revision,
        "finishedAt": instant(grading.finished_at),
    }


def _progress(grading: Grading, invocation: Invocation | None) -> tuple[str, dict[str, Any] | None]:
    if grading.state is State.FINISHED:
        return "FINISHED", None
    if grading.state is not State.STARTED:
        return "QUEUED", None
    text = invocation.progress.message if invocation and invocation.progress else ""
    text = _text_of(grading, text)
    if text == "compiling":
        return "COMPILING", {"case": None, "of": None, "message": text}
    found = _CASE.fullmatch(text)
    case, of = (int(found[1]), int(found[2])) if found else (None, None)
    return "RUNNING", {"case": case, "of": of, "message": text}


def _text_of(grading: Grading, text: str) -> str:
    """The progress text of this grading; empty if it belongs to the judge's previous one."""
    of, colon, what = text.partition(": ")
    if not colon or len(of) != _ID_CHARACTERS:
        return text  # a judge that marks only one grading
    return what if of == grading.id else ""


def facts_of_assignment(assignment: Assignment | None) -> dict[str, Any] | None:
    """The fields of an assignment in an audit record, without files."""
    if assignment is None or assignment.deleted_at is not None:
        return None
    return {
        "author": assignment.author,
        "title": assignment.title,
        "revision": assignment.revision,
        "digest": assignment.digest,
    }


def facts_of_submission(submission: Submission) -> dict[str, Any]:
    """The fields of a submission in an audit record, without files and scores."""
    return {
        "assignment": submission.assignment,
        "learner": submission.learner,
        "revision": submission.revision,
        "parts": [part.part for part in submission.parts],
        "gradings": [part.grading for part in submission.parts],
    }
