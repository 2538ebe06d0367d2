"""Values beyond the constraints of a service's model, in AWS's wording.

All violations at once, with the same text for each kind. The constraints are those of botocore's
models: required members, ranges, lengths, patterns, enumerations.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape

TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "blob": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "timestamp": (int, float, str),
}


class ConstraintError(ValueError):
    """The text of a ValidationException. `missing` are the missing top-level members."""

    def __init__(self, message: str, missing: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class TypeOfValueError(ValueError):
    """The text of a SerializationException: a value of another JSON type."""


@lru_cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def operation_model(service: str, action: str) -> OperationModel | None:
    """The model of an action; None for one that botocore does not know."""
    model = _model(service)
    return model.operation_model(action) if action in model.operation_names else None


def check_constraints(operation: OperationModel, parameters: Any) -> None:
    """Raise ConstraintError or TypeOfValueError for parameters that the model does not allow."""
    shape = operation.input_shape
    if shape is None:
        return
    found = list(_violations(shape, parameters, ""))
    if found:
        number = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected: "
        missing = [name for name in shape.required_members if parameters.get(name) is None]
        raise ConstraintError(number + "; ".join(found), missing)


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    expected = TYPES.get(shape.type_name)
    if expected and (not isinstance(value, expected) or _is_stray_boolean(shape, value)):
        raise TypeOfValueError(f"{type(value).__name__} can not be converted to {shape.type_name}")
    wanted = list(_bounds(shape, value))
    if wanted:
        yield _text(value, path, "; ".join(wanted))
    if shape.type_name == "structure":
        yield from _members(shape, value, path)
    elif shape.type_name == "list":
        for number, one in enumerate(value, 1):
            yield from _violations(shape.member, one, f"{path}.{number}.member")
    elif shape.type_name == "map":
        yield from _entries(shape, value, path)


def _is_stray_boolean(shape: Shape, value: Any) -> bool:
    return isinstance(value, bool) and shape.type_name != "boolean"


def _members(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    if shape.name == "AttributeValue":  # has rules of its own
        return
    for name, member in shape.members.items():
        inner = f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")
        if value.get(name) is not None:
            yield from _violations(member, value[name], inner)
        elif name in shape.required_members:
            yield _text(None, inner, "Member must not be null")


def _entries(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, one in value.items():
        if shape.value.type_name != "list":
            yield from _violations(shape.value, one, f"{path}.{key}.member")
            continue
        if list(_bounds(shape.value, one)):
            both = ", ".join(_lengths(shape.value))
            yield _text(value, path, f"Map value must satisfy constraint: [{both}]")
        for number, inner in enumerate(one, 1):
            yield from _violations(
                shape.value.member, inner, f"{path}.{key}.member.{number}.member"
            )


def _lengths(shape: Shape) -> Iterator[str]:
    yield f"Member must have length less than or equal to {shape.metadata['max']}"
    yield f"Member must have length greater than or equal to {shape.metadata['min']}"


def _bounds(shape: Shape, value: Any) -> Iterator[str]:
    """The constraints that a value violates."""
    metadata = shape.metadata
    size, what = (value, "value") if isinstance(value, int) else (_length(shape, value), "length")
    if size is not None and not isinstance(value, bool):
        if size < metadata.get("min", size):
            yield f"Member must have {what} greater than or equal to {metadata['min']}"
        if size > metadata.get("max", size):
            yield f"Member must have {what} less than or equal to {metadata['max']}"
    if shape.type_name == "string":
        if "enum" in metadata and value not in metadata["enum"]:
            yield f"Member must satisfy enum value set: [{', '.join(metadata['enum'])}]"
        if "pattern" in metadata and not _matches(metadata["pattern"], value):
            yield f"Member must satisfy regular expression pattern: {metadata['pattern']}"


def _matches(pattern: str, value: str) -> bool:
    """Whether a value fits a pattern, which is Java's: words and digits are ASCII. One with classes
    that Python does not have, such as those of Unicode's categories, is left to the service.
    """
    try:
        return re.fullmatch(pattern, value, re.ASCII) is not None
    except re.error:
        return True


def _length(shape: Shape, value: Any) -> int | None:
    if shape.type_name == "blob":
        return len(value) // 4 * 3 - int(value[-2:].count("="))
    return len(value) if shape.type_name in {"string", "list", "map"} else None


def _text(value: Any, path: str, wanted: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {wanted}"
