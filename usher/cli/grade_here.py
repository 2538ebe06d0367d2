"""`usher grade` and `usher grader check`: mark files in the boxes of this machine."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chalicelib.contract.graders import GraderError
from chalicelib.contract.submitted import MOST_BYTES, SubmissionError, accept_files
from usher.cli.common import note, out, out_json, say_for
from usher.cli.exit_codes import FAILED, GRADER_FAILED, OK
from usher.cli.grade_text import expected_verdict, grading_lines
from usher.cli.text import UsageError
from usher.errors import UsherError
from usher.grading.folders import Assignment, GraderFolder, read_assignment
from usher.grading.image_cleaning import CleanImage
from usher.grading.marking import mark_here
from usher.grading.results import Grading, document, for_learner
from usher.grading.verdicts import Verdict

SOLUTIONS = "solutions"


def grade(arguments: argparse.Namespace) -> int:
    """Mark the files of a learner; returns the exit code."""
    try:
        folder = _part(read_assignment(arguments.folder), arguments.part)
        submitted = accept_files(_read(arguments.files), folder.grader.files)
    except (GraderError, SubmissionError) as error:
        raise UsageError(str(error)) from None
    on_progress = _progress if sys.stderr.isatty() else lambda *_: None
    began = _now()
    grading = _mark(folder, submitted, arguments, on_progress)
    identity = {"part": folder.name, "startedAt": began, "finishedAt": _now()}
    grading = replace(grading, identity=identity)
    seen = grading if arguments.author else for_learner(grading)
    if arguments.json:
        out_json(document(seen))
    else:
        out(*grading_lines(seen, folder))
    if grading.verdict is Verdict.IE:
        if not arguments.author:
            note("usher: the grader failed; --author shows why")
        return GRADER_FAILED
    return OK if grading.score == grading.max_score else FAILED


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _mark(
    folder: GraderFolder,
    submitted: Mapping[str, bytes],
    arguments: argparse.Namespace,
    on_progress: Any = lambda *_: None,
) -> Grading:
    return mark_here(
        folder,
        submitted,
        runtime=arguments.runtime,
        base=arguments.base,
        on_progress=on_progress,
        on_cleaned=_say_cleaned,
    )


def _say_cleaned(image: CleanImage) -> None:
    listed = ", ".join(image.cleaned[:5]) + (", …" if len(image.cleaned) > 5 else "")
    note(
        f"usher: {image.digest}: setuid bits and capabilities taken off "
        f"{len(image.cleaned)} files: {listed}"
    )


def _part(assignment: Assignment, wanted: str | None) -> GraderFolder:
    names = ", ".join(assignment.parts)
    if wanted is None and len(assignment.parts) > 1:
        raise UsageError(f"--part says which of them: {names}")
    if wanted is not None and wanted not in assignment.parts:
        raise UsageError(f"there is no part {wanted!r}; there are {names}")
    return assignment.parts[wanted or names]


def _read(paths: list[Path]) -> dict[str, bytes]:
    """Raises UsageError."""
    files: dict[str, bytes] = {}
    for path in paths:
        if path.name in files:
            raise UsageError(f"two files are called {path.name}")
        try:
            with path.open("rb") as file:
                files[path.name] = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(str(error)) from None
    return files


def _progress(what: str, number: int, total: int) -> None:
    line = f"case {number} of {total}" if what == "case" else what
    end = "\n" if number == total and what == "case" else ""
    sys.stderr.write(f"\r\033[K{line}{end}")
    sys.stderr.flush()


def check(arguments: argparse.Namespace) -> int:
    """Mark all solutions of an assignment; returns the exit code."""
    try:
        assignment = read_assignment(arguments.folder)
    except GraderError as error:
        raise UsageError(str(error)) from None
    checked: list[Checked] = []
    is_complete = True
    for folder in assignment.parts.values():
        solutions = sorted(
            path
            for path in (folder.path / SOLUTIONS).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        if not solutions:
            note(f"usher: {folder.name}: no files in {folder.path / SOLUTIONS}")
            is_complete = False
        for path in solutions:
            checked.append(_check_one(folder, path, arguments))
            say_for(arguments)(checked[-1].line())
    is_right = is_complete and all(one.is_right for one in checked)
    if arguments.json:
        out_json({"right": is_right, "solutions": [one.document() for one in checked]})
    return OK if is_right else FAILED


@dataclass(frozen=True)
class Checked:
    """A solution with the verdict that it expects and the one it got, as far as they are known."""

    part: str
    solution: str
    expected: str | None
    verdict: str | None = None
    score: float | None = None
    max_score: float | None = None
    is_right: bool = False
    why: str = ""

    def line(self) -> str:
        """The line for display."""
        name = f"{self.part}: {self.solution}"
        if self.verdict is None:
            return f"bad  {name}: {self.why}"
        points = "" if self.score is None else f", {self.score:g} of {self.max_score:g}"
        if self.is_right:
            return f"ok   {name}: {self.verdict}{points}"
        return f"bad  {name}: {self.verdict}{points}, expected {self.expected}: {self.why}"

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "part": self.part,
            "solution": self.solution,
            "expected": self.expected,
            "verdict": self.verdict,
            "score": self.score,
            "maxScore": self.max_score,
            "right": self.is_right,
            "why": self.why,
        }


def _check_one(folder: GraderFolder, path: Path, arguments: argparse.Namespace) -> Checked:
    name = str(path.relative_to(folder.path / SOLUTIONS))
    data = path.read_bytes()
    expected = expected_verdict(data)
    found = Checked(folder.name, name, None if expected is None else expected.value)
    if expected is None:
        return replace(found, why="no @EXPECTED: with a verdict in its first lines")
    wanted = folder.grader.files
    file_name = path.name if len(wanted) != 1 or "*" in wanted[0] else wanted[0]
    try:
        submitted = accept_files({file_name: data}, wanted)
        grading = _mark(folder, submitted, arguments)
    except (SubmissionError, UsherError) as error:
        return replace(found, why=str(error))
    found = replace(
        found,
        verdict=grading.verdict.value,
        score=grading.score,
        max_score=grading.max_score,
        is_right=grading.verdict is expected,
    )
    if found.is_right:
        return found
    why = (
        grading.details
        or grading.compile_output
        or "; ".join(
            f"{case.name} {case.verdict.value} {case.message}".strip()
            for case in grading.cases
            if case.verdict is not Verdict.AC
        )
    )
    return replace(found, why=why[-500:])
