"""Converts stored items to records; every value is checked against its field's type. Pure.

An item may be invalid: written by a newer version before a rollback, or edited manually. It becomes
an `Unreadable`, which takes the place of the record: code that reads many records continues with
the others, and nothing overwrites it or stops its task.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from chalicelib.errors import UnreadableRecordError

Item = Mapping[str, Any]
"""An item in DynamoDB's JSON."""
R = TypeVar("R")
LATEST = 253_402_300_800.0
"""Maximum time: the end of the year 9999, the last that Python's dates have."""

_Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Unreadable:
    """A stored item that this version cannot read."""

    id: str
    task_arn: str | None
    """Its task, if it can be determined. It must not be treated as an orphan."""
    item: Item
    why: str
    """The reason, for logs; it contains no values of the item."""

    @property
    def has_ended(self) -> bool:
        """Whether the record has ended."""
        return "expire_at" in self.item and "live_bucket" not in self.item

    @property
    def is_marked(self) -> bool:
        """Whether it has an expiry."""
        return "expire_at" in self.item

    def number(self, attribute: str) -> float | None:
        """A numeric attribute; None if it is missing."""
        text = self.item.get(attribute, {}).get("N")
        return None if text is None else float(text)


def read_record(item: Item, decode: Callable[[Item], R]) -> R | Unreadable:
    """The record of a stored item. `decode` raises ValueError for an invalid one."""
    try:
        return decode(item)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        task_arn = item.get("task_arn", {}).get("S")
        why = str(error) if isinstance(error, MisfitError) else type(error).__name__
        return Unreadable(item["id"]["S"], task_arn, item, why)


def readable(record: R | Unreadable | None) -> R | None:
    """The record, for callers that cannot continue without it. Raises UnreadableRecordError."""
    if isinstance(record, Unreadable):
        raise UnreadableRecordError(record.id, has_ended=record.has_ended)
    return record


def only_readable(records: Iterable[R | Unreadable]) -> list[R]:
    """The readable records."""
    return [record for record in records if not isinstance(record, Unreadable)]


class MisfitError(ValueError):
    """A value of the wrong type. The message has the field's name and no value."""


def build(kind: type[R], values: Mapping[str, Any], *, always: Iterable[str] = ()) -> R:
    """Build a dataclass from plain values, nested ones from mappings or, field by field, from
    lists.

    Unknown names are ignored. A missing field has its default, or None if it is nullable; a field
    of `always` must have a value even if it has a default. Numbers such as times must be finite and
    at most LATEST. Raises MisfitError.
    """
    of_kind: Any = kind
    built: dict[str, Any] = {}
    missing = [name for name in always if name not in values]
    for each in _fields_of(of_kind):
        if each.name in values:
            try:
                built[each.name] = each.read(values[each.name])
            except MisfitError as error:
                raise MisfitError(f"{each.name}: {error}") from error
        elif each.is_nullable:
            built[each.name] = None
        elif each.is_needed:
            missing.append(each.name)
    if missing:
        raise MisfitError(f"no {', '.join(missing)}")
    return kind(**built)


def extra_attributes(item: Item, known: frozenset[str]) -> dict[str, Any]:
    """The attributes that this version does not know; they are written back unchanged."""
    return {name: value for name, value in item.items() if name not in known}


@dataclass(frozen=True)
class _Field:
    """A field without a default is `is_nullable` or `is_needed`."""

    name: str
    read: _Read
    is_nullable: bool
    is_needed: bool


@cache
def _fields_of(kind: Any) -> tuple[_Field, ...]:
    hints, found = get_type_hints(kind), []
    for each in fields(kind):
        bare = each.default is MISSING and each.default_factory is MISSING
        nullable = bare and NoneType in get_args(hints[each.name])
        found.append(_Field(each.name, _reader(hints[each.name]), nullable, bare and not nullable))
    return tuple(found)


def _reader(hint: Any) -> _Read:
    origin = get_origin(hint)
    if origin in {Union, UnionType}:
        return _maybe(hint)
    if origin is tuple:
        return _tuple(_reader(get_args(hint)[0]))
    if origin is Mapping:
        return _mapping(_reader(get_args(hint)[1]))
    return _reader_of_one(hint)


def _reader_of_one(kind: Any) -> _Read:
    if kind is Any:
        return lambda value: value
    if is_dataclass(kind):
        return _nested(kind)
    return _enum(kind) if issubclass(kind, Enum) else _plain(kind)


def _maybe(hint: Any) -> _Read:
    (inner,) = (_reader(each) for each in get_args(hint) if each is not NoneType)
    return lambda value: None if value is None else inner(value)


def _tuple(inner: _Read) -> _Read:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise MisfitError("not a list")
        return tuple(map(inner, value))

    return read


def _mapping(inner: _Read) -> _Read:
    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise MisfitError("not a map")
        return {name: inner(each) for name, each in value.items()}

    return read


def _nested(kind: Any) -> _Read:
    names = [each.name for each in fields(kind)]

    def read(value: Any) -> Any:
        if isinstance(value, Mapping):
            return build(kind, value)
        if isinstance(value, list) and len(value) == len(names):
            return build(kind, dict(zip(names, value, strict=True)))
        raise MisfitError(f"not a {kind.__name__}")

    return read


def _enum(kind: type[Enum]) -> _Read:
    def read(value: Any) -> Enum:
        try:
            return kind(value)
        except ValueError as error:
            raise MisfitError(f"not a {kind.__name__} of this version") from error

    return read


def _plain(kind: type[Any]) -> _Read:
    def read(value: Any) -> Any:
        if isinstance(value, bool) and kind is not bool:
            raise MisfitError("a truth value")
        if not isinstance(value, (int, float) if kind is float else kind):
            raise MisfitError(f"not of type {kind.__name__}")
        if kind is float and not abs(value) < LATEST:
            raise MisfitError("out of range")
        return value

    return read
