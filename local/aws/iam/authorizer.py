"""Refuses the calls that their principal's policies do not allow, in AWS's words."""

import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

from local.aws.iam.accesses import Access, Asked, accesses
from local.aws.iam.policy import Decision, Statement, Verdict, decide, glob
from local.aws.iam.principals import FUNCTION_KEY, HOST_KEY, Principal, Principals
from local.aws.provision import ACCOUNT
from local.aws.wire import Answer, Call, Protocol, Request, credential_of, error_answer

_FORBIDDEN = {"scheduler", "sqs", "ec2", "s3", "sts"}
"""Services whose refusals have the status 403; those of JSON with a target have 400."""
_NAMED_KEYS = (FUNCTION_KEY, HOST_KEY)
"""Keys of principals of which there is a limited number."""


class Authorizer:
    """Checks calls. Thread-safe."""

    def __init__(
        self,
        principals: Principals,
        task_definition: Callable[[str], Mapping[str, Any] | None],
        region: str,
        forwarded: Collection[str] = (),
        group_of_instance: Callable[[str], str] = lambda _: "none",
    ) -> None:
        """`forwarded` are services of other emulators, whose tokens only these can read.
        `group_of_instance` names the Auto Scaling group of an instance.
        """
        self._group_of_instance = group_of_instance
        self._forwarded = frozenset(forwarded)
        self._principals = principals
        self._task_definition = task_definition
        self._region = region
        self._lock = threading.Lock()
        self._refused: Counter[str] = Counter()
        self._needed: dict[str, set[int]] = {}
        self._used: dict[str, set[str]] = {}

    def refusal(self, call: Call, request: Request) -> Answer | None:
        """The answer to a call that is not allowed; None for one that is."""
        key = access_key_of(request)
        if key is None:
            message = "Request is missing Authentication Token"
            return error_answer(call, "MissingAuthenticationTokenException", message, 403)
        principal = self._principals.find(key)
        if principal is None or not _has_token(principal, request):
            message = "The security token included in the request is invalid."
            return error_answer(call, "UnrecognizedClientException", message, 403)
        if expired(request, time.time()):
            return error_answer(call, "AccessDenied", "Request has expired", 403)
        is_s3 = call.service == "s3"
        parameters = object_of(request) if is_s3 else parameters_of(request)
        if call.service in self._forwarded and _says_where_by_token(parameters):
            return None
        asked = Asked(
            call.action,
            parameters,
            self._region,
            ACCOUNT,
            self._task_definition,
            self._group_of_instance,
        )
        for access in accesses(call.service, asked):
            context = {**access.context, **principal.context}
            verdict = _verdict(principal, access, context)
            self._record(key, access, verdict, principal.statements)
            if verdict.decision is not Decision.ALLOWED:
                return _refused(call, principal, access, verdict.decision)
        return None

    def arn_of(self, request: Request) -> str:
        """The principal of an allowed request."""
        principal = self._principals.find(access_key_of(request) or "")
        return principal.arn if principal else ""

    def refusal_of_missing(self, call: Call, request: Request) -> Answer | None:
        """The answer to a call for a missing S3 object, for a principal that may not list the
        bucket: 403, as without the right to read. None for a principal that may list it.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        key = access_key_of(request) or ""
        principal = self._principals.find(key)
        if principal is None:
            return None
        bucket = object_of(request)["Bucket"]
        access = Access("s3:ListBucket", f"arn:aws:s3:::{bucket}")
        verdict = _verdict(principal, access, {**access.context, **principal.context})
        self._record(key, access, verdict, principal.statements)
        if verdict.decision is Decision.ALLOWED:
            return None
        return _refused(call, principal, access, verdict.decision)

    def _record(
        self, key: str, access: Access, verdict: Verdict, statements: Sequence[Statement]
    ) -> None:
        with self._lock:
            if verdict.decision is not Decision.ALLOWED:
                self._refused[f"{key} {access.action}"] += 1
            elif key.startswith(_NAMED_KEYS):
                self._used.setdefault(key, set()).update(_rights(statements, access, verdict))
                if len(verdict.by) == 1:
                    self._needed.setdefault(key, set()).add(verdict.by[0])

    def describe(self) -> dict[str, Any]:
        """Number of refusals by principal and action, and the statements that were needed: by
        index, those of each function that alone allowed a call. `used`: the rights that allowed the
        calls of each function, `ACTION RESOURCE` as its policy writes the resource.
        """
        with self._lock:
            needed = {key: sorted(indexes) for key, indexes in self._needed.items()}
            used = {key: sorted(rights) for key, rights in self._used.items()}
            return {"refused": dict(self._refused), "needed": needed, "used": used}


def used_by(
    statements: Sequence[Statement], access: Access, context: Mapping[str, tuple[str, ...]]
) -> set[str]:
    """The rights of a policy that allow an access, `ACTION RESOURCE`; none where it is refused.
    Pure.
    """
    verdict = decide(statements, access.action, access.resource, context)
    allowed = verdict.decision is Decision.ALLOWED
    return _rights(statements, access, verdict) if allowed else set()


def _rights(statements: Sequence[Statement], access: Access, verdict: Verdict) -> set[str]:
    return {
        f"{access.action} {resource}"
        for index in verdict.by
        for resource in statements[index].resources
        if glob(resource)(access.resource)
    }


def _verdict(
    principal: Principal, access: Access, context: Mapping[str, tuple[str, ...]]
) -> Verdict:
    """The result of its policies, limited by the session policy if there is one."""
    verdict = decide(principal.statements, access.action, access.resource, context)
    if principal.limits is None or verdict.decision is not Decision.ALLOWED:
        return verdict
    limited = decide(principal.limits, access.action, access.resource, context)
    return verdict if limited.decision is Decision.ALLOWED else limited


def _has_token(principal: Principal, request: Request) -> bool:
    if principal.token is None:
        return True
    given = request.headers.get("x-amz-security-token")
    given = given or parse_qs(request.query).get("X-Amz-Security-Token", [""])[0]
    return hmac.compare_digest(principal.token.encode(), given.encode())


def _says_where_by_token(parameters: Mapping[str, Any]) -> bool:
    """Whether only a token names the stream; the call that returned the token was checked."""
    names = {"StreamName", "StreamARN"} & parameters.keys()
    return not names and bool({"ShardIterator", "NextToken"} & parameters.keys())


def access_key_of(request: Request) -> str | None:
    """The access key id of a signature, SigV4 in the header or the query; None without one."""
    credential = credential_of(request)
    return None if credential is None else credential.partition("/")[0]


def expired(request: Request, now: float) -> bool:
    """Whether a presigned URL is used after its time. Pure.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    query = parse_qs(request.query)
    if "X-Amz-Expires" not in query or "X-Amz-Date" not in query:
        return False
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return now > signed.timestamp() + int(query["X-Amz-Expires"][0])


def object_of(request: Request) -> Mapping[str, Any]:
    """Bucket and key of a call of S3."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    return {"Bucket": unquote(bucket), "Key": unquote(key)}


def parameters_of(request: Request) -> Mapping[str, Any]:
    """The parameters of a call in any protocol; empty for a body that is not an object."""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(request.body.decode("latin-1")))
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        return {}  # the service itself refuses it
    parameters = body if isinstance(body, dict) else {}
    segments = request.path.strip("/").split("/")
    if segments[0] == "schedules" and len(segments) == 2:  # the scheduler has names in its paths
        query = dict(parse_qsl(request.query))
        group = {"GroupName": query["groupName"]} if "groupName" in query else {}
        return {**parameters, **group, "Name": segments[1]}
    return parameters


def _refused(call: Call, principal: Principal, access: Access, decision: Decision) -> Answer:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""
    why = (
        "with an explicit deny in an identity-based policy"
        if decision is Decision.EXPLICIT_DENY
        else f"because no identity-based policy allows the {access.action} action"
    )
    message = (
        f"User: {principal.arn} is not authorized to perform: {access.action} "
        f"on resource: {access.resource} {why}"
    )
    if call.protocol is Protocol.EC2:
        message = f"You are not authorized to perform this operation. {message}"
        return error_answer(call, "UnauthorizedOperation", message, 403)
    status = 403 if call.service in _FORBIDDEN else 400
    code = "AccessDenied" if call.service in {"s3", "sts"} else "AccessDeniedException"
    return error_answer(call, code, message, status)
