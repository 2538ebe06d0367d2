"""Parses the result of a grader of the kind `image`, in four formats. Pure.

Coursera's feedback.json: https://github.com/coursera/coursera_autograder Gradescope's results.json:
https://gradescope-autograders.readthedocs.io/en/latest/specs/ PrairieLearn's results.json:
https://docs.prairielearn.com/externalGrading/
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from usher.errors import UsherError

COURSERA = "/shared/feedback.json"
GRADESCOPE = "/autograder/results/results.json"
PRAIRIELEARN = "/grade/results/results.json"
FILES = (COURSERA, GRADESCOPE, PRAIRIELEARN)
"""The first existing one is used; without any, the last line of stdout."""
FEEDBACK_FILES = ("/shared/htmlFeedback.html", "/shared/txtFeedback.txt")
MOST_BYTES = 1024 * 1024
MOST_TESTS = 500


class ResultError(UsherError):
    """An invalid result. The message is for the author; learners get `IE_FOR_LEARNERS`."""


@dataclass(frozen=True)
class ImageTest:
    """One test of a result. Hidden tests never reach a learner."""

    name: str
    points: float
    max_points: float
    message: str = ""
    is_visible: bool = True


@dataclass(frozen=True)
class ImageResult:
    """`fraction` of the points, 0 to 1; None if the submission could not be graded."""

    fraction: float | None
    feedback: str = ""
    is_html: bool = False
    tests: tuple[ImageTest, ...] = ()


def parse_result(
    files: Mapping[str, bytes], stdout: bytes, max_points: float = 100.0
) -> ImageResult:
    """The result in the first existing format.

    `files` has the image's files by absolute path. `max_points` is the maximum of Gradescope's
    `score` without `tests`. Raises ResultError.
    """
    for path, parse in (
        (COURSERA, lambda document: _coursera(document, files)),
        (GRADESCOPE, lambda document: _gradescope(document, max_points)),
        (PRAIRIELEARN, _prairielearn),
    ):
        if path in files:
            return parse(read_object(files[path], path))
    lines = stdout.strip().splitlines()
    if not lines:
        raise ResultError(f"none of {', '.join(FILES)} was written, and nothing was printed")
    return _coursera(read_object(lines[-1], "the last line of stdout"), files)


def read_object(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object, strictly: no duplicate keys, no NaN. Raises ResultError."""
    if len(data) > MOST_BYTES:
        raise ResultError(f"{where} has more than 1 MiB")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(found)
        if len(table) != len(found):
            raise ValueError("a key is there twice")
        return table

    def constant(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        document = json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{where} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ResultError(f"{where} is no JSON object")
    return document


def _coursera(document: Mapping[str, Any], files: Mapping[str, bytes]) -> ImageResult:
    if "fractionalScore" in document:
        fraction = _number(document["fractionalScore"], "fractionalScore", 0, 1)
    elif isinstance(document.get("isCorrect"), bool):
        fraction = float(document["isCorrect"])
    else:
        raise ResultError(
            "fractionalScore, a number from 0 to 1, or isCorrect, true or false, is needed"
        )
    kind = document.get("feedbackType")
    if kind is not None and kind not in ("HTML", "TXT"):
        raise ResultError("feedbackType is HTML or TXT")
    if kind is None:
        return ImageResult(fraction, _text(document.get("feedback"), "feedback"))
    path = FEEDBACK_FILES[0] if kind == "HTML" else FEEDBACK_FILES[1]
    if path not in files:
        return ImageResult(fraction, _text(document.get("feedback"), "feedback"))
    if len(files[path]) > MOST_BYTES:
        raise ResultError(f"{path} has more than 1 MiB")
    try:
        text = files[path].decode()
    except UnicodeDecodeError as error:
        raise ResultError(f"{path}: {error}") from None
    return ImageResult(fraction, _clean(text), kind == "HTML")


def _gradescope(document: Mapping[str, Any], max_points: float) -> ImageResult:
    tests = _tests(document, "score", "max_score", "output")
    possible = sum(test.max_points for test in tests) or max_points
    if possible <= 0:
        raise ResultError("the part has no points, so tests with max_score are needed")
    if document.get("score") is not None:
        earned = _number(document["score"], "score", 0, possible)
    elif tests:
        earned = sum(test.points for test in tests)
    else:
        raise ResultError("score or tests are needed")
    return ImageResult(
        _fraction(earned, possible), _text(document.get("output"), "output"), tests=tests
    )


def _prairielearn(document: Mapping[str, Any]) -> ImageResult:
    gradable = document.get("gradable", True)
    if not isinstance(gradable, bool):
        raise ResultError("gradable is true or false")
    message = "\n".join(
        text for key in ("message", "output") if (text := _text(document.get(key), key))
    )
    if not gradable:
        return ImageResult(None, message)
    tests = _tests(document, "points", "max_points", "message")
    if "score" in document:
        return ImageResult(_number(document["score"], "score", 0, 1), message, tests=tests)
    possible = sum(test.max_points for test in tests)
    if possible <= 0:
        raise ResultError("score, a number from 0 to 1, or tests with max_points are needed")
    return ImageResult(
        _fraction(sum(test.points for test in tests), possible), message, tests=tests
    )


def _tests(
    document: Mapping[str, Any], points: str, most: str, message: str
) -> tuple[ImageTest, ...]:
    tables = document.get("tests") or []
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ResultError("tests is a list of objects")
    if len(tables) > MOST_TESTS:
        raise ResultError(f"tests: at most {MOST_TESTS}")
    tests = []
    for number, table in enumerate(tables, 1):
        where = f"tests[{number}]"
        possible = _number(table.get(most, 0), f"{where}.{most}", 0, 1e9)
        earned = _number(table.get(points, 0), f"{where}.{points}", 0, possible)
        name = _text(table.get("name"), f"{where}.name") or f"test {number}"
        visibility = table.get("visibility", "visible")
        text = _text(table.get(message), f"{where}.{message}")
        tests.append(ImageTest(name, earned, possible, text, visibility == "visible"))
    return tuple(tests)


def _number(value: Any, where: str, low: float, high: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or not math.isfinite(value):
        raise ResultError(f"{where} is a number from {low:g} to {high:g}, not {str(value)[:40]}")
    return float(value)


def _fraction(earned: float, possible: float) -> float:
    """Limited to 1, which rounding errors of sums may exceed."""
    return min(1.0, earned / possible)


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ResultError(f"{where} is a text")
    return _clean(value)


def _clean(text: str) -> str:
    """Without NUL and lone surrogates, which stores and pages do not accept."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
