"""Statistics of gradings: verdicts of parts and cases, and failures of the judge. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.grading.model import INTERNAL_ERROR, Grading
from chalicelib.instants import instant

MAX_DETAILS_CHARACTERS = 2_000
"""Length of a failure's text in statistics; the submission has the complete text."""
Result = tuple[Grading, Mapping[str, Any]]
"""A grading and its judge's document for the author; empty if there is none."""


def show_statistics(results: Iterable[Result], revision: int) -> dict[str, Any]:
    """Counts of verdicts by part and by case, and the failures (IE).

    Only cases of `revision` are counted, because other revisions may have other cases with the same
    name.
    """
    parts: dict[str, Counter[str]] = {}
    cases: dict[tuple[str, str], Counter[str]] = {}
    errors = []
    for grading, document in results:
        if not grading.has_ended:
            continue
        parts.setdefault(grading.part, Counter())[str(grading.verdict)] += 1
        if grading.verdict == INTERNAL_ERROR:
            errors.append(_show_error(grading, document))
        if grading.revision != revision:
            continue
        for case in document.get("cases", []):
            key = (grading.part, str(case.get("name")))
            cases.setdefault(key, Counter())[str(case.get("verdict"))] += 1
    return {
        "revision": revision,
        "parts": [{"part": part, "verdicts": dict(counts)} for part, counts in parts.items()],
        "cases": [
            {"part": part, "name": name, "verdicts": dict(counts)}
            for (part, name), counts in cases.items()
        ],
        "errors": errors,
    }


def _show_error(grading: Grading, document: Mapping[str, Any]) -> dict[str, Any]:
    texts = [grading.reason, document.get("feedback")]
    texts += [
        f"{case.get('name')}: {case.get('message')}"
        for case in document.get("cases", [])
        if case.get("verdict") == INTERNAL_ERROR
    ]
    details = "\n".join(str(each) for each in texts if each)
    return {
        "submission": grading.submission,
        "grading": grading.id,
        "part": grading.part,
        "learner": grading.learner,
        "revision": grading.revision,
        "finishedAt": instant(grading.finished_at),
        "details": details[:MAX_DETAILS_CHARACTERS],
    }
