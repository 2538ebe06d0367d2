"""Stored items that no version of this code wrote, as after a rollback or an edit by hand."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Item = dict[str, Any]

UNKNOWN = {"S": "FROM_ANOTHER_VERSION"}
OTHERS = (
    UNKNOWN,
    {"N": "7"},
    {"BOOL": True},
    {"NULL": True},
    {"L": [{"L": [{"S": "x"}]}]},
    {"M": {"x": {"N": "1"}}},
    {"SS": ["x"]},
    {"B": b"x"},
)
"""Values of every type."""
NAMES = frozenset({"state", "reason", "priority", "overlap", "gap"})


def mutations(item: Mapping[str, Any], fixed: frozenset[str]) -> st.SearchStrategy[Item]:
    """The item with one attribute dropped, of another type, or more than it had.

    What names a state is unknown also in its own type. Attributes of `fixed` are dropped at
    most: DynamoDB refuses another type for the key of an index. The key `id` stays.
    """
    names = sorted(set(item) - {"id"})
    dropped = st.sampled_from(names).map(lambda name: _without(item, name))
    changed = st.sampled_from(
        [
            {**item, name: value}
            for name in names
            if name not in fixed
            for value in OTHERS
            if set(value) != set(item[name]) or (name in NAMES and value is UNKNOWN)
        ]
    )
    more = st.sampled_from(OTHERS).map(lambda value: {**item, "another_version_s": value})
    return dropped | changed | more


def _without(item: Mapping[str, Any], name: str) -> Item:
    return {key: value for key, value in item.items() if key != name}
