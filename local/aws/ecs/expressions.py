"""The part of the cluster query language that placement constraints on instances need.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html
Understood: `==`, `!=`, `in [...]`, `not_in [...]` (and their written forms), joined with `and`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from local.aws.ecs.errors import invalid_parameter

_CONDITION = re.compile(
    r"\s*(?P<subject>attribute:[\w.\-/]+|ec2InstanceId)\s+"
    r"(?P<operator>==|!=|equals|not_equals|in|not_in|!in)\s+"
    r"(?P<operand>\[[^\]]*\]|'[^']*'|\"[^\"]*\"|[^\s\[\]]+)\s*"
)
_NEGATIVE = ("!=", "not_equals", "not_in", "!in")


@dataclass(frozen=True)
class Condition:
    subject: str
    values: frozenset[str]
    negative: bool

    def matches(self, subjects: Mapping[str, str]) -> bool:
        return (subjects.get(self.subject) in self.values) is not self.negative


@dataclass(frozen=True)
class Expression:
    """All conditions must hold."""

    conditions: tuple[Condition, ...]

    def matches(self, subjects: Mapping[str, str]) -> bool:
        return all(condition.matches(subjects) for condition in self.conditions)


def parse_expression(text: str) -> Expression:
    """Raises InvalidParameterException for what is not understood."""
    conditions = []
    for part in re.split(r"\s+(?:and|&&)\s+", text):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise invalid_parameter(f"Invalid placement constraint expression: {text}")
        operand = match["operand"]
        listed = operand.startswith("[")
        if listed is not match["operator"].endswith("in"):
            raise invalid_parameter(f"Invalid placement constraint expression: {text}")
        operands = operand[1:-1].split(",") if listed else [operand]
        values = frozenset(word.strip().strip("'\"") for word in operands)
        conditions.append(Condition(match["subject"], values, match["operator"] in _NEGATIVE))
    return Expression(tuple(conditions))
