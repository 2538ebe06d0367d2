"""Condition expressions: their syntax, and the types of their operands. Pure.

Source: "Condition and filter expressions, operators, and functions" and "Key condition expressions
for the Query operation", developer guide of DynamoDB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from local.aws.dynamodb.expressions import tokens_of
from local.aws.dynamodb.refusal import RuleError

COMPARATORS = frozenset({"=", "<>", "<", "<=", ">", ">="})
FUNCTIONS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
}
"""The functions of conditions, with the number of their operands."""
TYPES = ("B", "NULL", "SS", "BOOL", "L", "BS", "N", "NS", "S", "M")
ORDERED_TYPES = frozenset({"S", "N", "B"})
_KEPT = 4096


@dataclass(frozen=True)
class Test:
    """One comparison, or one call of a function."""

    operator: str
    operands: tuple[str, ...]
    """Placeholders of values, paths as written, `size(path)`."""


@lru_cache(_KEPT)
def tests_of(expression: str) -> tuple[Test, ...]:
    """All tests of a condition, in order. Raises RuleError for a syntax error."""
    return _Reader(expression).read()


def check_condition(expression: str, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Raise RuleError if the operands of a test have the wrong type."""
    for test in tests_of(expression):
        _check_distinct(test, names)
        literals = [values[one] for one in test.operands if one in values]
        if test.operator == "begins_with":
            _check_types(literals, frozenset({"S", "B"}), "operator or function: begins_with")
        elif test.operator in COMPARATORS - {"=", "<>"}:
            _check_types(literals, ORDERED_TYPES, f"operator: {test.operator}")
        elif test.operator == "BETWEEN":
            _check_types(literals, ORDERED_TYPES, "operator: BETWEEN")
            _check_bounds(test.operands[1:], values)
        elif test.operator == "attribute_type":
            _check_type_name(literals)


def _check_distinct(test: Test, names: Mapping[str, str]) -> None:
    first, *rest = [names.get(one, one) for one in test.operands]
    if first in rest and not first.startswith(":"):
        kind = "operator" if test.operator not in FUNCTIONS else "operator or function"
        raise RuleError(
            "The first operand must be distinct from the remaining operands for this operator or "
            f"function; {kind}: {test.operator}, first operand: [{first}]"
        )


def _check_types(literals: Sequence[Any], wanted: frozenset[str], where: str) -> None:
    for literal in literals:
        kind = next(iter(literal))
        if kind not in wanted:
            raise RuleError(
                f"Incorrect operand type for operator or function; {where}, operand type: {kind}"
            )


def _check_bounds(bounds: Sequence[str], values: Mapping[str, Any]) -> None:
    low, high = (values.get(bound) for bound in bounds)
    if low and high and low.keys() != high.keys():
        raise RuleError(
            "The BETWEEN operator requires same data type for lower and upper bounds; lower bound "
            f"operand: AttributeValue: {shown(low)}, "
            f"upper bound operand: AttributeValue: {shown(high)}"
        )


def _check_type_name(literals: Sequence[Any]) -> None:
    for literal in literals:
        if literal.get("S") not in TYPES:
            raise RuleError(
                f"Invalid attribute type name found; type: {literal.get('S')}, "
                f"valid types: {{{','.join(TYPES)}}}"
            )


def shown(value: Mapping[str, Any]) -> str:
    """A value as refusals show it: `{N:10}`."""
    ((kind, content),) = value.items()
    return f"{{{kind}:{content}}}"


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, expression: str) -> None:
        self._tokens = [*tokens_of(expression), ("end", "<EOF>")]
        self._at = 0
        self._tests: list[Test] = []

    def read(self) -> tuple[Test, ...]:
        self._alternatives()
        if self._kind != "end":
            raise self._wrong()
        return tuple(self._tests)

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _text(self) -> str:
        return self._tokens[self._at][1]

    def _is_word(self, *keywords: str) -> bool:
        return self._kind == "name" and self._text.upper() in keywords

    def _take(self) -> str:
        text = self._text
        self._at += 1
        return text

    def _expect(self, text: str) -> None:
        if self._text.upper() != text:
            raise self._wrong()
        self._at += 1

    def _wrong(self) -> RuleError:
        near = [text for kind, text in self._tokens[max(0, self._at - 1) : self._at + 2]]
        around = " ".join(text for text in near if text != "<EOF>")
        return RuleError(f'Syntax error; token: "{self._text}", near: "{around}"')

    def _alternatives(self) -> None:
        self._negation()
        while self._is_word("OR", "AND"):
            self._at += 1
            self._negation()

    def _negation(self) -> None:
        while self._is_word("NOT"):
            self._at += 1
        if self._text != "(":
            self._test()
            return
        self._at += 1
        self._alternatives()
        self._expect(")")

    def _test(self) -> None:
        is_call = self._kind == "name" and self._tokens[self._at + 1][1] == "("
        if is_call and self._text != "size":
            self._function()
            return
        first = self._operand()
        if self._text in COMPARATORS:
            self._tests.append(Test(self._take(), (first, self._operand())))
        elif self._is_word("BETWEEN"):
            self._at += 1
            low = self._operand()
            self._expect("AND")
            self._tests.append(Test("BETWEEN", (first, low, self._operand())))
        elif self._is_word("IN"):
            self._at += 1
            self._tests.append(Test("IN", (first, *self._operands())))
        else:
            raise self._wrong()

    def _function(self) -> None:
        name = self._take()
        operands = self._operands()
        if name not in FUNCTIONS:
            raise RuleError(f"Invalid function name; function: {name}")
        if len(operands) != FUNCTIONS[name]:
            raise RuleError(
                "Incorrect number of operands for operator or function; operator or function: "
                f"{name}, number of operands: {len(operands)}"
            )
        self._tests.append(Test(name, operands))

    def _operands(self) -> tuple[str, ...]:
        self._expect("(")
        found = [self._operand()]
        while self._text == ",":
            self._at += 1
            found.append(self._operand())
        self._expect(")")
        return tuple(found)

    def _operand(self) -> str:
        if self._text.startswith(":"):
            return self._take()
        if self._text == "size" and self._tokens[self._at + 1][1] == "(":
            self._at += 2
            path = self._path()
            self._expect(")")
            return f"size({path})"
        return self._path()

    def _path(self) -> str:
        parts = [self._step()]
        while self._text in {".", "["}:
            parts.append(self._take())
            if parts[-1] == ".":
                parts.append(self._step())
                continue
            if self._kind != "number":
                raise self._wrong()
            parts.append(self._take())
            self._expect("]")
            parts.append("]")
        return "".join(parts)

    def _step(self) -> str:
        is_name = self._kind == "name" and not self._is_word("AND", "OR", "NOT", "BETWEEN", "IN")
        if is_name or self._text.startswith("#"):
            return self._take()
        raise self._wrong()
