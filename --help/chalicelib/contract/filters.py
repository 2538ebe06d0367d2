"""Filters of clients: conditions on the fields of JSON records. Pure.

    {"suburb": "Fernbank", "price": {"min": 400000}, "rooms": {"in": [3, 4]}}

All conditions must hold. A field matches a value if it is equal, a range if it is a number (or a
text) between its ends, a list of choices if it equals one of them. Texts are compared character by
character, which orders dates in ISO 8601. A record that is not a JSON object matches no condition.
"""

import math
from collections.abc import Callable
from typing import Any

MAX_FIELDS = 16
MAX_CHOICES = 100
MAX_CHARACTERS = 256

Filter = Callable[[Any], bool]
"""Returns whether a record's data matches."""

_Condition = Callable[[Any], bool]


class FilterError(ValueError):
    """An invalid filter; the message is for its author."""


def parse_filter(wish: Any) -> Filter | None:
    """Parse a client's filter; None matches everything. Raises FilterError."""
    if wish is None or wish == {}:
        return None
    if not isinstance(wish, dict):
        raise FilterError("a filter is an object: a condition for each field")
    if len(wish) > MAX_FIELDS:
        raise FilterError(f"a filter has at most {MAX_FIELDS} fields")
    conditions = [(_name(field), _condition(field, wanted)) for field, wanted in wish.items()]

    def wants(data: Any) -> bool:
        return isinstance(data, dict) and all(
            field in data and meets(data[field]) for field, meets in conditions
        )

    return wants


def _name(field: str) -> str:
    if len(field) > MAX_CHARACTERS:
        raise FilterError(f"a field's name has at most {MAX_CHARACTERS} characters")
    return field


def _condition(field: str, wanted: Any) -> _Condition:
    match wanted:
        case {"in": list(choices), **rest} if not rest:
            return _choice(field, choices)
        case dict() if wanted and wanted.keys() <= {"min", "max"}:
            return _range(field, wanted)
        case dict() | list():
            raise FilterError(
                f'{field!r}: a value, {{"min": …, "max": …}} or {{"in": […]}} is expected'
            )
        case _:
            return _choice(field, [wanted])


def _choice(field: str, choices: list[Any]) -> _Condition:
    if len(choices) > MAX_CHOICES:
        raise FilterError(f"{field!r}: at most {MAX_CHOICES} choices")
    if any(isinstance(choice, dict | list) for choice in choices):
        raise FilterError(f"{field!r}: choices are texts, numbers, true, false or null")
    wanted = {(_kind(choice), _bounded(field, choice)) for choice in choices}

    def meets(value: Any) -> bool:
        return not isinstance(value, dict | list) and (_kind(value), value) in wanted

    return meets


def _range(field: str, wanted: dict[str, Any]) -> _Condition:
    ends = [_bounded(field, end) for end in wanted.values()]
    kind = _kind(ends[0])
    if kind not in {"number", "text"} or any(_kind(end) != kind for end in ends):
        raise FilterError(f"{field!r}: min and max are both numbers, or both texts")
    least, most = wanted.get("min"), wanted.get("max")

    def meets(value: Any) -> bool:
        if _kind(value) != kind:
            return False
        return (least is None or value >= least) and (most is None or value <= most)

    return meets


def _bounded(field: str, value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise FilterError(f"{field!r}: a text has at most {MAX_CHARACTERS} characters")
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{field!r}: not a finite number")
    return value


def _kind(value: Any) -> str:
    """The kind of a value. A bool is not a number here, unlike in Python."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"
