"""The output of `usher grade`. Pure."""

import re

from usher.cli.text import table
from usher.grading.folders import GraderFolder
from usher.grading.results import CaseResult, Grading
from usher.grading.verdicts import Verdict

_EXPECTED = re.compile(rb"@EXPECTED:\s*([A-Z]{2,3})\b")
_FIRST_LINES = 10
_SHOWN_LINES = 12


def expected_verdict(data: bytes) -> Verdict | None:
    """The expected verdict in a solution's first lines."""
    found = _EXPECTED.search(b"\n".join(data.split(b"\n")[:_FIRST_LINES]))
    name = found[1].decode() if found else ""
    return Verdict[name] if name in Verdict.__members__ else None


def grading_lines(grading: Grading, folder: GraderFolder) -> list[str]:
    """The sum, every case, and details of failed cases."""
    lines = [_headline(grading, folder.name)]
    if grading.compile_output and grading.verdict is Verdict.CE:
        lines += ["", "The compiler said:", *_indented(grading.compile_output)]
    ran = [case for case in grading.cases if case.verdict is not Verdict.SK]
    if ran:
        lines += [
            "",
            *table([("CASE", "VERDICT", "POINTS", "TIME", "MEMORY"), *map(_row, grading.cases)]),
        ]
    for case in grading.cases:
        if case.verdict is not Verdict.AC and case.verdict is not Verdict.SK and case.is_visible:
            lines += ["", *_case_lines(case)]
    if grading.details:
        lines += ["", "For the author:", *_indented(grading.details)]
    return lines


def _headline(grading: Grading, name: str) -> str:
    meaning = f"{grading.verdict.value} ({grading.verdict.meaning})"
    if grading.score is None:
        return f"{name}: {meaning}. {grading.feedback}"
    return (
        f"{name}: {meaning}, {grading.score:g} of {grading.max_score:g} points. {grading.feedback}"
    )


def _row(case: CaseResult) -> tuple[str, ...]:
    ran = case.verdict is not Verdict.SK
    return (
        case.name if case.is_visible else f"{case.name} (hidden)",
        f"{case.verdict.value} {case.verdict.meaning}",
        f"{case.points:g} of {case.max_points:g}",
        f"{case.cpu_seconds:.2f} s" if ran else "",
        f"{case.memory_mib:.0f} MiB" if ran else "",
    )


def _case_lines(case: CaseResult) -> list[str]:
    lines = [f"{case.name}: {case.message or case.verdict.meaning}"]
    for label, text in (("input", case.input), ("output", case.output), ("expected", case.answer)):
        if text is not None:
            lines += [f"  {label}:", *_indented(text)]
    return lines


def _indented(text: str) -> list[str]:
    """Without characters that a terminal interprets."""
    lines = [
        "".join(c if c.isprintable() or c == "\t" else "�" for c in line)
        for line in text.splitlines()
    ]
    more = [f"… {len(lines) - _SHOWN_LINES} lines more"] if len(lines) > _SHOWN_LINES else []
    return [f"    {line}" for line in [*lines[:_SHOWN_LINES], *more]]
