"""Results of image graders: what is accepted, and that nothing else passes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.grading.image_results import (
    COURSERA,
    FILES,
    GRADESCOPE,
    PRAIRIELEARN,
    ImageTest,
    ResultError,
    parse_result,
)


def parse(path, told, stdout=b"", **more):
    data = told if isinstance(told, bytes) else json.dumps(told).encode()
    return parse_result({path: data, **more}, stdout)


def test_coursera():
    found = parse(COURSERA, {"fractionalScore": 0.5, "feedback": "half"})
    assert (found.fraction, found.feedback) == (0.5, "half")
    assert parse(COURSERA, {"isCorrect": True}).fraction == 1
    told = json.dumps({"isCorrect": False, "feedbackType": "HTML"}).encode()
    found = parse_result({COURSERA: told, "/shared/htmlFeedback.html": b"<p>no</p>"}, b"")
    assert (found.fraction, found.feedback, found.is_html) == (0, "<p>no</p>", True)


def test_gradescope():
    tests = [
        {"score": 2, "max_score": 4, "name": "a", "output": "o"},
        {"score": 1, "max_score": 1, "visibility": "hidden"},
    ]
    found = parse(GRADESCOPE, {"tests": tests})
    assert found.fraction == 0.6
    assert found.tests == (ImageTest("a", 2, 4, "o"), ImageTest("test 2", 1, 1, "", False))
    assert parse(GRADESCOPE, {"score": 30}).fraction == 0.3


def test_prairielearn():
    told = {
        "tests": [{"points": 1, "max_points": 4, "message": "m"}],
        "message": "x",
        "output": "y",
    }
    assert parse(PRAIRIELEARN, told).fraction == 0.25
    assert parse(PRAIRIELEARN, {**told, "score": 1}).fraction == 1
    assert parse(PRAIRIELEARN, {"gradable": False, "message": "no"}).fraction is None


def test_the_last_line_of_stdout_counts_only_without_a_file():
    line = b'noise\n{"fractionalScore": 1, "feedback": "f"}\n'
    assert parse_result({}, line).fraction == 1
    assert parse(COURSERA, {"fractionalScore": 0}, line).fraction == 0
    with pytest.raises(ResultError):
        parse(COURSERA, b"broken", line)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"null", b"{", b'{"fractionalScore": true}', b'{"fractionalScore": "1"}',
        b'{"fractionalScore": NaN}', b'{"fractionalScore": 1e999}', b'{"fractionalScore": -0.1}',
        b'{"fractionalScore": 1.0001}', b'{"fractionalScore": 0, "fractionalScore": 1}',
        b'{"fractionalScore": 1, "feedback": 3}', b'{"isCorrect": 1}',
        b'{"fractionalScore": 1}\xff',
        b'{"fractionalScore": 1, "feedback": "' + b"x" * (1 << 20) + b'"}', b"[" * 100_000,
        b'{"fractionalScore": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda data: repr(data[:45]),
)  # fmt: skip
def test_what_is_refused(data):
    with pytest.raises(ResultError):
        parse(COURSERA, data)


@pytest.mark.parametrize("path", [GRADESCOPE, PRAIRIELEARN])
@pytest.mark.parametrize(
    "told",
    [
        {}, {"tests": 3}, {"tests": [1]}, {"score": True}, {"score": 101}, {"score": -1},
        {"tests": [{"score": 2, "max_score": 1, "points": 2, "max_points": 1}]},
        {"tests": [{"score": 1, "points": 1}]},
        {"tests": [{"score": 0, "max_score": "1", "points": 0, "max_points": "1"}]},
    ],
)  # fmt: skip
def test_what_is_refused_in_the_others(path, told):
    with pytest.raises(ResultError):
        parse(path, told)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["score", "max_score", "points", "max_points", "name"]), inner
        )
    ),
    max_leaves=10,
)
keys = st.sampled_from(
    ["fractionalScore", "isCorrect", "feedback", "feedbackType", "score", "tests", "gradable",
     "message", "output"]
)  # fmt: skip


@given(
    st.sampled_from(FILES),
    st.dictionaries(keys, values) | st.binary(max_size=200),
    st.binary(max_size=50),
)
def test_a_result_is_refused_or_in_range(path, told, stdout):
    try:
        found = parse(path, told, stdout)
    except ResultError as error:
        message = str(error)
    else:
        message = "in range"
        assert found.fraction is None or 0 <= found.fraction <= 1
        assert found.fraction is None or math.isfinite(found.fraction)
        assert "\0" not in found.feedback
        found.feedback.encode()
    assert message


@pytest.mark.parametrize(
    "told", [{"score": 0}, {"tests": [{"max_score": 0, "score": 0}]}, {"score": 0, "tests": []}]
)
def test_a_share_of_no_points_is_no_result(told):
    with pytest.raises(ResultError, match="no points"):
        parse_result({GRADESCOPE: json.dumps(told).encode()}, b"", 0.0)
