"""Inputs of requests, declared once: declarations check requests and are published. Pure.

A field has a JSON Schema. `fits` checks a value against it, and the API's document
(`chalicelib/api/reference`) publishes it. `fits` supports the keywords that requests need; a test
restricts the declarations to them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.errors import BadRequestError

MAX_BODY_BYTES = 16_384
ESCAPED = 6
"""A character may be written as `\\u0061`: this many bytes for one of UTF-8, at most."""
_AROUND_BYTES = 4_096
"""Allowance for a body besides its large part."""

Schema = Mapping[str, Any]

_WHOLE = re.compile("[0-9]{1,9}")


@dataclass(frozen=True)
class Field:
    """One value of a query, of the headers or of a body."""

    name: str
    schema: Schema
    rule: str
    """The text of a 400 after the field's name."""
    about: str = ""
    """Its description."""
    is_required: bool = False

    def check(self, value: Any) -> Any:
        """Return the value if it fits the schema. Raises BadRequestError."""
        if not fits(value, self.schema):
            raise BadRequestError(f"{self.name}: {self.rule}")
        return value

    def of(self, body: Mapping[str, Any]) -> Any:
        """The field's value in a body; its default, or None, if it is missing."""
        if self.name not in body and not self.is_required:
            return self.schema.get("default")
        return self.check(body.get(self.name))

    def read(self, query: Mapping[str, str]) -> Any:
        """The field's value in a query, parsed from text; its default, or None, if it is
        missing.
        """
        text = query.get(self.name)
        if text is None:
            return self.schema.get("default")
        return self.check(_value_of(text, self.schema.get("type")))


@dataclass(frozen=True)
class Document:
    """The JSON object in a request's body."""

    fields: tuple[Field, ...]
    most_bytes: int = MAX_BODY_BYTES
    is_open: bool = False
    """Whether unknown fields are ignored; otherwise they are a 400."""
    is_optional: bool = False
    """Whether a missing body is an empty object."""

    def check(self, body: Any) -> Mapping[str, Any]:
        """The value of each field by its name. Raises BadRequestError."""
        if not isinstance(body, Mapping):
            names = ", ".join(f'"{field.name}"' for field in self.fields)
            raise BadRequestError(f"the body must be a JSON object: {{{names}}}")
        if not self.is_open:
            refuse_unknown(body, self.fields)
        return {field.name: field.of(body) for field in self.fields}

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the object."""
        described = object_schema(self.fields)
        return described if self.is_open else described | {"additionalProperties": False}


def largest_body(bytes_of_large_part: int) -> int:
    """Maximum size of a body with one large part of `bytes_of_large_part`, however it is
    escaped.
    """
    return ESCAPED * bytes_of_large_part + _AROUND_BYTES


def object_schema(fields: tuple[Field, ...]) -> dict[str, Any]:
    """The JSON Schema of an object with these fields."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: describe(field) for field in fields},
    }
    required = [field.name for field in fields if field.is_required]
    return schema | ({"required": required} if required else {})


def describe(field: Field) -> dict[str, Any]:
    """A field's schema with its description."""
    return {**field.schema, **({"description": field.about} if field.about else {})}


def refuse_unknown(given: Mapping[str, Any], fields: tuple[Field, ...]) -> None:
    """Raise BadRequestError for names that are not declared."""
    known = {field.name for field in fields}
    unknown = sorted(set(given) - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise BadRequestError(f"unknown: {', '.join(unknown)}; known: {listed}")


def page_size(default: int, most: int) -> Field:
    """The field for the number of rows of a page."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    about = "How many a page has at most."
    return Field("limit", schema, f"a whole number from 1 to {most}", about)


def whole(low: int, high: int) -> Schema:
    """The schema of an integer within bounds, both included."""
    return {"type": "integer", "minimum": low, "maximum": high}


def fits(value: Any, schema: Schema) -> bool:
    """Whether a value fits a schema.

    As in JSON Schema, except that 1.0 is not an integer and that patterns must match the whole
    text; they are written with `^` and `$`.
    """
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if kinds and not any(_IS[kind](value) for kind in kinds):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    match value:
        case str():
            return _text_fits(value, schema)
        case bool() | None:
            return True
        case int() | float():
            return _number_fits(value, schema)
        case _:
            return _parts_fit(value, schema)


def _parts_fit(value: Any, schema: Schema) -> bool:
    if isinstance(value, Mapping):
        inner = schema.get("additionalProperties", {})
        enough = len(value) >= schema.get("minProperties", 0)
        return enough and all(fits(part, inner) for part in value.values())
    each = all(fits(part, schema.get("items", {})) for part in value)
    return each and len(value) <= schema.get("maxItems", len(value))


def _text_fits(value: str, schema: Schema) -> bool:
    pattern = schema.get("pattern")
    long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return long_enough and (pattern is None or re.fullmatch(pattern, value) is not None)


def _number_fits(value: float, schema: Schema) -> bool:
    """Formulated so that NaN fits no bound."""
    return (
        ("minimum" not in schema or value >= schema["minimum"])
        and ("maximum" not in schema or value <= schema["maximum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_IS: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
}


def _value_of(text: str, kind: Any) -> Any:
    """The value of a query's text; the text itself if it is not a number."""
    if kind == "integer":
        return int(text) if _WHOLE.fullmatch(text) else text
    if kind == "number":
        try:
            return float(text)
        except ValueError:
            return text
    return text
