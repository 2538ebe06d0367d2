"""Which of two programs that talk with each other kept the other one waiting."""

from dataclasses import replace

import pytest

from usher.box.model import Limit, Outcome, Usage
from usher.grading.interaction import is_kept_waiting

OUT_OF_TIME = Outcome(None, 9, Usage(0.0, 0, 0), 3.0, b"", b"", Limit.WALL, ended_at=10.0)
AFTER = Outcome(1, None, Usage(0.0, 0, 0), 3.1, b"", b"", ended_at=10.1)
BEFORE = replace(AFTER, ended_at=9.0)


@pytest.mark.parametrize(
    ("interactor", "kept"),
    [
        (AFTER, False),
        (replace(AFTER, usage=Usage(1.4, 0, 0)), False),
        (replace(AFTER, usage=Usage(1.5, 0, 0)), True),
        (replace(AFTER, exit_code=0, usage=Usage(2.9, 0, 0)), False),
        (replace(AFTER, exit_code=None, signal=9, limit=Limit.WALL), True),
        (BEFORE, False),
        (replace(BEFORE, exit_code=17), True),
    ],
)
def test_a_submission_that_was_out_of_time(interactor, kept):
    assert is_kept_waiting(OUT_OF_TIME, interactor) is kept


def test_a_submission_that_used_its_processor_time_was_not_waiting():
    busy = replace(OUT_OF_TIME, limit=Limit.CPU)
    assert not is_kept_waiting(busy, replace(AFTER, usage=Usage(3.0, 0, 0)))
