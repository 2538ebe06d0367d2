"""docs/api.md: the API's document as a Markdown page. `make api-docs` writes it.

A test compares the page with the document.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
SERVER = "https://api.example.org"
_HEAD = (
    "# The HTTP API\n\n"
    "Made by `make api-docs` from the document that the dispatcher serves at `GET /openapi.json`, "
    "which tools read. What may be relied on, and why things are as they are, is in "
    "[contracts.md](contracts.md).\n"
)


def render() -> str:
    """The whole page."""
    os.environ.setdefault("STAGE", "local")
    from app import app
    from chalicelib.api.reference.document import all_errors, openapi

    document = openapi(app.routes, None, SERVER)
    lines = [_HEAD, *document["info"]["description"].split("\n\n")[1:], ""]
    for tag in document["tags"]:
        lines += [f"## {tag['name']}", "", tag["description"], ""]
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    lines += _operation(f"{method.upper()} {path}", operation)
    lines += ["## Errors", "", "| status | code | meaning |", "|---|---|---|"]
    lines += [f"| {s} | `{code}` | {about} |" for (s, code), about in all_errors().items()]
    lines += ["", "## Bodies", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"### {name}", "", schema.get("description", ""), "", *_fields(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (f"### `{title}`", "", operation["summary"])
    if "description" in operation:
        yield from ("", operation["description"])
    yield from ("", f"By: {operation['x-usher-by']}.", "")
    rows = [_row(f"{each['in']}: `{each['name']}`", each) for each in operation["parameters"]]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        required = body["schema"].get("required", ())
        rows += [
            _row(f"body: `{name}`{'' if name in required else '?'}", {"schema": schema})
            for name, schema in body["schema"]["properties"].items()
        ]
    if rows:
        yield from ("| takes | as | meaning |", "|---|---|---|", *rows, "")
    yield from ("| answer | body | meaning |", "|---|---|---|")
    for status, answer in operation["responses"].items():
        if "$ref" not in answer:
            yield f"| {status} | {_body(answer)} | {answer['description']} |"
    codes = [
        f"{status} {', '.join(f'`{code}`' for code in answer['$ref'].split('-')[1:])}"
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    ]
    yield from ("", f"Errors: {'; '.join(codes)}.", "")


def _row(name: str, parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    about = parameter.get("description") or schema.get("description", "")
    return f"| {name} | {_kind(schema)} | {about} |"


def _body(answer: dict[str, Any]) -> str:
    for media_type, content in answer.get("content", {}).items():
        return _kind(content["schema"]) if media_type == "application/json" else media_type
    return ""


def _fields(schema: dict[str, Any]) -> list[str]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    rows = [
        _row(f"`{name}`{'' if name in required else '?'}", {"schema": part})
        for name, part in properties.items()
    ]
    return ["| field | as | meaning |", "|---|---|---|", *rows] if rows else []


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    kinds = schema.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "enum" in schema:
        values = ", ".join(f"`{'null' if v is None else v}`" for v in schema["enum"])
        return f"one of {values}"
    if "array" in kinds:
        return f"list of {_kind(schema['items'])}"
    types = " or ".join(
        schema["format"] if k == "string" and "format" in schema else k for k in kinds
    )
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return ", ".join([types, *bounds])


_BOUNDS = {
    "minimum": "from",
    "maximum": "to",
    "exclusiveMaximum": "below",
    "maxLength": "at most characters:",
    "default": "default",
}


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
