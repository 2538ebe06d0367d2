"""Fields of requests: the checks agree with JSON Schema, and unknown names are reported."""

import json
from functools import cache

import jsonschema
import pytest
from chalice.test import Client
from hypothesis import given
from hypothesis import strategies as st

from app import app
from chalicelib.api.http import taken_by
from chalicelib.errors import BadRequestError
from chalicelib.fields import Document, Field, fits, object_schema

VIEWS = {route.view_function for methods in app.routes.values() for route in methods.values()}
TAKEN = [taken_by(view) for view in VIEWS]
FIELDS = sorted(
    {
        repr(field): field
        for taken in TAKEN
        for field in (*taken.query, *taken.headers, *(taken.body.fields if taken.body else ()))
    }.values(),
    key=lambda field: field.name,
)
KEYWORDS = {
    "type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMaximum",
    "items", "maxItems", "additionalProperties", "minProperties", "default", "format", "properties",
}  # fmt: skip
"""Keywords that `fits` checks, `default` and `format`; `properties` are checked by their reader."""
NUMBERS = st.integers(-2, 300) | st.floats().filter(lambda number: not number.is_integer())
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.integers() | st.text(max_size=10)
    | st.sampled_from(["ready", "low", "12345678", "skip", "a", "x" * 600]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip


@cache
def judge_of(text):
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_declarations_use_only_what_is_checked(field):
    assert set(field.schema) <= KEYWORDS
    assert field.schema.get("pattern", "^$")[:1] == "^"
    assert field.schema.get("pattern", "^$")[-1:] == "$"


@given(st.sampled_from(FIELDS), VALUES)
def test_a_check_agrees_with_json_schema(field, value):
    schema = {name: part for name, part in field.schema.items() if name != "properties"}
    wanted = judge_of(json.dumps(schema)).is_valid(value)
    if isinstance(value, str) and value.endswith("\n"):
        return  # `$` of Python's matches before a last newline
    assert fits(value, schema) is wanted


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1, 10**400])
def test_what_is_no_number_within_its_bounds_fits_none(number):
    assert not fits(number, {"type": "number", "minimum": 0, "exclusiveMaximum": 1e12})


BODY = Document((Field("count", {"type": "integer"}, "a whole number", is_required=True),))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], '{"count"}'),
        ({}, "count: a whole number"),
        ({"count": 1, "coun": 2}, "unknown: coun"),
    ],
)
def test_a_body_that_does_not_fit_is_told_why(body, told):
    with pytest.raises(BadRequestError, match=told):
        BODY.check(body)


def test_an_open_document_ignores_what_it_does_not_know():
    open_one = Document(BODY.fields, is_open=True)
    assert open_one.check({"count": 1, "cuont": 2}) == {"count": 1}
    assert "additionalProperties" not in open_one.schema
    assert BODY.schema == object_schema(BODY.fields) | {"additionalProperties": False}


STRICT = [
    (method, path)
    for path, methods in app.routes.items()
    for method, route in methods.items()
    if not taken_by(route.view_function).ignores_others
]


@pytest.mark.parametrize(("method", "path"), STRICT)
def test_a_parameter_that_a_route_does_not_take_is_named(method, path):
    with Client(app) as client:
        answer = client.http.request(method, f"{path}?cuont=1&limit=2")
    assert answer.status_code == 400
    error = answer.json_body["error"]
    assert (error["code"], "cuont" in error["message"]) == ("bad_request", True)
    assert answer.headers["Cache-Control"] == "no-store"
    has_cors = app.routes[path][method].cors is not None
    assert ("Access-Control-Allow-Origin" in answer.headers) is has_cors


def test_what_an_app_passes_on_and_what_monitors_add_is_not_refused():
    assert {
        path for path, methods in app.routes.items()
        if any((method, path) not in STRICT for method in methods)
    } == {
        "/", "/console", "/console/files/{name}", "/console/{page}", "/console/{page}/{record}",
        "/demo/{name}", "/health", "/learn", "/learn/{assignment_id}", "/metrics", "/route",
        "/session",
    }  # fmt: skip
