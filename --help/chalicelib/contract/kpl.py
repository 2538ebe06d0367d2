"""Parses aggregated records of the Kinesis Producer Library.

The format is described in "KPL Aggregated Record Format" in the library's repository: a magic
number, an AggregatedRecord message of protocol buffers (proto2), and the MD5 of that message. Data
that deviates from it is an ordinary record.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES = 16

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_KEY_TABLE, _RECORDS = 1, 3  # fields of AggregatedRecord
_KEY_INDEX, _DATA = 1, 3  # fields of Record


class UserRecord(NamedTuple):
    """One record as its producer wrote it."""

    partition_key: str
    data: bytes


class _MalformedError(ValueError):
    pass


def take_apart(raw: bytes) -> list[UserRecord] | None:
    """The user records in `raw`, in order; None if it is not an aggregated record."""
    if not raw.startswith(MAGIC) or len(raw) < len(MAGIC) + DIGEST_BYTES:
        return None
    message = raw[len(MAGIC) : -DIGEST_BYTES]
    digest = hashlib.md5(message, usedforsecurity=False).digest()
    if digest != raw[-DIGEST_BYTES:]:
        return None
    try:
        return _parse_aggregate(message)
    except ValueError:
        return None


def _parse_aggregate(message: bytes) -> list[UserRecord]:
    keys: list[str] = []
    records: list[bytes] = []
    for number, value in _fields(message):
        if number == _KEY_TABLE and isinstance(value, bytes):
            keys.append(value.decode())
        elif number == _RECORDS and isinstance(value, bytes):
            records.append(value)
    return [_parse_record(record, keys) for record in records]


def _parse_record(message: bytes, keys: list[str]) -> UserRecord:
    index, data = None, None
    for number, value in _fields(message):
        if number == _KEY_INDEX and isinstance(value, int):
            index = value
        elif number == _DATA and isinstance(value, bytes):
            data = value
    if index is None or data is None or index >= len(keys):
        raise _MalformedError("a record without its key or its data")
    return UserRecord(keys[index], data)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message; fixed-width fields are skipped because none is
    needed.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire_type = tag & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire_type == _LENGTH:
            size, at = _varint(message, at)
        elif wire_type in {_FIXED64, _FIXED32}:
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise _MalformedError("an unknown wire type")
        if at + size > len(message):
            raise _MalformedError("a field beyond the end")
        if wire_type == _LENGTH:
            yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _MalformedError("a number without an end")
