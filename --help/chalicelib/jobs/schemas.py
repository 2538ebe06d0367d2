"""Validates parameters with the JSON Schema of their job, in bounded time.

Developers write schemas and callers write parameters; neither may block a function. Patterns run on
a linear-time engine, uniqueness is checked by hashing, and the whole check has a limit of processor
time. Whatever cannot be checked this way is left to the job's pydantic model, which checks
everything again before user code runs.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from chalicelib.errors import BadRequestError, InvalidParametersError

MAX_PROBLEMS = 10
MAX_SECONDS = 2.0
"""Processor time of one check. API Gateway waits for 29 seconds in total."""
MAX_PATTERN_BYTES = 1 << 20
"""Memory of one compiled pattern: RE2's time is linear with a factor that grows with it."""
_TOLERANCE = 1e9

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


class TooLongError(Exception):
    """The check exceeded its processor time."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise BadRequestError unless this is a JSON Schema (draft 2020-12).

    A pattern must be valid in RE2 or in Python; patterns of Python only are left to the job's
    model.
    """
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks("regex")(_is_pattern)
    meta: Mapping[str, Any] = Draft202012Validator.META_SCHEMA
    try:
        problems = _problems(meta, schema, {"format_checker": formats})
    except (RecursionError, TooLongError) as error:
        raise BadRequestError("parameters: a JSON Schema of fewer levels") from error
    if problems:
        raise BadRequestError(f"parameters: no JSON Schema: {problems[0]}")


def check_parameters(schema: Mapping[str, Any] | None, parameters: Any) -> None:
    """Raise InvalidParametersError with all problems. Without a schema no parameters are allowed.

    Parameters are invalid if the schema has unresolvable or endless references, or if the check
    takes longer than `MAX_SECONDS`.
    """
    if schema is None:
        if parameters not in (None, {}):
            raise InvalidParametersError("the job takes no parameters")
        return
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    given = {} if parameters is None else parameters  # as the job's model reads it
    try:
        # An empty registry: a reference to another document is an error, and nothing is fetched.
        problems = _problems(schema, given, {"registry": Registry()})
    except (Unresolvable, RecursionError) as error:
        raise InvalidParametersError(f"the job's schema cannot be followed: {error}") from error
    except TooLongError as error:
        raise InvalidParametersError(
            "the job's schema takes too long to check with these parameters"
        ) from error
    if problems:
        raise InvalidParametersError("; ".join(problems))


def _problems(schema: Mapping[str, Any], value: Any, more: Mapping[str, Any]) -> list[str]:
    end = time.thread_time() + MAX_SECONDS
    validator = _validator_class(end, "patternProperties" in json.dumps(schema))
    errors = islice(validator(schema, **more).iter_errors(value), 10 * MAX_PROBLEMS)
    found = sorted(errors, key=lambda error: str(error.json_path))
    return [f"{error.json_path}: {error.message[:200]}" for error in found[:MAX_PROBLEMS]]


def _validator_class(end: float, has_patterns: bool) -> Any:
    """A validator that raises TooLongError when this thread's processor time exceeds `end`."""
    from jsonschema import Draft202012Validator, validators

    keywords = dict(Draft202012Validator.VALIDATORS) | {
        "multipleOf": _multiple_of,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    if has_patterns:  # it would match names with an engine of unbounded time
        keywords["unevaluatedProperties"] = _left_to_the_model
    timed = {name: _timed(keyword, end) for name, keyword in keywords.items()}
    return validators.extend(Draft202012Validator, validators=timed)


def _timed(keyword: Keyword, end: float) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if time.thread_time() > end:
            raise TooLongError
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _left_to_the_model(*_: Any) -> Iterator[Any]:
    return iter(())


def _multiple_of(validator: Any, factor: Any, instance: Any, _: Any) -> Iterator[Any]:
    """As in pydantic: 4.02 is a multiple of 0.01. Parameters that the model accepts must be valid
    here.
    """
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "number") and not is_multiple(instance, factor):
        yield ValidationError(f"{instance!r} is not a multiple of {factor}")


def is_multiple(number: float, factor: float) -> bool:
    """Exact for integers, else with a tolerance of one part in 10⁹."""
    if isinstance(number, int) and isinstance(factor, int):
        return number % factor == 0
    try:
        rest, near = float(number) % float(factor), abs(float(number)) / _TOLERANCE
    # the number exceeds the range of floats, or the factor is below it
    except (OverflowError, ZeroDivisionError):
        return True
    return abs(rest) <= near or abs(rest - factor) <= near


def _pattern(validator: Any, pattern: Any, instance: Any, _: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "string") and matches(pattern, instance) is False:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        for name, value in instance.items():
            if matches(pattern, name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Any
) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not validator.is_type(instance, "object"):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        # A name is allowed if a pattern that RE2 cannot parse may match it.
        if name in known or any(matches(pattern, name) is not False for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"additional properties are not allowed: {name!r}")
        else:
            yield from validator.descend(value, allowed, path=name)


def _unique_items(validator: Any, wanted: Any, instance: Any, _: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not wanted or not validator.is_type(instance, "array"):
        return
    if len({_hashable(item) for item in instance}) < len(instance):
        yield ValidationError("it has items that are not unique")


def _hashable(value: Any) -> Any:
    """Equal for values that JSON Schema regards as equal: 1 and 1.0 are, 1 and true are not."""
    match value:
        case bool():
            return ("boolean", value)
        case list():
            return tuple(map(_hashable, value))
        case dict():
            return frozenset((name, _hashable(part)) for name, part in value.items())
        case _:
            return value


def _is_pattern(value: Any) -> bool:
    """Whether RE2 or Python can parse it. True for values that are no strings, which the check of
    types reports.
    """
    if not isinstance(value, str) or _engine() is None or _compiled(value) is not None:
        return True
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def matches(pattern: str, text: str) -> bool | None:
    """Whether a pattern is found in a text; None if the pattern cannot be parsed here."""
    compiled = _compiled(pattern)
    if compiled is None:
        return None
    try:
        return compiled.search(text) is not None
    except UnicodeEncodeError:  # a lone surrogate
        return False


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    engine = _engine()
    if engine is None:
        return None
    options = engine.Options()
    options.max_mem, options.log_errors = MAX_PATTERN_BYTES, False
    try:
        return engine.compile(pattern, options)
    except (engine.error, UnicodeEncodeError):
        return None


@cache
def _engine() -> Any:
    """RE2, whose time is linear in the text; None where its wheel does not work."""
    try:
        import re2
    except ImportError:
        return None
    return re2
