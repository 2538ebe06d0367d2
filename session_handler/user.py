"""The user of a session, as the dispatcher reports it.

It is in the answer to the callback `connected`, which only the holder of the session's key
receives: messages of a client cannot change it.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class User:
    """The user of a session."""

    owner: str | None = None
    """Such as `jwt:SUB` or `api_key:NAME`; None without a dispatcher."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """The claims of the user's token that the app's `pass_claims` names."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The parameters of the request for the session that the app's `pass_query` names. They are
    input of the user and must be validated."""


NOBODY = User()


def read_user(body: bytes) -> User:
    """The user in an answer to `connected`; NOBODY if it has none, as from older dispatchers."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    fields = answer.get("user") if isinstance(answer, dict) else None
    if fields is None:
        return NOBODY
    owner = fields.get("owner") if isinstance(fields, dict) else None
    if not isinstance(owner, str):
        log.warning("the dispatcher's answer names no user that can be read")
        return NOBODY
    return User(owner, _texts(fields.get("claims")), _texts(fields.get("query")))


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str)}
