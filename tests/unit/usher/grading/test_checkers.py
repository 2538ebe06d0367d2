"""The checkers against plain models."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.grading.checkers import check_exact, check_float, check_lines, check_tokens
from usher.grading.verdicts import Verdict

texts = st.text("ab1 \t\r\n.é", max_size=30).map(str.encode) | st.binary(max_size=20)


@given(texts, texts)
def test_exact(output, answer):
    found = check_exact(output, answer).verdict
    if output == answer:
        assert found is Verdict.AC
    else:
        blank = output.split() == answer.split()
        assert found is (Verdict.PE if blank else Verdict.WA)


def plain_lines(text):
    lines = [line.rstrip(b" \t\r\n\v\f") for line in text.replace(b"\r\n", b"\n").split(b"\n")]
    return b"\n".join(lines).rstrip(b"\n")


@given(texts, texts)
def test_lines(output, answer):
    is_right = plain_lines(output) == plain_lines(answer)
    assert (check_lines(output, answer).verdict is Verdict.AC) is is_right


@given(texts, texts)
def test_tokens(output, answer):
    is_right = b" ".join(output.split()) == b" ".join(answer.split())
    assert (check_tokens(output, answer).verdict is Verdict.AC) is is_right


@given(st.lists(st.floats(-1e9, 1e9)), st.floats(1e-9, 1e-3), st.randoms())
def test_numbers_within_the_tolerance_are_right(values, tolerance, random):
    near = [value + random.uniform(-0.9, 0.9) * tolerance * max(1, abs(value)) for value in values]
    output, answer = (" ".join(map(repr, some)).encode() for some in (near, values))
    assert check_float(output, answer, tolerance).verdict is Verdict.AC


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e-2))
def test_numbers_beyond_it_are_wrong(value, tolerance):
    far = value + 2.5 * tolerance * max(1, abs(value))
    assert check_float(repr(far).encode(), repr(value).encode(), tolerance).verdict is Verdict.WA


@pytest.mark.parametrize(
    "word", [b"nan", b"inf", b"-Infinity", b"1_0", b"0x10", b"ten", b"1e999", b"10;"]
)
def test_what_is_no_number_is_wrong(word):
    assert check_float(word, b"10", 0.5).verdict is Verdict.WA


@given(texts, texts, st.floats(0, 1))
def test_no_checker_raises_and_messages_are_printable(output, answer, tolerance):
    for checked in (
        check_exact(output, answer),
        check_lines(output, answer),
        check_tokens(output, answer),
        check_float(output, answer, tolerance),
    ):
        assert checked.message.isprintable()
        assert checked.points is None
    assert math.isfinite(tolerance)
