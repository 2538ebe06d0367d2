"""The author's own programs, checkers and interactors, in boxes with another user than submissions.

They follow testlib's convention. https://codeforces.com/testlib
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.contract.graders import Program
from usher.box.model import AUTHOR, BoxSettings, File, Outcome, Task
from usher.box.runtimes import Boxes
from usher.errors import UsherError
from usher.grading.checkers import Checked
from usher.grading.verdicts import Verdict, explain_run

SETTINGS = BoxSettings(
    cpu_seconds=10.0,
    wall_seconds=21.0,
    memory_mib=512,
    output_bytes=256 * 1024,
    user=AUTHOR,
)
COMPILE_SETTINGS = BoxSettings(
    cpu_seconds=60.0,
    wall_seconds=120.0,
    memory_mib=2048,
    output_bytes=64 * 1024,
    processes=256,
    open_files=1024,
    scratch_mib=256,
    user=AUTHOR,
)
EXECUTABLE = 0o755
_VERDICTS = {0: Verdict.AC, 1: Verdict.WA, 2: Verdict.PE, 4: Verdict.PE, 8: Verdict.PE}
"""testlib ends with 4 if the output goes on after the answer, and with 8 if it is too short."""
_UNCAUGHT_CODE = 1
"""Exit code of Python and Java after an exception; it is not a checker's verdict."""
_UNCAUGHT = re.compile(
    rb'^(?:Traceback \(most recent call last\):|Exception in thread "main" .*)\r?$', re.MULTILINE
)
_POINTS_CODE = 7
CODES = frozenset({*_VERDICTS, _POINTS_CODE})
"""Exit codes with which a checker or interactor gives its opinion."""
NOT_RIGHT_CODES = CODES - {0}
_POINTS = re.compile(rb"\s*points\s+([0-9]{1,9}(?:\.[0-9]{1,20})?)(?=\s|$)")
"""testlib prints up to ten decimals."""
_MESSAGE_BYTES = 500


class ProgramError(UsherError):
    """An author's program failed or returned an invalid result; the submission is not to blame."""


@dataclass(frozen=True)
class PreparedProgram:
    """A program ready to run. `files` has its files, compiled."""

    argv: tuple[str, ...]
    files: Mapping[str, File]
    image: str


def prepare(
    boxes: Boxes, program: Program, folder: Mapping[str, bytes], image: str
) -> PreparedProgram:
    """Raises ProgramError if it does not compile, and BoxError."""
    files = {name: File(folder[name], EXECUTABLE) for name in program.needed}
    if program.compile:
        task = Task(program.compile, files, image=image, collect=True)
        outcome = boxes.run(task, COMPILE_SETTINGS)
        if not outcome.is_success:
            raise ProgramError(
                f"{program.program}: its compiler {explain_run(outcome, COMPILE_SETTINGS)}"
                f"\n{message_of(outcome)}"
            )
        files = dict(outcome.files)
    return PreparedProgram(program.argv, files, image)


def run_checker(
    boxes: Boxes, program: PreparedProgram, given: bytes, output: bytes, answer: bytes
) -> Checked:
    """Runs `checker input output answer`. Raises ProgramError, and BoxError."""
    data = {"input": File(given), "output": File(output), "answer": File(answer)}
    argv = (*program.argv, "input", "output", "answer")
    task = Task(argv, {**program.files, **data}, image=program.image)
    return judge_exit(boxes.run(task, SETTINGS), "checker", SETTINGS)


def judge_exit(outcome: Outcome, what: str, settings: BoxSettings) -> Checked:
    """The result of a checker's or interactor's exit code. Raises ProgramError."""
    message = message_of(outcome)
    if outcome.exit_code == _UNCAUGHT_CODE and _UNCAUGHT.search(outcome.stderr):
        last = outcome.stderr.strip()[-_MESSAGE_BYTES:].decode(errors="replace")
        raise ProgramError(f"the {what} ended with an exception that it did not catch: {last}")
    if outcome.limit is None and outcome.exit_code in _VERDICTS:
        return Checked(_VERDICTS[outcome.exit_code], message)
    if outcome.limit is None and outcome.exit_code == _POINTS_CODE:
        # testlib writes to stderr; other programs may use stdout.
        found = _POINTS.match(outcome.stderr) or _POINTS.match(outcome.stdout)
        if found is None:
            raise ProgramError(f"the {what} ended with 7 and named no points: {message}")
        return Checked(Verdict.WA, message, float(found[1]))
    raise ProgramError(f"the {what} {explain_run(outcome, settings)}: {message}")


def message_of(outcome: Outcome) -> str:
    """The beginning of a program's output, for the message of a case."""
    text = outcome.stderr.strip() or outcome.stdout.strip()
    return text[:_MESSAGE_BYTES].decode(errors="replace").replace("\0", "\ufffd")
