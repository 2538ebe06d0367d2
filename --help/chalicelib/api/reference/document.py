"""The API as an OpenAPI 3.1 document, built from the app's routes and their declarations.

Nothing here is imported before the document is requested. The inputs of requests are declared by
the views with `takes`; the rest is in the other modules of this package.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from chalicelib.api.http import Takes, taken_by
from chalicelib.api.reference.apps import APPS
from chalicelib.api.reference.grading import GRADING
from chalicelib.api.reference.hosts import HOSTS
from chalicelib.api.reference.jobs import INVOCATIONS, JOBS
from chalicelib.api.reference.model import UUID, Answer, By, Operation, Part
from chalicelib.api.reference.operation import AUDIT, CONSOLE, DEPLOYMENT
from chalicelib.api.reference.placement import PLACEMENT
from chalicelib.api.reference.schedules import SCHEDULES
from chalicelib.api.reference.sessions import SESSIONS
from chalicelib.apps import NAME
from chalicelib.callers import AuthMode
from chalicelib.contract.jobs import JOB_NAME
from chalicelib.errors import (
    BadRequestError,
    BusyError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UnreadableRecordError,
    UsherError,
)
from chalicelib.fields import Field, describe
from chalicelib.schedules.requests import ID_SCHEMA

PARTS = (
    SESSIONS, APPS, JOBS, INVOCATIONS, SCHEDULES, GRADING, HOSTS, PLACEMENT, AUDIT, CONSOLE,
    DEPLOYMENT,
)  # fmt: skip
PATH: Mapping[str, Mapping[str, Any]] = {
    "session_id": UUID,
    "invocation_id": UUID,
    "job": {"type": "string", "pattern": f"^{JOB_NAME.pattern}$"},
    "app": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    "schedule_id": ID_SCHEMA,
    "assignment_id": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$"},
    "submission_id": UUID,
    "host": {"type": "string", "pattern": "^[0-9a-f-]{32,36}$"},
    "task": {"type": "string", "pattern": "^[0-9a-f-]{32,36}$"},
    "name": {"type": "string"},
    "page": {"type": "string"},
    "record": {"type": "string"},
}
"""Schemas of path parameters, by their names in routes."""
HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Cache-Control": {"description": "Always `no-store`.", "schema": {"const": "no-store"}},
    "Location": {
        "description": "Path of the record, with the stage or base path before it.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "ETag": {
        "description": "Of this very content: send it as `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": r"^\d+$"}},
    "X-Usher-Address": {"description": "`IP:PORT`.", "schema": {"type": "string"}},
    "X-Accel-Expires": {
        "description": "Until when a router may keep the answer.",
        "schema": {"type": "string", "pattern": r"^@\d+$"},
    },
}
GATEWAY = "GatewayError"
BY_GATEWAY = (401, 403, 429, 500)
"""Statuses that API Gateway may answer itself."""
OF_CHALICE = {405: "method_not_allowed", 415: "unsupported_media_type"}
"""Errors of Chalice, raised before a view is called."""
_KEYS: Mapping[AuthMode, Mapping[str, Any]] = {
    AuthMode.API_KEY: {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    AuthMode.IAM: {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4 for `execute-api`.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
    AuthMode.JWT: {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A token of the deployment's Cognito user pool.",
        "x-amazon-apigateway-authtype": "cognito_user_pools",
    },
}
_ABOUT = (
    "A container of their own for every user: one GET, one container, one websocket; and jobs and "
    "schedules beside it.\n\n"
    'Errors are `{"error": {"code", "message"}}`: decide by status and code, show the message. '
    "What API Gateway refuses itself (a path that does not exist, a caller that its authorizer "
    'does not let through, too many requests) is `{"message"}`. Objects may have further fields '
    "in later versions. Instants are ISO 8601 in UTC with milliseconds, such as "
    "`2026-01-31T09:15:30.250Z`."
)


def openapi(
    routes: Mapping[str, Mapping[str, Any]], mode: AuthMode | None, server: str
) -> dict[str, Any]:
    """The document of the app with these routes, for a deployment with the URL `server`."""
    described = _described()
    paths: dict[str, dict[str, Any]] = {}
    refusals: dict[str, Any] = {}
    for path, method, route in entries(routes):
        if name_of(route) not in described:  # a test reports it; the document is served without it
            continue
        part, operation = described[name_of(route)]
        described_here = _operation(route, method, part, operation, mode)
        paths.setdefault(path, {})[method.lower()] = described_here
        for status, codes in errors_of(operation, path).items():
            refusals[_refusal_name(status, codes)] = _refusal(status, codes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Usher", "version": "0.1.0", "description": _ABOUT},
        "servers": [{"url": server}],
        "tags": [{"name": part.name, "description": part.about} for part in PARTS],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": HEADERS,
            "responses": refusals,
            "securitySchemes": _security_schemes(mode),
        },
    }


def entries(routes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    """Path, method and route of all operations of the app."""
    for path in sorted(routes):
        for method in sorted(routes[path]):
            yield path, method, routes[path][method]


def name_of(route: Any) -> str:
    """The key of a route's description: module and name of its view, such as `jobs.invoke`."""
    view = route.view_function
    return f"{view.__module__.rpartition('.')[2]}.{view.__name__}"


def undescribed(routes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Names of views that have no description."""
    return {name_of(route) for _, _, route in entries(routes)} - set(_described())


def surplus(routes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Descriptions that belong to no view."""
    return set(_described()) - {name_of(route) for _, _, route in entries(routes)}


def errors_of(operation: Operation, path: str) -> dict[int, list[str]]:
    """The codes of the errors that a route may return, by status."""
    errors: set[type[UsherError]] = {
        BadRequestError, BusyError, UnavailableError, UsherError, *operation.errors,
    }  # fmt: skip
    if operation.by is not By.ANYBODY:
        errors.add(UnauthorizedError)
    if operation.by in (By.VISITOR, By.CALLER, By.VIEWER, By.OPERATOR):
        errors.add(ForbiddenError)
    if "{" in path:
        errors |= {NotFoundError, UnreadableRecordError}
    if operation.by is By.ANYBODY:
        errors.add(NotFoundError)
    codes: dict[int, list[str]] = {415: [OF_CHALICE[415]]}
    for error in errors:
        codes.setdefault(error.status, []).append(error.code)
    return {status: sorted(codes[status]) for status in sorted(codes)}


@cache
def all_errors() -> dict[tuple[int, str], str]:
    """The meaning of each status and code."""
    found = {(cls.status, cls.code): _first_line(cls.__doc__) for cls in _subclasses(UsherError)}
    found[UsherError.status, UsherError.code] = "Our fault; it was logged."
    found[405, OF_CHALICE[405]] = "The path exists, the method does not."
    return dict(sorted(found.items()))


def _subclasses(cls: type[UsherError]) -> Iterator[type[UsherError]]:
    for below in cls.__subclasses__():
        yield below
        yield from _subclasses(below)


@cache
def _described() -> dict[str, tuple[Part, Operation]]:
    return {
        name: (part, operation) for part in PARTS for name, operation in part.operations.items()
    }


def _operation(
    route: Any, method: str, part: Part, operation: Operation, mode: AuthMode | None
) -> dict[str, Any]:
    view, path = route.view_function, route.uri_pattern
    declared = taken_by(view)
    summary, _, more = str(view.__doc__ or "").strip().partition("\n\n")
    described: dict[str, Any] = {
        "operationId": operation_id(route, method),
        "tags": [part.name],
        "summary": " ".join(summary.split()),
        "x-usher-by": operation.by.value,
        "security": _security(operation.by, mode),
        "parameters": [*_path_parameters(path), *_parameters(declared)],
        "responses": {**_answers(operation), **_refusals(operation, path)},
    }
    if more:
        described["description"] = " ".join(more.split())
    if declared.body is not None:
        content: dict[str, Any] = {"schema": declared.body.schema}
        if operation.example is not None:
            content["example"] = operation.example
        described["requestBody"] = {
            "required": not declared.body.is_optional,
            "description": f"At most {declared.body.most_bytes} bytes.",
            "content": {"application/json": content},
        }
    return described


def operation_id(route: Any, method: str) -> str:
    """The operation's name in generated clients; a view with several methods has one for each."""
    name = name_of(route).replace(".", "_")
    return name if method != "POST" or name != "sessions_dispatch_session" else f"{name}_by_post"


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": PATH[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameters(declared: Takes) -> list[dict[str, Any]]:
    return [_parameter(field, "query") for field in declared.query] + [
        _parameter(field, "header") for field in declared.headers
    ]


def _parameter(field: Field, place: str) -> dict[str, Any]:
    schema = describe(field)
    about = schema.pop("description", "")
    return {"name": field.name, "in": place, "schema": schema, "description": about}


def _answers(operation: Operation) -> dict[str, Any]:
    return {str(status): _answer(answer) for status, answer in operation.answers.items()}


def _answer(answer: Answer) -> dict[str, Any]:
    names = (*answer.headers, *(() if answer.is_kept else ("Cache-Control",)))
    described: dict[str, Any] = {
        "description": answer.about,
        "headers": {name: _header(name) for name in names},
    }
    if answer.schema is not None:
        described["content"] = {answer.media_type: {"schema": answer.schema}}
    return described


def _refusals(operation: Operation, path: str) -> dict[str, Any]:
    return {
        str(status): {"$ref": f"#/components/responses/{_refusal_name(status, codes)}"}
        for status, codes in errors_of(operation, path).items()
    }


def _refusal_name(status: int, codes: list[str]) -> str:
    return "-".join((str(status), *codes))


def _refusal(status: int, codes: list[str]) -> dict[str, Any]:
    meanings = all_errors()
    names = ["Retry-After"] if status in (429, 503) else []
    return {
        "description": " ".join(f"`{code}`: {meanings[status, code]}" for code in codes),
        "headers": {name: _header(name) for name in names},
        "content": {"application/json": {"schema": _error_schema(status, codes)}},
    }


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _error_schema(status: int, codes: list[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {"code": {"enum": codes}, "message": {"type": "string"}},
                "required": ["code", "message"],
            }
        },
        "required": ["error"],
        "examples": [{"error": {"code": codes[0], "message": "what is wrong, for people"}}],
    }
    if status not in BY_GATEWAY:
        return schema
    return {"anyOf": [schema, {"$ref": f"#/components/schemas/{GATEWAY}"}]}


def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in PARTS:
        found |= part.schemas
    found[GATEWAY] = {
        "type": "object",
        "description": "API Gateway's own answer.",
        "properties": {"message": {"type": ["string", "null"]}},
        "required": ["message"],
        "examples": [{"message": "Missing Authentication Token"}],
    }
    return found


def _security(by: By, mode: AuthMode | None) -> list[dict[str, list[str]]]:
    if by is By.ANYBODY:
        return []
    if by in (By.CONTAINER, By.ROUTER):
        return [{by.name.lower(): []}]
    return [] if mode not in _KEYS else [{"caller": []}]


def _security_schemes(mode: AuthMode | None) -> dict[str, Any]:
    schemes: dict[str, Any] = {
        by.name.lower(): {"type": "http", "scheme": "bearer", "description": by.value}
        for by in (By.CONTAINER, By.ROUTER)
    }
    if mode is not None and mode in _KEYS:
        schemes["caller"] = _KEYS[mode]
    return schemes


def _first_line(text: str | None) -> str:
    return " ".join(str(text).partition("\n\n")[0].split())
