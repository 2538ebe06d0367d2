"""The user of a session, as the dispatcher reports it.

The dispatcher says it in its answer to the callback `connected`, which only the holder of the
session's key gets: nothing that a client sends to the container changes it.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class User:
    """The user that a session was handed out to."""

    owner: str | None = None
    """Like `jwt:SUB` or `api_key:NAME`; None where no dispatcher says."""
    claims: Mapping[str, str] = field(default_factory=dict)
    """The claims of the user's token that the app's `pass_claims` names."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The parameters of the request for the session that the app's `pass_query` names. The
    user chose them: they are input like any other.
    """


NOBODY = User()


def read_user(body: bytes) -> User:
    """The user in an answer to `connected`; NOBODY where it has none, as from older dispatchers."""
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
