"""Answers of the dispatcher: JSON, not cacheable, errors in one format."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chalice.app import (
    Authorizer,
    CognitoUserPoolAuthorizer,
    CORSConfig,
    IAMAuthorizer,
    Response,
)

from chalicelib.callers import AuthMode, Caller, identify
from chalicelib.config import Config, allowed_origins
from chalicelib.contract import json_text
from chalicelib.errors import (
    BadRequestError,
    BusyError,
    UnauthorizedError,
    UnavailableError,
    UsherError,
)
from chalicelib.fields import MAX_BODY_BYTES, Document, Field, refuse_unknown

CORS = CORSConfig(
    allow_origin="*",
    allow_headers=["Idempotency-Key", "If-None-Match", "Traceparent"],
    expose_headers=["ETag", "Location", "Retry-After"],
    max_age=600,
)
"""For the routes that a session's page calls, and no others. API Gateway's answer to a preflight
request is fixed at deployment; `restrict_cors` restricts the answers to ALLOWED_ORIGINS."""

MAX_DEPTH = 100
"""Maximum nesting of lists and objects in a body. Python's JSON parser and serializer and the
schema validator recurse; deeper values must not be stored."""
_TOO_DEEP = f"the body is nested more than {MAX_DEPTH} levels deep"
_THROTTLING = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
}
"""The names of throttling errors in DynamoDB, SQS, ECS and EC2."""
SAFE_METHODS = frozenset({"GET", "HEAD"})
_FIELD_OF = {
    "session_id": "session",
    "invocation_id": "invocation",
    "job": "job",
    "schedule_id": "schedule",
    "assignment_id": "assignment",
    "submission_id": "submission",
}
"""Fields of log records by path parameters."""
_log = logging.getLogger("usher.http")

View = TypeVar("View", bound=Callable[..., Response])


@dataclass(frozen=True)
class Takes:
    """The inputs of one route's requests, besides the path."""

    query: tuple[Field, ...] = ()
    body: Document | None = None
    headers: tuple[Field, ...] = ()
    """Headers that the route defines, without those of authentication."""
    ignores_others: bool = False
    """Whether unknown query parameters are ignored; otherwise they are a 400."""


NOTHING = Takes()


def takes(
    *,
    query: tuple[Field, ...] = (),
    body: Document | None = None,
    headers: tuple[Field, ...] = (),
    ignores_others: bool = False,
) -> Callable[[View], View]:
    """Declare the inputs of a view, for the checks and for the API's document.

    A view without this has no query parameters, no body and no headers.
    """
    declared = Takes(query, body, headers, ignores_others)

    def mark(view: View) -> View:
        vars(view)["takes"] = declared
        return view

    return mark


def takes_lazily(declare: Callable[[], Takes]) -> Callable[[View], View]:
    """As `takes`, with a declaration that is imported by the view's first request, so that it costs
    a cold start of `GET /session` nothing.
    """

    def mark(view: View) -> View:
        vars(view)["takes"] = declare
        return view

    return mark


def taken_by(view: Callable[..., Any]) -> Takes:
    """The declared inputs of a view."""
    declared: Takes | Callable[[], Takes] = getattr(view, "takes", NOTHING)
    return declared if isinstance(declared, Takes) else declared()


def authorizer_for(mode: AuthMode | None, user_pools: Sequence[str]) -> Authorizer | None:
    """API Gateway's authorizer; None if it does not authenticate."""
    match mode:
        case AuthMode.IAM:
            return IAMAuthorizer()
        case AuthMode.JWT:
            return CognitoUserPoolAuthorizer("users", provider_arns=list(user_pools))
        case _:
            return None


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that must not be cached."""
    return Response(
        body=body, status_code=status, headers={"Cache-Control": "no-store", **(headers or {})}
    )


def error_answer(error: UsherError) -> Response:
    """An error in the documented format, with Retry-After if a repetition may succeed."""
    retry = error.retry_after_seconds
    headers = {} if retry is None else {"Retry-After": str(retry)}
    body = {"error": {"code": error.code, "message": str(error)}}
    return answer(body, error.status, headers)


def answering(view: Callable[..., Response]) -> Callable[..., Response]:
    """Render the domain's errors. Other exceptions become a 429 or 503 if they come from AWS, else
    a 500 without details.
    """

    @functools.wraps(view)
    def wrapped(*args: Any, **kwargs: Any) -> Response:
        try:
            return view(*args, **kwargs)
        except UsherError as error:
            return error_answer(error)
        except Exception as error:  # noqa: BLE001 - the outermost frame: log it whole, tell nothing
            fields = {_FIELD_OF[name]: value for name, value in kwargs.items() if name in _FIELD_OF}
            _log.exception("unforeseen error in %s", view.__name__, extra=fields)
            return error_answer(_of_aws(error) or UsherError("something went wrong here"))

    return wrapped


def _of_aws(error: Exception) -> UsherError | None:
    """The error for the client if AWS failed to answer; a repetition may succeed."""
    from botocore.exceptions import BotoCoreError, ClientError

    if not isinstance(error, BotoCoreError | ClientError):
        return None
    if isinstance(error, ClientError) and error.response["Error"]["Code"] in _THROTTLING:
        return BusyError("too many requests at once", retry_after_seconds=1)
    return UnavailableError("AWS does not answer as it should", retry_after_seconds=1)


def unify_errors(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Middleware: bring Chalice's own refusals (405, 415, …) into the documented format."""
    response = get_response(event)
    body = response.body
    if response.status_code >= 400 and isinstance(body, dict) and "Code" in body:
        code = _snake(str(body["Code"]).removesuffix("Error"))
        response.body = {"error": {"code": code, "message": body.get("Message", "")}}
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def refuse_parameters(
    routes: Mapping[str, Mapping[str, Any]],
) -> Callable[[Any, Callable[[Any], Response]], Response]:
    """Middleware: refuse query parameters that the route of `routes` does not have (400)."""

    def middleware(event: Any, get_response: Callable[[Any], Response]) -> Response:
        route = routes.get(event.context.get("resourcePath", ""), {}).get(event.method)
        given = event.query_params
        if not given or route is None or taken_by(route.view_function).ignores_others:
            return get_response(event)
        try:
            refuse_unknown(given, taken_by(route.view_function).query)
        except BadRequestError as error:
            refusal = error_answer(error)
            if route.cors is not None:
                refusal.headers.update(route.cors.get_access_control_headers())
            return refusal
        return get_response(event)

    return middleware


def restrict_cors(event: Any, get_response: Callable[[Any], Response]) -> Response:
    """Middleware: where CORS allows every origin, allow those of ALLOWED_ORIGINS instead.

    No answer depends on cookies, and keys are in headers that a page of another origin does not
    have.
    """
    response = get_response(event)
    allowed = allowed_origins()
    if allowed is None or "Access-Control-Allow-Origin" not in response.headers:
        return response
    origin = event.headers.get("origin", "")
    if origin.lower() in allowed:
        response.headers["Access-Control-Allow-Origin"] = origin
    else:
        del response.headers["Access-Control-Allow-Origin"]
    response.headers["Vary"] = "Origin"
    return response


def json_body(raw: bytes | str | None, most_bytes: int = MAX_BODY_BYTES) -> Any:
    """The parsed body of a request. Raises BadRequestError."""
    if not raw or len(raw) > most_bytes:
        raise BadRequestError(f"the body must be JSON of at most {most_bytes} bytes")
    try:
        body = json_text.parse(raw.decode() if isinstance(raw, bytes) else raw)
    except RecursionError as error:
        raise BadRequestError(_TOO_DEEP) from error
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
    if json_text.is_deeper(body, MAX_DEPTH):
        raise BadRequestError(_TOO_DEEP)
    return body


def document_of(request: Any, declared: Document) -> Any:
    """The parsed body of a request with this document, checked against it.

    Raises BadRequestError.
    """
    raw = request.raw_body
    return json_body(b"{}" if declared.is_optional and not raw else raw, declared.most_bytes)


def bearer(request: Any) -> str:
    """The bearer token of a container or a router. Raises UnauthorizedError."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise UnauthorizedError("send the key as a bearer token")
    return str(key)


def known_caller_of(request: Any, config: Config) -> Caller:
    """The caller, on all routes except those of sessions. Raises UnauthorizedError,
    ForbiddenError.
    """
    caller = caller_of(request, config)
    caller.require_identity()
    return caller


def caller_of(request: Any, config: Config) -> Caller:
    """The caller that requests a session.

    Raises UnauthorizedError; ForbiddenError, also if a viewer uses a method that changes something.
    """
    caller = identified(request, config)
    if request.method not in SAFE_METHODS:
        caller.require_change()
    return caller


def identified(request: Any, config: Config) -> Caller:
    """The caller, on any route. Raises UnauthorizedError, ForbiddenError."""
    return identify(
        config.auth_mode,
        request.headers,
        request.context,
        api_keys=config.api_keys,
        operators=config.operators,
        viewers=config.viewers,
        is_local=config.is_local,
    )


def own_url(request: Any) -> str:
    """The API's base URL in the caller's request, for callbacks of containers."""
    context = request.context
    if "domainName" not in context:  # chalice local
        return f"http://{request.headers['host']}"
    return f"https://{context['domainName']}{base_path(context)}"


def own_path(request: Any, path: str) -> str:
    """The URL path of `path` for the caller: with the stage, or a domain's base path."""
    return f"{base_path(request.context)}{path}"


def base_path(context: Mapping[str, Any]) -> str:
    """The prefix of the API's paths, such as `/api` or `/v1`; often empty. Pure.

    `path` in API Gateway's request context is the path as the caller sent it: it begins with the
    stage, or with the base path that a custom domain is mapped by. `resourcePath` is the route,
    with as many segments as its part of `path` has.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html
    """
    route, sent = (_segments(context.get(name, "")) for name in ("resourcePath", "path"))
    return "".join(f"/{segment}" for segment in sent[: len(sent) - len(route)])


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
