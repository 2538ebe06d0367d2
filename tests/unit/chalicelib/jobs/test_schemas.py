"""Schemas are checked as the job's own model would, and nothing in them takes for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, create_model

from chalicelib.errors import BadRequestError, InvalidParametersError
from chalicelib.jobs import schemas
from chalicelib.jobs.schemas import check_parameters, check_schema

MARGIN_SECONDS = 3.0
"""Processor time that a single keyword may take when the time is over."""


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
