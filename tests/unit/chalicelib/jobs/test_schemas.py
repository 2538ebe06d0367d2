"""Schemas are checked as the job's own model would, and nothing in them takes for ever."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, create_model

from chalicelib.errors import BadRequestError, InvalidParametersError
from chalicelib.jobs import schemas
from chalicelib.jobs.schemas import MAX_SECONDS, check_parameters, check_schema, matches

MARGIN_SECONDS = 3.0
"""Of processor time, for what a single keyword may take once time is up."""


def fits(schema, value):
    try:
        check_parameters(schema, value)
    except InvalidParametersError:
        return False
    return True


def model_takes(model: type[BaseModel], value) -> bool:
    try:
        model.model_validate({"n": value})
    except ValidationError:
        return False
    return True


@given(
    st.sampled_from([0.01, 0.1, 0.5, 0.25, 1.5, 3, 7]),
    st.integers(-100_000, 100_000),
    st.sampled_from([0.0, 0.0, 0.003, 0.4]),
)
def test_multiples_are_what_the_model_says(factor, times, off):
    value = round(times * factor + off, 6)
    model = create_model("M", n=(float, Field(multiple_of=factor)))
    assert fits(model.model_json_schema(), {"n": value}) == model_takes(model, value)


@pytest.mark.parametrize("value", [4.02, 0.07, 1e300, -0.29, 10**400])
def test_multiples_of_a_hundredth(value):
    assert fits({"properties": {"n": {"multipleOf": 0.01}}}, {"n": value})


def test_whole_numbers_are_divided_exactly():
    assert fits({"properties": {"n": {"multipleOf": 3}}}, {"n": 3 * 10**40})
    assert not fits({"properties": {"n": {"multipleOf": 3}}}, {"n": 3 * 10**40 + 1})


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


def test_without_the_engine_patterns_are_left_to_the_model(monkeypatch):
    monkeypatch.setattr(schemas, "_engine", lambda: None)
    schemas._compiled.cache_clear()
    try:
        schema = {"properties": {"n": {"pattern": "^b$"}}, "patternProperties": {"^(a+)+$": False}}
        assert fits(schema, {"n": "a", "a" * 60 + "!": 1})
    finally:
        schemas._compiled.cache_clear()


def test_names_are_matched_by_patterns_as_values_are():
    schema = {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}
    assert fits(schema, {"x1": 1})
    assert not fits(schema, {"x1": "one"})
    assert not fits(schema, {"y": 1})
    assert fits(schema | {"additionalProperties": {"type": "null"}}, {"y": None})
    assert not fits(schema | {"additionalProperties": {"type": "null"}}, {"y": 1})


HOSTILE_NAMES = {"a" * 50 + "!": 1}


@pytest.mark.parametrize("also", [{}, {"additionalProperties": False},
                                  {"unevaluatedProperties": False}])  # fmt: skip
def test_patterns_of_names_take_linear_time(also):
    began = time.thread_time()
    fits({"patternProperties": {"^(a+)+$": {}}} | also, HOSTILE_NAMES)
    assert time.thread_time() - began < MARGIN_SECONDS


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True], True),
        ([1, 1.0], False),
        ([0, False, None, "", [], {}], True),
        ([[1], [True]], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([{"a": [1]}, {"a": [1.0]}], False),
    ],
)
def test_unique_items(items, unique):
    assert fits({"properties": {"n": {"uniqueItems": True}}}, {"n": items}) is unique


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


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "not", "items"])
def test_a_schema_of_too_many_levels_is_a_bad_request(keyword):
    schema = {"type": "object"}
    for _ in range(400):
        schema = {keyword: schema if keyword in {"not", "items"} else [schema]}
    with pytest.raises(BadRequestError):
        check_schema(schema)


def test_a_schema_that_refers_to_itself_without_an_end_fits_nothing():
    schema = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    assert not fits(schema, {})
