"""The model of the API's document, except the inputs of requests. Pure.

Each module of this package describes the routes of one part of the API: a `Part` with its
operations by the name of the view (`jobs.invoke`), and the schemas of their answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chalicelib.errors import UsherError
from chalicelib.fields import Schema


class By(StrEnum):
    """The callers that may send a request."""

    ANYBODY = "anybody"
    VISITOR = "who may have sessions"
    """Any authenticated caller; with AUTH_MODE none every client."""
    CALLER = "callers"
    VIEWER = "operators and viewers"
    OPERATOR = "operators"
    CONTAINER = "the container of the record, with its own key"
    ROUTER = "routers, with their key"


@dataclass(frozen=True)
class Answer:
    """One successful answer."""

    about: str
    schema: Schema | None
    """None = no body."""
    headers: tuple[str, ...] = ()
    """Headers of every such answer, besides `Cache-Control: no-store`."""
    media_type: str = "application/json"
    is_kept: bool = False
    """Whether browsers may cache it; then it has no `Cache-Control: no-store`."""


@dataclass(frozen=True)
class Operation:
    """One operation: its permitted callers and its answers. Its summary is the view's docstring."""

    by: By
    answers: Mapping[int, Answer]
    errors: tuple[type[UsherError], ...] = ()
    """Errors besides those that all operations of its kind have; see `document.errors_of`."""
    example: Any = None
    """Example of the request body."""


@dataclass(frozen=True)
class Part:
    """The routes of one part of the API."""

    name: str
    about: str
    operations: Mapping[str, Operation]
    schemas: Mapping[str, Schema] = field(default_factory=dict)


UNCHANGED = Answer("It is what the client has: nothing changed in `wait`.", None, ("ETag",))
"""Of operations with `If-None-Match`."""
INSTANT: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
}
MAYBE_INSTANT: Schema = {**INSTANT, "type": ["string", "null"]}
TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
WHOLE: Schema = {"type": "integer"}
MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}
UUID: Schema = {"type": "string", "format": "uuid"}
NOTHING: Schema = {"type": "object", "properties": {}, "examples": [{}]}


def one_of(values: type[StrEnum], *, or_null: bool = False) -> Schema:
    """The schema of an enumeration's members."""
    kinds = ["string", "null"] if or_null else "string"
    return {"type": kinds, "enum": [value.value for value in values] + [None] * or_null}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(schema: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": schema}


def table_of(schema: Schema) -> Schema:
    """The schema of an object with arbitrary names."""
    return {"type": "object", "additionalProperties": schema}


def either(*schemas: Schema) -> Schema:
    """The schema of values that match one of several."""
    return {"anyOf": list(schemas)}


def record(
    about: str,
    properties: Mapping[str, Schema],
    *,
    optional: Mapping[str, Schema] | None = None,
    example: Any = None,
    or_null: bool = False,
) -> Schema:
    """The schema of an object with all `properties` and possibly the optional ones.

    Clients must ignore unknown ones, because new ones may be added.
    """
    schema: dict[str, Any] = {
        "type": ["object", "null"] if or_null else "object",
        "description": about,
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
    }
    return schema | ({} if example is None else {"examples": [example]})


def page_of(name: str, schema: Schema) -> Schema:
    """The schema of one page of a listing."""
    next_page = {
        **MAYBE_TEXT,
        "description": "Of the next page; null after the last.",
    }
    return record("One page.", {name: list_of(schema), "next": next_page})


def page_operation(about: str, media_type: str = "text/html") -> Operation:
    """A document or script that is the same for all callers and that browsers may cache."""
    shown = Answer(about, {"type": "string"}, ("ETag",), media_type, is_kept=True)
    same = Answer("The browser has it.", None, ("ETag",), is_kept=True)
    return Operation(By.ANYBODY, {200: shown, 304: same})
