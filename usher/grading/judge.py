"""Marks files with a grader of the kind `tests`: compiles, runs every case, checks, adds up.

Expected answers never enter the box of a submission: they are compared here, or by the author's
checker in a separate box.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from chalicelib.contract.graders import Case, FloatChecker, Grader, Program
from usher.box.model import MIB, BoxError, BoxSettings, File, Outcome, Task
from usher.box.runtimes import Boxes
from usher.grading import results
from usher.grading.checkers import (
    Checked,
    check_exact,
    check_float,
    check_lines,
    check_tokens,
)
from usher.grading.folders import GraderFolder
from usher.grading.image_marking import mark_by_image
from usher.grading.interaction import converse
from usher.grading.programs import PreparedProgram, ProgramError, prepare, run_checker
from usher.grading.results import CaseResult, Grading, broken, shown
from usher.grading.verdicts import Verdict, explain_run, verdict_of_run

Progress = Callable[[str, int, int], None]
"""Called with `compiling`, or `case`, its number and the number of cases."""
COMPILE_OUTPUT_BYTES = 64 * 1024
_CHECKS = {"exact": check_exact, "lines": check_lines, "tokens": check_tokens}


STACK_MIB = 64
"""The least limit of a stack; where more memory is allowed, all of it may be stack."""


def run_settings(grader: Grader) -> BoxSettings:
    """The box of a submission's run."""
    return BoxSettings(
        cpu_seconds=grader.time_limit_seconds,
        wall_seconds=grader.wall_seconds,
        memory_mib=grader.memory_limit_mib,
        output_bytes=grader.output_limit_kib * 1024,
        processes=grader.processes,
        stack_mib=max(STACK_MIB, grader.memory_limit_mib),
    )


def compile_settings(grader: Grader) -> BoxSettings:
    """The box of a compile step: as restricted as the run's, with separate limits."""
    return BoxSettings(
        cpu_seconds=grader.compile_time_limit_seconds,
        wall_seconds=2 * grader.compile_time_limit_seconds + 1,
        memory_mib=grader.compile_memory_limit_mib,
        output_bytes=COMPILE_OUTPUT_BYTES,
        processes=256,
        open_files=1024,
        scratch_mib=256,
    )


@dataclass(frozen=True)
class Judge:
    """Marks with these boxes. `image` is the image of Docker's boxes."""

    boxes: Boxes
    image: str = ""

    def grade(
        self,
        folder: GraderFolder,
        submitted: Mapping[str, bytes],
        on_progress: Progress = lambda *_: None,
        learner: str = "",
    ) -> Grading:
        """Mark the files. Errors of a program or an author are verdicts and not exceptions.

        `learner` is passed to an image as `userId`.
        """
        try:
            with contextlib.closing(self.boxes.session()) as boxes:
                if folder.grader.kind == "image":
                    on_progress("case", 1, 1)
                    grading = mark_by_image(boxes, self.image, folder, submitted, learner)
                else:
                    own = replace(self, boxes=boxes)
                    grading = _Marking(own, folder, on_progress).run(submitted)
        except (BoxError, ProgramError) as error:
            return broken(folder.max_points, str(error))
        is_scaled = folder.points is None or folder.grader.kind == "image"
        return (
            grading if is_scaled or folder.points is None else results.scale(grading, folder.points)
        )


@dataclass
class _Marking:
    """One grading in progress."""

    judge: Judge
    folder: GraderFolder
    on_progress: Progress

    def run(self, submitted: Mapping[str, bytes]) -> Grading:
        grader = self.folder.grader
        files = {name: File(data) for name, data in submitted.items()}
        compiled: Outcome | None = None
        if grader.compile:
            self.on_progress("compiling", 0, 0)
            compiled = self.judge.boxes.run(
                Task(grader.compile, files, image=self.judge.image, collect=True),
                compile_settings(grader),
            )
            if not compiled.is_success:
                return self._compile_error(compiled)
            files = dict(compiled.files)
        programs = self._programs()
        done: dict[str, CaseResult] = {}
        for number, case in enumerate(results.run_order(grader), 1):
            self.on_progress("case", number, len(grader.cases))
            done[case.name] = self._case(case, files, done, programs)
        grading = results.conclude([done[case.name] for case in grader.cases], grader)
        return grading if compiled is None else _with_compile(grading, compiled)

    def _programs(self) -> dict[str, PreparedProgram]:
        """The author's programs, compiled if necessary."""
        grader = self.folder.grader
        wanted = {"interactor": grader.interactor}
        if isinstance(grader.checker, Program) and grader.interactor is None:
            wanted["checker"] = grader.checker
        return {
            name: prepare(self.judge.boxes, program, self.folder.files, self.judge.image)
            for name, program in wanted.items()
            if program is not None
        }

    def _compile_error(self, compiled: Outcome) -> Grading:
        grader = self.folder.grader
        settings = compile_settings(grader)
        text = f"The compiler {explain_run(compiled, settings)}."
        cases = tuple(
            CaseResult(case.name, Verdict.SK, 0.0, case.points, case.is_visible)
            for case in grader.cases
        )
        grading = Grading(Verdict.CE, 0.0, results.tidy(grader.max_score), text, cases)
        return _with_compile(grading, compiled)

    def _case(
        self,
        case: Case,
        files: Mapping[str, File],
        done: Mapping[str, CaseResult],
        programs: Mapping[str, PreparedProgram],
    ) -> CaseResult:
        grader = self.folder.grader
        empty = CaseResult(case.name, Verdict.SK, 0.0, case.points, case.is_visible)
        if reason := results.why_skipped(case, grader.groups, done):
            return replace(empty, message=reason)
        given = self.folder.files[case.input]
        answer = self.folder.files[case.answer] if case.answer else b""
        settings = run_settings(grader)
        task = Task(grader.run, files, given, image=self.judge.image)
        try:
            if "interactor" in programs:
                outcome, checked = converse(
                    self.judge.boxes,
                    programs["interactor"],
                    task,
                    settings,
                    given=given,
                    answer=answer,
                )
            else:
                outcome = self.judge.boxes.run(task, settings)
                checked = self._check(outcome, settings, given, answer, programs.get("checker"))
            points = _points(checked, case)
        except (BoxError, ProgramError) as error:
            return replace(empty, verdict=Verdict.IE, message=str(error))
        is_whole = checked.points is not None and 0 < case.points == points
        return replace(
            empty,
            verdict=Verdict.AC if is_whole else checked.verdict,
            points=points,
            cpu_seconds=outcome.usage.cpu_seconds,
            wall_seconds=outcome.wall_seconds,
            memory_mib=outcome.usage.memory_bytes / MIB,
            message=checked.message,
            input=shown(given),
            output=shown(outcome.stdout),
            answer=shown(answer) if case.answer else None,
        )

    def _check(
        self,
        outcome: Outcome,
        settings: BoxSettings,
        given: bytes,
        answer: bytes,
        checker: PreparedProgram | None,
    ) -> Checked:
        verdict = verdict_of_run(outcome)
        if verdict is not None:
            return Checked(verdict, explain(outcome, settings))
        kind = self.folder.grader.checker
        if checker is not None:
            return run_checker(self.judge.boxes, checker, given, outcome.stdout, answer)
        if isinstance(kind, FloatChecker):
            return check_float(outcome.stdout, answer, kind.tolerance)
        return _CHECKS[str(kind)](outcome.stdout, answer)


def explain(outcome: Outcome, settings: BoxSettings) -> str:
    """Why a run failed, and the end of its output."""
    stderr = shown(outcome.stderr[-1000:]).strip()
    return explain_run(outcome, settings) + (f"\n{stderr}" if stderr else "")


def _points(checked: Checked, case: Case) -> float:
    """Raises ProgramError for invalid points."""
    if checked.points is None:
        return case.points if checked.verdict is Verdict.AC else 0.0
    if not 0 <= checked.points <= case.points:
        raise ProgramError(f"the checker gave {checked.points:g} of {case.points:g} points")
    return checked.points


def _with_compile(grading: Grading, compiled: Outcome) -> Grading:
    text = (compiled.stdout + compiled.stderr).decode(errors="replace").replace("\0", "\ufffd")
    return replace(
        grading,
        compile_output=text[:COMPILE_OUTPUT_BYTES],
        compile_exit_code=compiled.exit_code,
    )
