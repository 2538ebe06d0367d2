"""The best score of each part, their sum, and whether the learner passes. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.grading.model import Assignment, Submission, SubmittedPart


@dataclass(frozen=True)
class Best:
    """The best mark of one part."""

    part: str
    score: float
    max_score: float
    verdict: str
    submission: str
    grading: str


@dataclass(frozen=True)
class Standing:
    """The points that a learner has earned."""

    best: tuple[Best, ...]
    total: float
    max_score: float
    pass_points: float
    passed: bool


def standing(assignment: Assignment, submissions: Iterable[Submission]) -> Standing:
    """The points over all submissions of one learner, in any order. Failed gradings (IE) are
    ignored.

    Of equal scores the earlier submission counts. If a part's points have changed, an earlier score
    counts with the same share.
    """
    best: dict[str, Best] = {}
    for submission in sorted(submissions, key=lambda each: (each.created_at, each.id)):
        for part in submission.parts:
            found = _best(assignment, submission, part)
            known = best.get(part.part)
            if found is not None and (known is None or found.score > known.score):
                best[part.part] = found
    ordered = tuple(best[part.name] for part in assignment.parts if part.name in best)
    total = round(sum(each.score for each in ordered), 6)
    passed = bool(ordered) and total >= assignment.pass_points
    return Standing(ordered, total, assignment.max_score, assignment.pass_points, passed)


def _best(assignment: Assignment, submission: Submission, part: SubmittedPart) -> Best | None:
    info = assignment.part(part.part)
    if info is None or part.verdict is None or part.score is None:
        return None
    is_same = part.max_score in (info.max_score, 0)
    score = part.score if is_same else part.score * info.max_score / part.max_score
    score = round(min(score, info.max_score), 6)
    return Best(part.part, score, info.max_score, part.verdict, submission.id, part.grading)
