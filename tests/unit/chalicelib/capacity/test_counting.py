"""Writes that count containers stay within DynamoDB's limits of expressions."""

import re

from chalicelib.capacity import counting
from chalicelib.capacity.groups import MOST_GROUPS, Amount, Group, Groups
from chalicelib.capacity.shares import Allowed

MOST_CHARACTERS = 4_096
MOST_OPERATORS = 300
"""Both: "Limits for expression parameters", developer guide of DynamoDB."""
OPERATOR = re.compile(r"\b(?:AND|OR|NOT|attribute_not_exists)\b|[<>=]+")
LARGE = Amount(10**8, 10**8, 10**8)


def test_a_condition_on_as_many_groups_as_there_may_be_fits_into_an_expression():
    names = [f"{number:02d}-{'x' * 29}" for number in range(MOST_GROUPS)]
    groups = Groups(LARGE, names[0], names[0], {name: Group(name) for name in names})
    write = counting.raised(
        "table",
        groups,
        Allowed(LARGE, dict.fromkeys(names[1:], LARGE)),
        name=names[0],
        amount=Amount(1, 1024, 4096),
        now=1_700_000_000.0,
        pace=1.0,
    )
    condition = write["ConditionExpression"]
    assert len(condition) <= MOST_CHARACTERS
    assert len(OPERATOR.findall(condition)) <= MOST_OPERATORS
    assert len(OPERATOR.findall(condition)) > 3 * MOST_GROUPS, "each amount of each group is bound"
