"""Filters of clients: conditions hold exactly, and nothing else is a filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.filters import FilterError, parse_filter

LISTING = {"suburb": "Fernbank", "price": 500_000, "new": True, "note": None, "day": "2026-03-01"}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("wish", "meets"),
    [
        ({"suburb": "Fernbank"}, True),
        ({"suburb": "fernbank"}, False),
        ({"price": 500_000.0}, True),
        ({"price": {"min": 500_000}}, True),
        ({"price": {"min": 500_000.5}}, False),
        ({"price": {"max": 500_000}}, True),
        ({"price": {"min": 1, "max": 2}}, False),
        ({"price": {"in": [1, 500_000]}}, True),
        ({"price": {"in": []}}, False),
        ({"price": "500000"}, False),
        ({"price": True}, False),
        ({"new": True}, True),
        ({"new": 1}, False),
        ({"new": {"min": 0}}, False),
        ({"note": None}, True),
        ({"missing": None}, False),
        ({"day": {"min": "2026-02", "max": "2026-04"}}, True),
        ({"day": {"min": 2026}}, False),
        ({"suburb": "Fernbank", "price": {"max": 1}}, False),
    ],
)
def test_conditions(wish, meets):
    assert parse_filter(wish)(LISTING) is meets


@pytest.mark.parametrize("data", [None, 1, "Fernbank", [LISTING], {"base64": "AA=="}])
def test_what_is_no_object_with_the_field_meets_nothing(data):
    assert parse_filter({"suburb": "Fernbank"})(data) is False


@pytest.mark.parametrize("wish", [None, {}])
def test_no_conditions_are_no_filter(wish):
    assert parse_filter(wish) is None


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ([], "an object"),
        ("price", "an object"),
        ({"price": []}, "is expected"),
        ({"price": {}}, "is expected"),
        ({"price": {"least": 1}}, "is expected"),
        ({"price": {"in": [1], "min": 1}}, "is expected"),
        ({"price": {"in": 1}}, "is expected"),
        ({"price": {"in": [[1]]}}, "choices are"),
        ({"price": {"in": list(range(101))}}, "at most 100"),
        ({"price": {"min": None}}, "both numbers"),
        ({"price": {"min": 1, "max": "2"}}, "both numbers"),
        ({"price": {"min": True}}, "both numbers"),
        ({"price": {"min": float("nan")}}, "finite"),
        ({"price": float("inf")}, "finite"),
        ({"suburb": "x" * 257}, "at most 256"),
        ({"x" * 257: 1}, "at most 256"),
        ({f"field-{n}": 1 for n in range(17)}, "at most 16"),
    ],
)
def test_anything_else_is_refused_with_the_reason(wish, words):
    with pytest.raises(FilterError, match=words):
        parse_filter(wish)


@given(JSON, JSON)
def test_any_wish_is_a_filter_or_an_error_and_any_data_is_answered(wish, data):
    try:
        wants = parse_filter(wish)
    except FilterError:
        return
    assert wants is None or wants(data) in {True, False}
