"""JSON text in records, defined equally for writers and readers. Pure.

RFC 8259 in UTF-8. Python's parser accepts NaN and Infinity in addition, browsers do not.
"""

import json
from typing import Any


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse)
_SPACE = " \t\n\r"


def parse(text: str) -> Any:
    """The value. Raises ValueError, and RecursionError for deep nesting."""
    # `decode` doubles the time for a small record: only used if there is space around the value.
    if text[:1] not in _SPACE:
        value, end = _decoder.raw_decode(text)
        if end == len(text):
            return value
    return _decoder.decode(text)


def size_of(value: Any) -> int:
    """Bytes of a value's JSON in UTF-8, without blanks and needless escapes, however it was
    written. Raises ValueError if it is not JSON.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return len(text.encode())


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more than `levels` levels. Not recursive."""
    containers = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        containers = [
            part
            for outer in containers
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, dict | list)
        ]
        if not containers:
            return False
    return bool(containers)


def is_json(raw: bytes) -> bool:
    try:
        parse(raw.decode())
    except (ValueError, RecursionError):
        return False
    return True
