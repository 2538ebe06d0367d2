"""The cursor: where in each shard the next container goes on, as one URL-safe string. Pure.

    cursor   = "1" *( "~" position "." shard ) [ "~" others ] [ "~" entry ]
    position = hex-sequence "-" subsequence     after this record
             / "t" milliseconds                 from this instant on: nothing was read of it yet
             / "h"                              from its beginning: its parents were read to the end
             / "e"                              read to the end, its children not begun
             / "w"                              waits: its parents are not read to the end
    others   = "t" milliseconds                 shards not named: from this instant on
             / "n" number                       shards not named: those numbered above this, whole
    entry    = "r" entry-id "." origin          all before and with this entry of the fan-out feed

The positions are the truth, and both feeds understand them. Without `others`, shards that are not
named descend from those that are, or were read before; the direct feed knows which, and the
fan-out feed takes those numbered above all that are named. The entry is a short cut that spares
reading the fan-out feed's stream from its beginning.

Clients treat all of it as opaque. Only characters that need no escaping in a URL occur. Sequence
numbers are integers of about 186 bits: compared as numbers, never as text.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

VERSION = "1"
MAX_LENGTH = 7_000
"""In characters. A request line has at most 8 KiB, including the path and the websocket's parts."""

_SHARD = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_AFTER = re.compile(r"(0|[1-9a-f][0-9a-f]{0,63})-(0|[1-9][0-9]{0,9})")
_SINCE = re.compile(r"t(0|[1-9][0-9]{0,14})")
_ABOVE = re.compile(r"n(0|[1-9][0-9]{0,14})")
_ENTRY = re.compile(r"r(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\.([A-Za-z0-9_-]{1,64})")


class CursorError(ValueError):
    """An invalid cursor, or one that would be too long."""


class After(NamedTuple):
    """Everything up to this record was delivered. Ordered as records are in their shard."""

    sequence: int
    subsequence: int = 0


class Since(NamedTuple):
    """Nothing was delivered of the records that arrived at or after this time (epoch
    milliseconds).
    """

    millis: int


class Horizon(NamedTuple):
    """Nothing was delivered; the shard is read from its beginning."""


class Ended(NamedTuple):
    """Everything was delivered, and the shard has ended."""


class Waiting(NamedTuple):
    """Nothing was delivered, and its parents come first."""


class Above(NamedTuple):
    """Shards with this number or a lower one are skipped, others read completely."""

    number: int


class EntryPlace(NamedTuple):
    """An entry of the fan-out feed's stream: its id and its origin."""

    millis: int
    sequence: int
    origin: str


Position = After | Since | Horizon | Ended | Waiting
Others = Since | Above


class Cursor(NamedTuple):
    """Positions by shard id; a position for other shards; an entry's id as a short cut."""

    positions: Mapping[str, Position]
    others: Others | None = None
    entry: EntryPlace | None = None

    def __str__(self) -> str:
        """Raises CursorError if there are too many shards."""
        entries = [f"{encode(position)}.{shard}" for shard, position in self.positions.items()]
        return join([*entries, *encode_rest(self.others, self.entry)])

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises CursorError, with the reason, for text that `str` does not produce."""
        if len(text) > MAX_LENGTH:
            raise CursorError(f"a cursor has at most {MAX_LENGTH} characters")
        version, *parts = text.split("~")
        if version != VERSION:
            raise CursorError("not a cursor of this version")
        place, others = None, None
        if parts and (found := _ENTRY.fullmatch(parts[-1])):
            place = EntryPlace(int(found[1]), int(found[2]), found[3])
            parts.pop()
        if parts and "." not in parts[-1]:
            others = _decode_others(parts.pop())
        positions: dict[str, Position] = {}
        for word in parts:
            position, dot, shard = word.partition(".")
            if not dot or not _SHARD.fullmatch(shard):
                raise CursorError("a position without its shard")
            if shard in positions:
                raise CursorError("a shard named twice")
            positions[shard] = decode(position)
        return cls(positions, others, place)


def number_of(shard_id: str) -> float:
    """The number in a shard's name; later shards have higher ones. Names without one count as the
    latest.
    """
    digits = shard_id.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else float("inf")


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
        case Waiting():
            return "w"


def encode_rest(others: Others | None, entry: EntryPlace | None) -> list[str]:
    """The part after the positions."""
    parts = []
    if others is not None:
        parts.append(f"n{others.number}" if isinstance(others, Above) else encode(others))
    if entry is not None:
        parts.append(f"r{entry.millis}-{entry.sequence}.{entry.origin}")
    return parts


def _decode_others(text: str) -> Others:
    if found := _SINCE.fullmatch(text):
        return Since(int(found[1]))
    if found := _ABOVE.fullmatch(text):
        return Above(int(found[1]))
    raise CursorError("a position without its shard")


_KEYWORDS: Mapping[str, Position] = {"h": Horizon(), "e": Ended(), "w": Waiting()}


def decode(text: str) -> Position:
    """Raises CursorError."""
    if found := _AFTER.fullmatch(text):
        return After(int(found[1], 16), int(found[2]))
    if found := _SINCE.fullmatch(text):
        return Since(int(found[1]))
    if text in _KEYWORDS:
        return _KEYWORDS[text]
    raise CursorError("a position that is none")
