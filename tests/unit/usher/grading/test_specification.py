"""grader.toml: what is accepted, and that every problem is named at once."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.graders import FloatChecker, GraderError, Program, parse_grader

CASE = '[[cases]]\ninput = "01.in"\nanswer = "01.ans"\n'
LEAST = 'files = ["main.py"]\nrun = ["python3", "main.py"]\n' + CASE
PRESENT = {"01.in", "01.ans", "02.in", "02.ans", "check.py", "talk.py"}


def parse(text):
    return parse_grader(tomllib.loads(text), PRESENT)


def problems(text):
    with pytest.raises(GraderError) as told:
        parse(text)
    return str(told.value).splitlines()


def test_the_least_and_its_defaults():
    grader = parse(LEAST)
    assert grader.kind == "tests"
    assert (grader.time_limit_seconds, grader.wall_seconds, grader.memory_limit_mib) == (
        1.0,
        3.0,
        64,
    )
    assert grader.checker == "tokens"
    (case,) = grader.cases
    assert (case.name, case.points, case.is_visible) == ("01", 1.0, False)


@pytest.mark.parametrize(
    ("line", "checker"),
    [
        ('checker = "exact"', "exact"),
        ("checker = {float = 1e-6}", FloatChecker(1e-6)),
        ('checker = {program = "check.py"}', Program("check.py")),
    ],
)
def test_checkers(line, checker):
    assert parse(f"{line}\n{LEAST}").checker == checker


def test_output_is_another_word_for_answer():
    assert parse(LEAST.replace("answer", "output")).cases[0].answer == "01.ans"


def test_an_interactor_needs_no_answers():
    text = 'interactor = "talk.py"\n' + LEAST.replace('answer = "01.ans"\n', "")
    assert parse(text).interactor == Program("talk.py")


def test_all_problems_are_named_at_once():
    told = problems("""
files = ["../main.py"]
time_limit_seconds = true
memory_limit_mb = 64
checker = "magic"
[[cases]]
input = "01.in"
points = -1
visibility = "secret"
[[cases]]
input = "01.in"
answer = "missing.ans"
[[groups]]
cases = ["01", "03"]
depends_on = ["later"]
""")
    text = "\n".join(told)
    for words in (
        "files: '../main.py'",
        "time_limit_seconds: a number",
        "memory_limit_mb: is not known here",
        "checker: exact",
        "run: is missing",
        "cases[1].answer: is missing",
        "cases[1].points: a number",
        "cases[1].visibility: one of visible, hidden",
        "cases[2].answer: there is no file missing.ans",
        "cases: '01' is the name of more than one",
        "groups[1].cases: there is no case '03'",
        "groups[1].depends_on: there is no group 'later' before",
    ):
        assert words in text, words


def test_as_many_cases_as_may_be():
    head = LEAST.partition("[[cases]]")[0]
    cases = [f'[[cases]]\nname = "{n}"\ninput = "01.in"\nanswer = "01.ans"\n' for n in range(501)]
    assert len(parse(head + "".join(cases[:500])).cases) == 500
    assert problems(head + "".join(cases)) == ["cases: at most 500"]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "1e9", '"1"', "[1]"])
def test_a_limit_is_a_finite_number(value):
    assert "time_limit_seconds" in problems(f"time_limit_seconds = {value}\n{LEAST}")[0]


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    ["kind", "files", "run", "compile", "checker", "interactor", "cases", "groups", "image", "x",
     "time_limit_seconds", "memory_limit_mib"]
)  # fmt: skip


@given(st.dictionaries(keys, json))
def test_garbage_is_refused_with_words(table):
    with pytest.raises(GraderError):
        parse_grader(table, PRESENT)


@given(keys, json)
def test_one_wrong_value_never_breaks_the_reading(key, value):
    with contextlib.suppress(GraderError):
        assert parse_grader(tomllib.loads(LEAST) | {key: value}, PRESENT)
