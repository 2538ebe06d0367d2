"""Serializes plain values to DynamoDB's JSON and back. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def serialize(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values in DynamoDB's JSON, without those that are None."""
    return {name: _to_attribute(value) for name, value in values.items() if value is not None}


def _to_attribute(value: Any) -> dict[str, Any]:  # noqa: PLR0911 - one for each type
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(value)}
        case float():
            return {"N": format(Decimal(str(round(value, 6))), "f")}
        case Mapping():
            return {"M": serialize(value)}
        case frozenset():
            return {"SS": sorted(value)}
        case list() | tuple():
            return {"L": [_to_attribute(part) for part in value]}
        case _:
            raise TypeError(f"no DynamoDB type for {type(value).__name__}")


def deserialize(item: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `serialize`; integral numbers become int."""
    return {name: _from_attribute(value) for name, value in item.items()}


def _from_attribute(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    match kind:
        case "N":
            number = Decimal(content)
            return int(number) if number == number.to_integral_value() else float(number)
        case "M":
            return deserialize(content)
        case "L":
            return [_from_attribute(part) for part in content]
        case "NULL":
            return None
        case _:
            return content
