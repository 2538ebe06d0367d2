"""Answers of the dispatcher against its own document: status, content type, headers and body.

`check_answer` is called for every request that the tests' own client sends to a dispatcher, and
fails the test whose answer the document does not have. Bodies are checked strictly: a field that
is not declared is an error here, though clients must be prepared for some.
"""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs

from app import app
from chalicelib.api.reference.document import openapi

HOW = """\
Declare it: what a request carries with `takes` at the view, its answers in
chalicelib/api/reference; see "A route" in CONTRIBUTING.md."""
OF_NO_ROUTE = {400, 403, 404, 405, 413, 415}
"""Statuses for a path without a route: from the gateway, the guard of `local up`, or Chalice."""


@dataclass(frozen=True)
class Checked:
    """One answer of one operation, with a compiled check of its body."""

    media_type: str
    headers: tuple[str, ...]
    """Headers that every such answer has, in lower case."""
    body: Any


@cache
def served_document() -> dict[str, Any]:
    """The document of the app under test as it is served."""
    return openapi(app.routes, None, "http://dispatcher")


@cache
def document() -> dict[str, Any]:
    """The same, all objects closed."""
    found = copy.deepcopy(served_document())
    _close(found["components"]["schemas"])
    _close(found["components"]["responses"])
    _close(found["paths"])
    return found


@cache
def answer_of(path: str, method: str, status: int) -> Checked | None:
    """Returns the document's declaration of an answer; None where the status is not declared."""
    whole = document()
    responses = whole["paths"][path][method]["responses"]
    if str(status) not in responses:
        return None
    response = responses[str(status)]
    if "$ref" in response:
        response = whole["components"]["responses"][response["$ref"].rpartition("/")[2]]
    names = tuple(name.lower() for name in response["headers"]) if status < 400 else ()
    if "content" not in response:
        return Checked("", names, None)
    ((media_type, content),) = response["content"].items()
    schema = {**content["schema"], "components": whole["components"]}
    return Checked(media_type, names, jsonschema_rs.Draft202012Validator(schema))


@cache
def templates() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns of paths, those without parameters first. The local server takes empty ones."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return tuple((re.compile(re.sub(r"\{\w+\}", "[^/]*", path)), path) for path in paths)


def check_answer(
    method: str, url: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Raise AssertionError where the document does not have this answer."""
    sent = urlsplit(url).path
    sent = sent.removesuffix("/") or sent  # as the local server does once
    path = next((path for pattern, path in templates() if pattern.fullmatch(sent)), None)
    where = f"{method} {path or sent} was answered {status}"
    if path is None or method.lower() not in document()["paths"][path]:
        assert status in OF_NO_ROUTE or method in ("OPTIONS", "HEAD"), f"{where}\n{HOW}"
        return
    expected = answer_of(path, method.lower(), status)
    assert expected is not None, f"{where}, which its document does not have: {body[:300]!r}\n{HOW}"
    media_type = headers.get("Content-Type", "").partition(";")[0]
    assert expected.body is None or media_type == expected.media_type, (
        f"{where} as {media_type}\n{HOW}"
    )
    missing = [name for name in expected.headers if name not in {n.lower() for n in headers}]
    assert not missing, f"{where} without {', '.join(missing)}\n{HOW}"
    if expected.media_type == "application/json":
        problem = next(expected.body.iter_errors(json.loads(body)), None)
        assert problem is None, f"{where}, and {problem}\n{HOW}"


def _close(schema: Any) -> None:
    """Let no object have fields that are not declared."""
    if isinstance(schema, list):
        for part in schema:
            _close(part)
    elif isinstance(schema, dict):
        for name, part in schema.items():
            if name not in ("examples", "example", "enum"):
                _close(part)
        is_schema = isinstance(schema.get("properties"), dict) and "type" in schema
        if is_schema and not isinstance(schema["type"], dict):
            schema.setdefault("additionalProperties", False)
