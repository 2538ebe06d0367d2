"""Inputs that requests about sessions and invocations share. Pure."""

import hmac
import uuid
from collections.abc import Mapping
from typing import Protocol, TypeVar

from chalicelib.errors import NotFoundError, UnauthorizedError
from chalicelib.fields import Field, page_size

TRACEPARENT = Field(
    "traceparent",
    {"type": "string"},
    "a string",
    "Where the request stands in a trace, as W3C has it; what is none is ignored.",
)
IDEMPOTENCY_KEY = Field(
    "Idempotency-Key",
    {"type": "string", "pattern": r"^[\x21-\x7e]{1,128}$"},
    "1 to 128 printable ASCII characters, no spaces",
    "The same key is answered with what its first request made; a random UUID is a good one.",
)
MAX_LOG_LINES = 1_000
DEFAULT_LOG_LINES = 500
LOG_LIMIT = page_size(DEFAULT_LOG_LINES, MAX_LOG_LINES)
LOGS = (
    LOG_LIMIT,
    Field("next", {"type": "string"}, "as the page before said", "From the page before."),
)
"""Query parameters of `GET …/{id}/logs`."""


class WithKey(Protocol):
    """A record whose container authenticates with a key."""

    @property
    def key(self) -> str:
        """The secret."""


K = TypeVar("K", bound=WithKey)


def parse_record_id(text: str, kind: str) -> str:
    """The id of a record in the table. Raises NotFoundError for an invalid id."""
    try:
        if str(uuid.UUID(text)) == text:
            return text
    except ValueError:
        pass
    raise NotFoundError(f"no such {kind}")


def parse_idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The idempotency key of a request. Raises BadRequestError."""
    key = headers.get(IDEMPOTENCY_KEY.name.lower())
    return None if key is None else str(IDEMPOTENCY_KEY.check(key))


def authenticated(record: K | None, key: str, kind: str) -> K:
    """The record, for its container. Raises NotFoundError, UnauthorizedError."""
    if record is None:
        raise NotFoundError(f"no such {kind}")
    if not hmac.compare_digest(record.key.encode(), key.encode()):
        raise UnauthorizedError(f"this key is not the {kind}'s")
    return record
