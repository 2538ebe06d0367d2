"""A grading's result, its score, and the part that a learner may see. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.contract.graders import Case, Grader, Group
from usher.grading.verdicts import Verdict, gravest

SHOWN_BYTES = 4096
"""Maximum size of an input, output or answer in a result."""
IE_FOR_LEARNERS = (
    "The grader failed. This is not your fault and costs you nothing; its author can see why."
)


@dataclass(frozen=True)
class CaseResult:
    """The result of one case. `message` and the fields after it are hidden if the case is."""

    name: str
    verdict: Verdict
    points: float
    max_points: float
    is_visible: bool
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_mib: float = 0.0
    message: str = ""
    input: str | None = None
    output: str | None = None
    answer: str | None = None


@dataclass(frozen=True)
class Grading:
    """The complete marking of one part, for the author. `details` never reach a learner."""

    verdict: Verdict
    score: float | None
    max_score: float
    feedback: str = ""
    cases: tuple[CaseResult, ...] = ()
    compile_output: str | None = None
    compile_exit_code: int | None = None
    details: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """id, assignment, part, submission, revision, queuedAt, startedAt, finishedAt."""


def broken(max_score: float, details: str) -> Grading:
    """The result of a failed grader."""
    return Grading(Verdict.IE, None, max_score, IE_FOR_LEARNERS, details=details)


def shown(data: bytes) -> str:
    """The bytes as text, cut to the maximum size in a result."""
    text = data[:SHOWN_BYTES].decode(errors="replace").replace("\0", "\ufffd")
    return text + "…" if len(data) > SHOWN_BYTES else text


def settle_groups(cases: Sequence[CaseResult], groups: Sequence[Group]) -> tuple[CaseResult, ...]:
    """Cases of a group that is not completely passed get no points."""
    by_name = {case.name: case for case in cases}
    for group in groups:
        if not is_whole(group, by_name):
            for name in group.cases:
                case = by_name[name]
                by_name[name] = replace(case, points=0.0)
    return tuple(by_name[case.name] for case in cases)


def is_whole(group: Group, results: Mapping[str, CaseResult]) -> bool:
    """Whether every case of it got all its points."""
    return all(
        name in results
        and results[name].verdict is Verdict.AC
        and results[name].points == results[name].max_points
        for name in group.cases
    )


def why_skipped(
    case: Case, groups: Sequence[Group], results: Mapping[str, CaseResult]
) -> str | None:
    """Why a case is skipped: a group that its group depends on is not completely passed."""
    by_name = {group.name: group for group in groups}
    for group in groups:
        if case.name in group.cases:
            for name in group.depends_on:
                if not is_whole(by_name[name], results):
                    return f"group {name!r} has to be right first"
    return None


def run_order(grader: Grader) -> list[Case]:
    """Groups in their order, because later ones depend on earlier ones; cases without a group
    first.
    """
    place = {name: n for n, group in enumerate(grader.groups, 1) for name in group.cases}
    return sorted(grader.cases, key=lambda case: place.get(case.name, 0))


def conclude(cases: Sequence[CaseResult], grader: Grader) -> Grading:
    """The grading from all cases of a grader."""
    settled = settle_groups(cases, grader.groups)
    verdict = gravest(case.verdict for case in settled)
    score = tidy(sum(case.points for case in settled))
    right = sum(case.verdict is Verdict.AC for case in settled)
    feedback = f"{right} of {len(settled)} cases right, {score:g} of {grader.max_score:g} points."
    details = ""
    if verdict is Verdict.IE:
        broken = [case for case in settled if case.verdict is Verdict.IE]
        details = "\n".join(f"{case.name}: {case.message}" for case in broken)
        return Grading(verdict, None, grader.max_score, IE_FOR_LEARNERS, settled, details=details)
    return Grading(verdict, score, tidy(grader.max_score), feedback, settled)


def tidy(points: float) -> float:
    """Without rounding errors of binary fractions."""
    return round(points, 6)


def scale(grading: Grading, points: float) -> Grading:
    """The same grading with the maximum `points`, as a part of an assignment."""
    if grading.max_score == 0 or grading.score is None:
        return replace(grading, max_score=points)
    score = tidy(points * grading.score / grading.max_score)
    text = grading.feedback
    if score != grading.score:
        text = f"{text} That is {score:g} of {points:g} points of the part."
    return replace(grading, score=score, max_score=points, feedback=text)


def document(grading: Grading, *, state: str = "FINISHED") -> dict[str, Any]:
    """The complete result document, for the author."""
    fields: dict[str, Any] = {
        key: grading.identity.get(key) for key in ("id", "assignment", "part", "submission")
    }
    fields |= {
        "state": state,
        "verdict": grading.verdict.value,
        "score": grading.score,
        "maxScore": grading.max_score,
        "feedback": grading.feedback
        if not grading.details
        else f"{grading.feedback}\n{grading.details}".strip(),
        "cases": [_case_document(case) for case in grading.cases],
        "compile": None
        if grading.compile_output is None
        else {"output": grading.compile_output, "exitCode": grading.compile_exit_code},
    }
    instants = ("queuedAt", "startedAt", "finishedAt", "revision")
    return fields | {key: grading.identity.get(key) for key in instants}


def _case_document(case: CaseResult) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": case.name,
        "verdict": case.verdict.value,
        "points": tidy(case.points),
        "maxPoints": tidy(case.max_points),
        "cpuSeconds": round(case.cpu_seconds, 3),
        "wallSeconds": round(case.wall_seconds, 3),
        "memoryMib": round(case.memory_mib, 1),
        "message": case.message,
    }
    optional = {"output": case.output, "answer": case.answer, "input": case.input}
    return fields | {key: value for key, value in optional.items() if value is not None}


def for_learner(grading: Grading) -> Grading:
    """The part for the learner: of a hidden case its verdict, points and usage.

    Messages of hidden cases, and an author's errors, may quote input or answer; they are replaced
    by the meaning of the verdict.
    """
    return replace(grading, cases=tuple(map(_case_for_learner, grading.cases)), details="")


def _case_for_learner(case: CaseResult) -> CaseResult:
    if case.is_visible:
        is_broken = case.verdict is Verdict.IE
        return replace(case, message=case.verdict.meaning) if is_broken else case
    # Exact numbers could transmit the input, two digits a case.
    return replace(
        case,
        message=case.verdict.meaning,
        cpu_seconds=round(case.cpu_seconds, 1),
        wall_seconds=round(case.wall_seconds, 1),
        memory_mib=float(round(case.memory_mib)),
        input=None,
        output=None,
        answer=None,
    )
