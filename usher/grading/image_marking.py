"""Marks with a grader of the kind `image`: runs the author's image on the files and reads its
result.

The result is the author's, so an invalid one is a failure of the grader.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from chalicelib.contract.graders import Grader
from usher.box.model import (
    AUTHOR,
    BoxSettings,
    File,
    Folder,
    InnerBox,
    Outcome,
    Task,
)
from usher.box.runtimes import Boxes
from usher.grading.folders import GraderFolder
from usher.grading.html_text import plain_text
from usher.grading.image_results import (
    FEEDBACK_FILES,
    FILES,
    ImageTest,
    ResultError,
    parse_result,
)
from usher.grading.images import ImageCommand, ImageError, image_command
from usher.grading.programs import ProgramError
from usher.grading.results import CaseResult, Grading, broken, shown, tidy
from usher.grading.verdicts import Verdict, explain_run

SHARED = "/shared"
SUBMISSION = "submission"
INNER_FILE_MIB = 64
NEEDS_DOCKER = "a grader of the kind image needs Docker; bubblewrap has no images to run"


def image_settings(grader: Grader) -> BoxSettings:
    """The box of the image: as restricted as a submission's, with the author's user."""
    return BoxSettings(
        cpu_seconds=grader.time_limit_seconds,
        wall_seconds=grader.wall_seconds,
        memory_mib=grader.memory_limit_mib,
        output_bytes=grader.output_limit_kib * 1024,
        processes=grader.processes,
        open_files=1024,
        scratch_mib=256,
        user=AUTHOR,
    )


def inner_settings(grader: Grader) -> BoxSettings:
    """The maximum that `usher-box run` may request."""
    return BoxSettings(
        cpu_seconds=grader.time_limit_seconds,
        wall_seconds=grader.wall_seconds,
        memory_mib=grader.memory_limit_mib,
        output_bytes=grader.output_limit_kib * 1024,
        processes=grader.processes,
        scratch_mib=INNER_FILE_MIB,
    )


def image_task(
    image: str,
    command: ImageCommand,
    folder: GraderFolder,
    submitted: Mapping[str, bytes],
    learner: str,
) -> Task:
    """The run of the image on the files. Pure."""
    files = {name: File(data) for name, data in submitted.items()}
    given = {
        "partId": folder.name,
        "userId": learner or "learner",
        "filename": next(iter(sorted(files)), ""),
    }
    wanted: dict[str, list[str]] = {}
    for path in (*FILES, *FEEDBACK_FILES):
        place = PurePosixPath(path)
        wanted.setdefault(str(place.parent), []).append(place.name)
    return Task(
        (*command.argv, *(word for pair in given.items() for word in pair)),
        environment={**command.environment, **given},
        image=image,
        work=command.work,
        folders=(
            *(Folder(path, wanted=tuple(names)) for path, names in wanted.items()),
            Folder(f"{SHARED}/{SUBMISSION}", files, writable=False),
        ),
        inner=InnerBox(files, inner_settings(folder.grader)),
    )


def mark_by_image(
    boxes: Boxes,
    image: str,
    folder: GraderFolder,
    submitted: Mapping[str, bytes],
    learner: str,
) -> Grading:
    """Raises BoxError, and ProgramError if the image cannot be run."""
    if boxes.name != "docker":
        raise ProgramError(NEEDS_DOCKER)
    try:
        command = image_command(image)
    except ImageError as error:
        raise ProgramError(str(error)) from None
    settings = image_settings(folder.grader)
    outcome = boxes.run(image_task(image, command, folder, submitted, learner), settings)
    return conclude_image(outcome, settings, folder.max_points)


def conclude_image(outcome: Outcome, settings: BoxSettings, points: float) -> Grading:
    """The grading that results from the image's end and result. Pure."""
    if outcome.limit is not None or outcome.exit_code != 0:
        stderr = shown(outcome.stderr[-1000:]).strip()
        return broken(points, f"the image {explain_run(outcome, settings)}\n{stderr}".strip())
    try:
        files = {name: file.data for name, file in outcome.files.items() if name[0] == "/"}
        result = parse_result(files, outcome.stdout, points)
    except ResultError as error:
        return broken(points, str(error))
    feedback = plain_text(result.feedback) if result.is_html else result.feedback
    cases = tuple(_case(test) for test in result.tests)
    if result.fraction is None:
        text = feedback or "The submission could not be graded; this costs nothing."
        return Grading(Verdict.PE, None, points, text, cases)
    verdict = Verdict.AC if result.fraction == 1 else Verdict.WA
    score = tidy(result.fraction * points)
    return Grading(verdict, score, points, feedback or f"{score:g} of {points:g} points.", cases)


def _case(test: ImageTest) -> CaseResult:
    is_right = test.points == test.max_points
    return CaseResult(
        test.name,
        Verdict.AC if is_right else Verdict.WA,
        test.points,
        test.max_points,
        test.is_visible,
        message=test.message,
    )
