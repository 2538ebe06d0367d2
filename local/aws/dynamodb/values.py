"""Attribute values that DynamoDB refuses. Pure.

Source: "AttributeValue", API reference; "Data types" and "Constraints", developer guide.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from local.aws.dynamodb.refusal import RuleError

DIGITS = 38
LARGEST = Decimal("9.9999999999999999999999999999999999999e125")
LEVELS = 32
_INVALID = "One or more parameter values were invalid: "
_EMPTY_SETS = {
    "SS": "An string set  may not be empty",
    "NS": "An number set  may not be empty",
    "BS": "Binary sets should not be empty",
}


def check_values(values: Mapping[str, Any] | None) -> None:
    """Raise RuleError for an invalid value; checks that moto makes are left to it."""
    for value in (values or {}).values():
        _check_value(value, LEVELS)


def _check_value(value: Mapping[str, Any], levels: int) -> None:
    if len(value) != 1:
        how = "has more than one datatypes set" if value else "is empty"
        raise RuleError(
            f"Supplied AttributeValue {how}, must contain exactly one of the supported datatypes"
        )
    ((kind, content),) = value.items()
    if kind == "N":
        _check_number(str(content))
    elif kind in _EMPTY_SETS:
        _check_set(kind, content)
    elif kind == "NULL" and content is False:
        raise RuleError(f"{_INVALID}Null attribute value types must have the value of true")
    elif kind in {"L", "M"}:
        if levels == 0:
            raise RuleError(
                "Nesting Levels have exceeded supported limits: Attributes in the item have nested "
                "levels beyond supported limit"
            )
        for inner in content.values() if kind == "M" else content:
            _check_value(inner, levels - 1)


def _check_set(kind: str, content: list[Any]) -> None:
    if not content:
        raise RuleError(f"{_INVALID}{_EMPTY_SETS[kind]}")
    if kind == "NS":
        for text in content:
            _check_number(str(text))
        if len(set(_decimals(content))) < len(content):
            raise RuleError("Input collection contains duplicates")
    elif len(set(map(str, content))) < len(content):
        what = f"[{', '.join(content)}]" if kind == "SS" else "of type BS"
        raise RuleError(f"{_INVALID}Input collection {what} contains duplicates.")


def _decimals(texts: list[Any]) -> Iterator[Any]:
    for text in texts:
        try:
            yield Decimal(str(text))
        except InvalidOperation:
            yield text


def _check_number(text: str) -> None:
    """38 digits, up to 9.9…E+125."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > DIGITS:
        raise RuleError("Attempting to store more than 38 significant digits in a Number")
    if abs(number) > LARGEST:
        raise RuleError(
            "Number overflow. Attempting to store a number with magnitude larger than "
            "supported range"
        )


def size_of(value: Mapping[str, Any]) -> int:
    """The bytes of a value, roughly as DynamoDB counts them."""
    ((kind, content),) = value.items()
    if kind == "M":
        return sum(len(name.encode()) + size_of(inner) for name, inner in content.items())
    if kind == "L":
        return sum(map(size_of, content))
    return len(str(content).encode())
