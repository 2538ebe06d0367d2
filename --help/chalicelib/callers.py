"""The identity of callers. Pure.

`none`: no authentication; limits apply to IP addresses. At stage `local` the caller is an operator;
at other stages it is anonymous and may only use sessions. `api_key`: the dispatcher checks the
header X-Api-Key against hashes. `iam` and `jwt`: API Gateway authenticates, and the request context
has the identity. A request without identity is refused, even on a route whose authorizer is
missing.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chalicelib.contract.text import is_readable
from chalicelib.errors import ForbiddenError, UnauthorizedError

MOST_NAME_BYTES = 1_000
"""Maximum length of a caller's name in bytes, because it is part of DynamoDB keys (1,024 bytes for
a sort key). OpenID Connect allows 255 for `sub`, IAM about 630 for a role's ARN."""


class AuthMode(StrEnum):
    """How a deployment identifies callers."""

    NONE = "none"
    API_KEY = "api_key"
    IAM = "iam"
    JWT = "jwt"


class Role(StrEnum):
    """The role of a caller."""

    OPERATOR = "operator"
    VIEWER = "viewer"
    OWNER = "owner"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Caller:
    """A caller. `owner` is recorded with its sessions and counted against limits."""

    owner: str
    key_scope: str
    """Scope of idempotency keys. With `none` all callers share one, because addresses change."""
    is_operator: bool = False
    is_viewer: bool = False
    """Whether it may read everything that operators may, and change nothing."""
    is_anonymous: bool = False
    """Whether it was not authenticated. An address proves no identity; it is only used for
    limits."""
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """With `jwt`, the claims of the token that API Gateway checked."""

    @property
    def role(self) -> Role:
        """The caller's role."""
        if self.is_operator:
            return Role.OPERATOR
        if self.is_viewer:
            return Role.VIEWER
        return Role.ANONYMOUS if self.is_anonymous else Role.OWNER

    @property
    def sees_all(self) -> bool:
        """Whether the caller may read records of other owners."""
        return self.is_operator or self.is_viewer

    def may_see(self, owner: str | None) -> bool:
        """Whether the caller may read records of `owner`."""
        return self.sees_all or (not self.is_anonymous and self.owner == owner)

    def may_see_session(self, owner: str | None) -> bool:
        """Whether the caller may read a session of `owner`. An anonymous caller only needs its
        id.
        """
        return self.is_anonymous or self.may_see(owner)

    def require_change(self) -> None:
        """Raise ForbiddenError for a viewer. Ownership of the record is checked separately."""
        if self.is_viewer:
            raise ForbiddenError("viewers see everything and change nothing, see VIEWERS")

    def require_identity(self) -> None:
        """Raise ForbiddenError for an anonymous caller."""
        if self.is_anonymous:
            raise ForbiddenError(
                "with AUTH_MODE none this deployment offers sessions alone; jobs and schedules "
                "need AUTH_MODE api_key, iam or jwt (parameter AuthMode)"
            )

    def require_operator(self) -> None:
        """Raise ForbiddenError unless the caller is an operator."""
        self.require_identity()
        if not self.is_operator:
            raise ForbiddenError("only operators may, see OPERATORS (parameter Operators)")

    def require_sight(self) -> None:
        """Raise ForbiddenError unless the caller may read records of other owners."""
        self.require_identity()
        if not self.sees_all:
            raise ForbiddenError("only operators and viewers may, see OPERATORS and VIEWERS")


def identify(
    mode: AuthMode | None,
    headers: Mapping[str, str],
    context: Mapping[str, Any],
    *,
    api_keys: Sequence[tuple[str, str]],
    operators: frozenset[str],
    viewers: frozenset[str] = frozenset(),
    is_local: bool = False,
) -> Caller:
    """Return the caller. Raises UnauthorizedError; ForbiddenError if AUTH_MODE is not set.

    `headers` are lower case; `context` is API Gateway's request context; `api_keys` has pairs of
    name and hexadecimal SHA-256 of a key; a name may have several keys.
    """
    identity = context.get("identity") or {}
    aliases: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = {}
    match mode:
        case AuthMode.NONE:
            owner = f"ip:{subscriber_of(str(identity.get('sourceIp') or 'unknown'))}"
            return Caller(
                owner, key_scope="anybody", is_operator=is_local, is_anonymous=not is_local
            )
        case None:
            raise ForbiddenError(UNDECIDED)
        case AuthMode.API_KEY:
            name = _name_of(headers.get("x-api-key", ""), api_keys)
        case AuthMode.IAM:
            whole = str(identity.get("userArn") or identity.get("caller") or "")
            name = principal_of(whole)
            aliases = frozenset({whole})
        case AuthMode.JWT:
            claims = (context.get("authorizer") or {}).get("claims") or {}
            name = claims.get("sub")
    if not name:
        raise UnauthorizedError(_HOW[mode])
    if not isinstance(name, str) or not is_readable(name) or len(name.encode()) > MOST_NAME_BYTES:
        raise UnauthorizedError(UNFIT_NAME)
    owner, names = f"{mode}:{name}", aliases | {name}
    is_operator = not operators.isdisjoint(names)
    return Caller(
        owner,
        key_scope=owner,
        is_operator=is_operator,
        is_viewer=not is_operator and not viewers.isdisjoint(names),
        claims=claims,
    )


UNFIT_NAME = (
    "the caller's name is not one line of text without control characters, or too long; names are "
    "not changed, as two callers would become one"
)
UNDECIDED = (
    "AUTH_MODE is not set: decide who may ask, by api_key, iam or jwt; none lets everybody have "
    "sessions, within limits, and nothing else"
)


def principal_of(caller: str) -> str:
    """The identity of an IAM caller, without parts that the caller chooses, such as a session name.

    AssumeRole and GetFederationToken let a caller choose the session's name, and it could become
    any number of owners. Sessions of one role are therefore one owner, and so are federated users
    of one account.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable
    """
    if found := re.fullmatch(r"(arn:[\w-]+):sts::([0-9]*):assumed-role/([^/]+)/.*", caller):
        return f"{found[1]}:iam::{found[2]}:role/{found[3]}"
    if found := re.fullmatch(r"(arn:[\w-]+:sts::[0-9]*:federated-user)/.*", caller):
        return found[1]
    return caller if caller.startswith("arn:") else caller.partition(":")[0]


def subscriber_of(address: str) -> str:
    """The address for limits: IPv4 unchanged, also if mapped to IPv6; of IPv6 the /64.

    One subscriber has at least a /64 and may use any of its addresses for each request.
    https://www.rfc-editor.org/rfc/rfc6177
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    inside = found.ipv4_mapped or (
        ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF) if found in _NAT64 else None
    )
    return str(inside or ipaddress.ip_network((found, 64), strict=False))


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Prefix of IPv4 clients behind a translator: https://www.rfc-editor.org/rfc/rfc6052#section-2.1"""


_HOW = {
    AuthMode.API_KEY: "send a valid key in the header X-Api-Key",
    AuthMode.IAM: "sign the request with AWS Signature Version 4",
    AuthMode.JWT: "send a valid token in the header Authorization",
}


def _name_of(key: str, api_keys: Sequence[tuple[str, str]]) -> str | None:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    found = None
    for name, expected in api_keys:  # compare all of them, so that the time is constant
        if hmac.compare_digest(digest, expected):
            found = name
    return found
