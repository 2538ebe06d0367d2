"""Who is asking. Pure.

`none`: nobody is asked; limits count by IP address. `api_key`: the dispatcher checks the header
X-Api-Key itself, against hashes. `iam` and `jwt`: API Gateway checked, and the request context
says who it is; a request without is refused, so that a route without its authorizer is no hole.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalicelib.errors import UnauthorizedError


class AuthMode(StrEnum):
    """How a deployment learns who is asking."""

    NONE = "none"
    API_KEY = "api_key"
    IAM = "iam"
    JWT = "jwt"


@dataclass(frozen=True)
class Caller:
    """Who is asking. `owner` is recorded with the session and counted against limits."""

    owner: str
    key_scope: str
    """Idempotency keys are told apart by this; addresses change, so `none` has one for all."""
    is_operator: bool = False
    knows_who: bool = True
    """False where nobody is asked: there the session's id is all it takes to manage it."""

    def may_manage(self, owner: str | None) -> bool:
        """Whether this caller may look at and stop a session of `owner`."""
        return self.is_operator or not self.knows_who or self.owner == owner


def identify(
    mode: AuthMode,
    headers: Mapping[str, str],
    context: Mapping[str, Any],
    *,
    api_keys: Mapping[str, str],
    operators: frozenset[str],
) -> Caller:
    """Say who is asking. Raises UnauthorizedError.

    `headers` are lower case; `context` is API Gateway's request context; `api_keys` maps names
    to the SHA-256 of their keys, in hex.
    """
    identity = context.get("identity") or {}
    match mode:
        case AuthMode.NONE:
            owner = f"ip:{identity.get('sourceIp', 'unknown')}"
            return Caller(owner, key_scope="anybody", knows_who=False)
        case AuthMode.API_KEY:
            name = _name_of(headers.get("x-api-key", ""), api_keys)
        case AuthMode.IAM:
            name = identity.get("userArn") or identity.get("caller")
        case AuthMode.JWT:
            name = ((context.get("authorizer") or {}).get("claims") or {}).get("sub")
    if not name:
        raise UnauthorizedError(_HOW[mode])
    owner = f"{mode}:{name}"
    return Caller(owner, key_scope=owner, is_operator=name in operators)


_HOW = {
    AuthMode.API_KEY: "send a valid key in the header X-Api-Key",
    AuthMode.IAM: "sign the request with AWS Signature Version 4",
    AuthMode.JWT: "send a valid token in the header Authorization",
}


def _name_of(key: str, api_keys: Mapping[str, str]) -> str | None:
    digest = hashlib.sha256(key.encode()).hexdigest()
    found = None
    for name, expected in api_keys.items():  # all of them, however early one fits
        if hmac.compare_digest(digest, expected):
            found = name
    return found
