"""Parameters against the JSON Schema of their job."""

from collections.abc import Mapping
from typing import Any

from chalicelib.errors import BadRequestError, InvalidParametersError

MAX_PROBLEMS = 10


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise BadRequestError unless this is a JSON Schema (draft 2020-12)."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadRequestError(f"parameters: no JSON Schema: {error.message}") from error


def check_parameters(schema: Mapping[str, Any] | None, parameters: Any) -> None:
    """Raise InvalidParametersError with what does not fit; without a schema none may be given.

    Nothing fits a schema that refers to what it does not contain, or to itself without an end.
    """
    if schema is None:
        if parameters not in (None, {}):
            raise InvalidParametersError("the job takes no parameters")
        return
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: a reference to elsewhere is an error, and nothing is fetched for it.
    validator = Draft202012Validator(schema, registry=Registry())
    given = {} if parameters is None else parameters  # as the job itself takes it
    try:
        found = sorted(validator.iter_errors(given), key=lambda error: error.json_path)
    except (Unresolvable, RecursionError) as error:
        raise InvalidParametersError(f"the job's schema cannot be followed: {error}") from error
    if found:
        words = [f"{error.json_path}: {error.message[:200]}" for error in found[:MAX_PROBLEMS]]
        raise InvalidParametersError("; ".join(words))
