"""Callers send texts and schemas on which a regular expression takes exponential time.

Goal: keep a function busy with one request. Reach: texts for the patterns of the code, patterns and
schemas of their own for jobs.

Python's engine backtracks: a repetition inside a repetition is where it may try each way to share a
text out. `chalicelib.jobs.schemas` runs patterns of callers, which it has another engine for.
"""

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined]

import pytest

from chalicelib.contract.secrets import REFERENCE
from chalicelib.ecs.public_text import for_clients
from chalicelib.errors import InvalidParametersError
from chalicelib.jobs.schemas import MAX_SECONDS, check_parameters, check_schema, matches

ROOT = Path(__file__).parents[2]
MARGIN_SECONDS = 3.0
"""Seconds of processor time that a single keyword may use after the time limit."""
MANY = 50
"""A repetition of so many counts as one without end."""
UNAMBIGUOUS = {
    # Each pass of the outer repetition begins with a character that the inner one does not match.
    ("chalicelib/contract/secrets.py", "(/[\\w.-]+)+"),
    ("chalicelib/contract/graders.py", "(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*"),
    ("usher/new_session.py", "(-[a-z0-9]+)*"),
}
BY_CALLERS = {"chalicelib/jobs/schemas.py"}
OF_OURS = {
    # Made of literals of the module, of what the developer typed, or of botocore's models.
    # Patterns in constraints of placement are an operator's, and matched with attributes of hosts.
    "chalicelib/apps.py",
    "chalicelib/cluster_query.py",
    "chalicelib/ecs/public_text.py",
    "chalicelib/fields.py",
    "infra/deploy/settings.py",
    "infra/policies.py",
    "local/aws/constraints.py",
    "local/aws/dynamodb/rules.py",
    "local/aws/front_end.py",
    "local/aws/iam/policy.py",
    "usher/cli/apps.py",
}


def patterns() -> Iterator[tuple[str, str | None]]:
    """File and pattern of each call of `re`; None where it is no literal."""
    for room in ("chalicelib", "session_handler", "usher", "local", "infra"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if getattr(node.func.value, "id", "") == "re" and node.func.attr != "escape":
                    name = str(path.relative_to(ROOT))
                    try:
                        pattern = ast.literal_eval(node.args[0])
                    except ValueError:
                        yield name, None
                        continue
                    yield name, pattern.decode() if isinstance(pattern, bytes) else pattern


def nests(parsed: object, inside: bool = False) -> bool:
    """Whether an unbounded repetition is inside another one."""
    for kind, value in parsed:  # type: ignore[attr-defined]
        if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            _, most, repeated = value
            endless = most is _constants.MAXREPEAT or most > MANY
            if (endless and inside) or nests(repeated, inside or endless):
                return True
        elif kind is _constants.SUBPATTERN:
            if nests(value[3], inside):
                return True
        elif kind is _constants.BRANCH and any(nests(branch, inside) for branch in value[1]):
            return True
    return False


def test_the_search_finds_what_takes_exponential_time():
    for pattern in (r"(a+)+$", r"^(\w+\s?)*$", r"(a|b*)*c", r"(.*){60}x", r"((a{0,90})b?)*"):
        assert nests(_parser.parse(pattern)), pattern
    for pattern in (r"a+b+", r"(ab)*", r"(a{1,3})+", r"x(\d+|[a-z]+)y"):
        assert not nests(_parser.parse(pattern)), pattern


def test_no_pattern_has_a_repetition_inside_a_repetition():
    found = list(patterns())
    assert len(found) > 80
    nested = {(file, p) for file, p in found if p is not None and nests(_parser.parse(p))}
    for file, pattern in nested:
        assert any(file == known and part in pattern for known, part in UNAMBIGUOUS), pattern
    assert {file for file, _ in nested} == {file for file, _ in UNAMBIGUOUS}


def test_patterns_that_are_put_together_are_known():
    assert {file for file, pattern in patterns() if pattern is None} == BY_CALLERS | OF_OURS


def test_long_texts_are_searched_in_a_time_that_grows_with_their_length():
    """With an ambiguous pattern, or one that is tried at each place to the end of the text, this
    test takes hours.
    """
    for text in ("a", "a.", "a-", "a:", "1.", "arn:aws:", "localhost/", "[", "lookup "):
        assert for_clients(text * (400_000 // len(text)))
    assert not REFERENCE.fullmatch("/" + "a" * 50_000 + "!")
    assert not REFERENCE.fullmatch("/a" * 50_000 + "!")
    assert not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", "a" + "-a" * 50_000 + "!")


def fits(schema: dict, value: object) -> bool:
    try:
        check_parameters(schema, value)
    except InvalidParametersError:
        return False
    return True


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"^\p{L}+$", "Ægir", True),
        (r"^\p{L}+$", "R2D2", False),
        (r"^(a+)+$", "a" * 60_000 + "!", False),
        (r"^(\w+\s?)*$", "word " * 10_000 + "!", False),
        (r"(.*)(.*)(.*)(.*)(.*)[abc]$", "x" * 60_000, False),
        (r"^\d{4}-\d\d$", "2026-11", True),
        (r"(?=lookahead)", "x", None),
        (r"(a)\1", "aa", None),
        (r"((a{100}){100}){100}", "a", None),
    ],
)
def test_patterns_take_linear_time_or_are_left_to_the_model(pattern, text, found):
    began = time.thread_time()
    assert matches(pattern, text) is found
    assert time.thread_time() - began < MARGIN_SECONDS
    schema = {"properties": {"n": {"type": "string", "pattern": pattern}}}
    check_schema(schema)
    assert fits(schema, {"n": text}) is (found is not False)


HOSTILE_NAMES = {"a" * 50 + "!": 1}


@pytest.mark.parametrize("also", [{}, {"additionalProperties": False},
                                  {"unevaluatedProperties": False}])  # fmt: skip
def test_patterns_of_names_take_linear_time(also):
    began = time.thread_time()
    fits({"patternProperties": {"^(a+)+$": {}}} | also, HOSTILE_NAMES)
    assert time.thread_time() - began < MARGIN_SECONDS


def doubling(keyword, levels):
    """Each level asks for the one below twice: 2 to the power of `levels` of them."""
    definitions = {f"l{n}": {keyword: [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": definitions | {f"l{levels}": {"type": "null"}}, "$ref": "#/$defs/l0"}


MIXED = [value for n in range(3_000) for value in (n, str(n), [n], {"n": n})]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubling("anyOf", 30), {}),
        (doubling("allOf", 30), {}),
        (doubling("oneOf", 30), {}),
        ({"properties": {"n": {"uniqueItems": True}}}, {"n": MIXED}),
        ({"properties": {"n": {"items": {"enum": list(range(3_000))}}}}, {"n": [-1] * 20_000}),
        ({"properties": {"n": {"items": {"required": [str(n) for n in range(2_000)]}}}},
         {"n": [{}] * 20_000}),
        ({"properties": {"n": {"contains": {"const": MIXED[:100]}}}}, {"n": [MIXED[:99]] * 200}),
    ],
)  # fmt: skip
def test_nothing_takes_for_ever(schema, value):
    check_schema(schema)
    began = time.thread_time()
    fits(schema, value)
    assert time.thread_time() - began < MAX_SECONDS + MARGIN_SECONDS
