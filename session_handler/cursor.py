"""The cursor: where in each shard the next container goes on, as one URL-safe string.

    cursor   = "1" *( "~" position "." shard )
    position = hex-sequence "-" subsequence     after this record
             / "t" milliseconds                 from this instant on: nothing was read of it yet
             / "h"                              from its beginning: its parents were read to the end
             / "e"                              read to the end, its children not begun

Clients treat it as opaque; both feeds understand it. Only characters that need no escaping in a
URL occur. Sequence numbers are integers of about 186 bits: compared as numbers, never as text.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

VERSION = "1"
MAX_LENGTH = 7_000
"""Characters. A request line has at most 8 KiB, the path and the websocket's parts included."""

_SHARD = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_AFTER = re.compile(r"(0|[1-9a-f][0-9a-f]{0,63})-(0|[1-9][0-9]{0,9})")
_SINCE = re.compile(r"t(0|[1-9][0-9]{0,14})")


class CursorError(ValueError):
    """Not a cursor of ours, or one that would be too long."""


class After(NamedTuple):
    """Everything up to this record was delivered. Ordered as records are within their shard."""

    sequence: int
    subsequence: int = 0


class Since(NamedTuple):
    """Nothing was delivered yet of what came at or after this instant (epoch milliseconds)."""

    millis: int


class Horizon(NamedTuple):
    """Nothing was delivered yet; the shard counts from its beginning."""


class Ended(NamedTuple):
    """Everything was delivered, and no more will come."""


Position = After | Since | Horizon | Ended


class Cursor(NamedTuple):
    """Positions by shard id."""

    positions: Mapping[str, Position]

    def __str__(self) -> str:
        """Raises CursorError when there are more shards than fit."""
        return join(f"{encode(position)}.{shard}" for shard, position in self.positions.items())

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises CursorError, with the reason, for anything that `str` does not make."""
        if len(text) > MAX_LENGTH:
            raise CursorError(f"a cursor has at most {MAX_LENGTH} characters")
        version, *entries = text.split("~")
        if version != VERSION:
            raise CursorError("not a cursor of this version")
        positions: dict[str, Position] = {}
        for entry in entries:
            position, dot, shard = entry.partition(".")
            if not dot or not _SHARD.fullmatch(shard):
                raise CursorError("a position without its shard")
            if shard in positions:
                raise CursorError("a shard named twice")
            positions[shard] = decode(position)
        return cls(positions)


def join(entries: Iterable[str]) -> str:
    """The cursor of encoded entries. Raises CursorError when it is too long."""
    text = "~".join((VERSION, *entries))
    if len(text) > MAX_LENGTH:
        raise CursorError("more shards than a cursor can carry")
    return text


def encode(position: Position) -> str:
    match position:
        case After(sequence, subsequence):
            return f"{sequence:x}-{subsequence}"
        case Since(millis):
            return f"t{millis}"
        case Horizon():
            return "h"
        case Ended():
            return "e"


def decode(text: str) -> Position:
    """Raises CursorError."""
    if found := _AFTER.fullmatch(text):
        return After(int(found[1], 16), int(found[2]))
    if found := _SINCE.fullmatch(text):
        return Since(int(found[1]))
    if text == "h":
        return Horizon()
    if text == "e":
        return Ended()
    raise CursorError("a position that is none")
