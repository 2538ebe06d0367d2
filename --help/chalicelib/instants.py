"""The format of times in answers, records and messages. Pure."""

from datetime import UTC, datetime
from typing import overload


@overload
def instant(at: float) -> str: ...


@overload
def instant(at: None) -> None: ...


@overload
def instant(at: float | None) -> str | None: ...


def instant(at: float | None) -> str | None:
    """A time in ISO 8601: UTC, milliseconds, `Z`. `at` is in seconds since 1970."""
    if at is None:
        return None
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
