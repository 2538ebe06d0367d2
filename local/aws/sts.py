"""STS: AssumeRole with session tags and a session policy, for the roles that IAM (moto's) has.

The rules: the caller's policies must allow sts:AssumeRole, and sts:TagSession for tags (checked as
for every call, `local.aws.iam`), and so must the role's trust policy. The session may do what both
the role's policies and the session policy allow.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
"""

import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from local.aws.iam.policy import Decision, PolicyError, Statement, decide, parse_policy
from local.aws.wire import Answer, Call, Request, error_answer

LEAST_SECONDS, MOST_SECONDS, DEFAULT_SECONDS = 900, 3_600, 3_600
"""Bounds of a session's duration in seconds; a session requested with an assumed role (such as a
function's) has at most an hour.
"""
MOST_POLICY_CHARACTERS = 2_048
MOST_TAGS = 50
KEY = "ASIALOCALUSER"
"""Prefix of the access keys of AssumeRole's sessions."""
_TAG = re.compile(r"[\w.:/=+\-@ ]*")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_TAG_MEMBER = re.compile(r"Tags\.member\.([0-9]+)\.(Key|Value)")


@dataclass(frozen=True)
class Role:
    """A role: its trust policy and its permissions."""

    arn: str
    trust: Mapping[str, Any]
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class AssumedSession:
    """A session of AssumeRole."""

    role: str
    """The role's name: its policies are read at each call, as a deny may be added later."""
    name: str
    token: str
    limits: tuple[Statement, ...] | None
    """The session policy; None = none."""
    tags: Mapping[str, str]
    issued_at: float
    expires_at: float


class StsError(Exception):
    """A refusal: its code, message and status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Sts:
    """All sessions of assumed roles. Thread-safe."""

    def __init__(
        self,
        account: str,
        find_role: Callable[[str], Role | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`find_role` by name, with its policies as they are now."""
        self._account = account
        self._find_role = find_role
        self._now = now
        self._lock = threading.Lock()
        self._sessions: dict[str, AssumedSession] = {}
        self.caller_of: Callable[[Request], str] = lambda _: f"arn:aws:iam::{account}:root"
        """The ARN of who makes a request."""

    def find(self, key: str) -> tuple[AssumedSession, Role | None] | None:
        """The session of an access key while it lasts, and its role as it is now."""
        with self._lock:
            now = self._now()
            self._sessions = {k: s for k, s in self._sessions.items() if s.expires_at > now}
            session = self._sessions.get(key)
        return None if session is None else (session, self._find_role(session.role))

    def answer(self, call: Call, request: Request) -> Answer | None:
        """The answer to AssumeRole; None for other calls, which moto knows."""
        if call.action != "AssumeRole":
            return None
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        try:
            key, session, role = self._assume(form, self.caller_of(request))
        except StsError as error:
            return error_answer(call, error.code, str(error), error.status)
        return _show(key, session, role)

    def _assume(self, form: Mapping[str, str], caller: str) -> tuple[str, AssumedSession, Role]:
        name, arn = form.get("RoleSessionName", ""), form.get("RoleArn", "")
        if not _SESSION_NAME.fullmatch(name):
            raise StsError("ValidationError", "roleSessionName is no name of a session")
        seconds, tags, limits = _seconds(form), session_tags(form), _session_policy(form)
        role = self._find_role(arn.rpartition("/")[2])
        if role is None or role.arn != arn or not self._is_trusted(role, caller, tags, name):
            # AWS does not report which of the two it is.
            raise StsError(
                "AccessDenied",
                f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                403,
            )
        now = self._now()
        session = AssumedSession(
            role=arn.rpartition("/")[2],
            name=name,
            token=secrets.token_urlsafe(64),
            limits=limits,
            tags=tags,
            issued_at=now,
            expires_at=now + seconds,
        )
        key = KEY + secrets.token_hex(4).upper()
        with self._lock:
            self._sessions[key] = session
        return key, session, role

    def _is_trusted(self, role: Role, caller: str, tags: Mapping[str, str], name: str) -> bool:
        context = request_context(tags, name) | {"aws:principalarn": (caller,)}
        actions = ["sts:AssumeRole", *(["sts:TagSession"] if tags else [])]
        statements = trusting(role.trust, caller, self._account)
        return all(
            decide(statements, action, role.arn, context).decision is Decision.ALLOWED
            for action in actions
        )


def trusting(trust: Mapping[str, Any], caller: str, account: str) -> tuple[Statement, ...]:
    """The statements of a trust policy whose principal is this caller, or its account. Pure."""
    role = re.sub(r":sts::(\d+):assumed-role/([^/]+)/.*", r":iam::\1:role/\2", caller)
    known = {"*", account, f"arn:aws:iam::{account}:root", caller, role}
    found = []
    for statement in trust["Statement"]:
        principal = statement.get("Principal")
        names = principal.get("AWS", []) if isinstance(principal, dict) else principal
        if known & set(names if isinstance(names, list) else [names]):
            rest = {k: v for k, v in statement.items() if k not in {"Principal", "Sid"}}
            found.append(rest | {"Resource": "*"})
    return parse_policy({"Statement": found})


def session_tags(form: Mapping[str, str]) -> dict[str, str]:
    """The session tags of a request. Raises StsError. Pure."""
    parts: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        if found := _TAG_MEMBER.fullmatch(name):
            parts.setdefault(found[1], {})[found[2]] = value
    tags = {part.get("Key", ""): part.get("Value", "") for part in parts.values()}
    if len(tags) < len(parts) or len(tags) > MOST_TAGS:
        raise StsError("InvalidParameterValue", "Duplicate tag keys, or more than 50 tags")
    for key, value in tags.items():
        fits = 0 < len(key) <= 128 and len(value) <= 256
        if not (fits and _TAG.fullmatch(key) and _TAG.fullmatch(value)) or key.startswith("aws:"):
            raise StsError("ValidationError", f"the session tag {key!r} is none")
    return tags


def request_context(tags: Mapping[str, str], name: str) -> dict[str, tuple[str, ...]]:
    """Condition keys of an AssumeRole request. Pure."""
    context = {f"aws:requesttag/{key.lower()}": (value,) for key, value in tags.items()}
    context |= {"sts:rolesessionname": (name,)}
    return context | ({"aws:tagkeys": tuple(tags)} if tags else {})


def _seconds(form: Mapping[str, str]) -> int:
    try:
        seconds = int(form.get("DurationSeconds") or DEFAULT_SECONDS)
    except ValueError:
        seconds = 0
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise StsError(
            "ValidationError",
            f"Value '{seconds}' at 'durationSeconds' failed to satisfy constraint: Member must "
            f"have value from {LEAST_SECONDS} to {MOST_SECONDS}",
        )
    return seconds


def _session_policy(form: Mapping[str, str]) -> tuple[Statement, ...] | None:
    text = form.get("Policy")
    if text is None:
        return None
    if len(text) > MOST_POLICY_CHARACTERS:
        raise StsError("PackedPolicyTooLarge", "the session policy is too long")
    try:
        document = json.loads(text)
        return parse_policy(document)
    except PolicyError as error:
        raise StsError("MalformedPolicyDocument", str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StsError("MalformedPolicyDocument", "Syntax errors in policy.") from error


def _show(key: str, session: AssumedSession, role: Role) -> Answer:
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.expires_at))
    account = role.arn.split(":")[4]
    assumed = f"arn:aws:sts::{account}:assumed-role/{session.role}/{session.name}"
    xml = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
        f"<Credentials><AccessKeyId>{key}</AccessKeyId>"
        f"<SecretAccessKey>local-{secrets.token_hex(20)}</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken><Expiration>{ends}</Expiration></Credentials>"
        f"<AssumedRoleUser><Arn>{escape(assumed)}</Arn>"
        f"<AssumedRoleId>AROALOCAL:{escape(session.name)}</AssumedRoleId></AssumedRoleUser>"
        "</AssumeRoleResult><ResponseMetadata><RequestId>local</RequestId></ResponseMetadata>"
        "</AssumeRoleResponse>"
    )
    return Answer(200, {"Content-Type": "text/xml"}, xml.encode())
