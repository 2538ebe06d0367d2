"""The result of an author's checker or interactor by its exit code: testlib's convention."""

import pytest

from usher.box.model import Limit, Outcome, Usage
from usher.grading.programs import SETTINGS, ProgramError, judge_exit
from usher.grading.verdicts import Verdict


def ended(code=0, stderr=b"", *, signal=None, stdout=b"", limit=None):
    return Outcome(code, signal, Usage(0.1, 1, 0), 0.1, stdout, stderr, limit)


def result(outcome):
    return judge_exit(outcome, "checker", SETTINGS)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, Verdict.AC), (1, Verdict.WA), (2, Verdict.PE), (4, Verdict.PE), (8, Verdict.PE)],
)
def test_exit_codes_of_testlib(code, verdict):
    found = result(ended(code, b"wrong output format Extra information in the output file\n"))
    assert (found.verdict, found.points) == (verdict, None)
    assert found.message == "wrong output format Extra information in the output file"


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (b"points 4 half\n", 4.0),
        (b"points 0.3333333333 a third\n", 0.3333333333),
        (b"points 0.0", 0.0),
        (b"  points\t2.5\r\n", 2.5),
    ],
)
def test_points(text, points):
    assert result(ended(7, text)).points == points
    assert result(ended(7, stdout=text)).points == points


@pytest.mark.parametrize(
    "text",
    [b"", b"points", b"points -1", b"points inf", b"points 1e3", b"points 4x", b"points_info=4 x",
     b"no points 4", b"points 1,5", b"points 0x4", b"points 1_0", b"\xff points 4"],
)  # fmt: skip
def test_points_that_are_none(text):
    with pytest.raises(ProgramError, match="named no points"):
        result(ended(7, text))


@pytest.mark.parametrize(
    "outcome",
    [
        ended(3, b"FAIL"),
        ended(5),
        ended(6),
        ended(16),
        ended(42),
        ended(255),
        ended(None, signal=11),
        ended(0, limit=Limit.WALL),
        ended(1, limit=Limit.OUTPUT),
        ended(7, b"points 4", limit=Limit.CPU),
        ended(1, b"Traceback (most recent call last):\n  File\nValueError: x\n"),
        ended(1, b'Exception in thread "main" java.lang.NullPointerException\n\tat C.main\n'),
    ],
)
def test_everything_else_is_the_authors_fault(outcome):
    with pytest.raises(ProgramError):
        result(outcome)
