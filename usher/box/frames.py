"""Messages between the judge and the guard of a container, over one byte stream each way. Pure.

A frame has one byte for its kind, four bytes of length (big endian), and that many bytes.
"""

import json
import struct
from collections.abc import Iterable
from typing import Any

_HEAD = struct.Struct(">cI")

RUN = b"R"
"""To the guard: a run (JSON, then the contents of its files, as `pack_message` does it)."""
GO = b"G"
"""To the guard: start the command now."""
STDIN, STDIN_END = b"I", b"E"
"""To the guard: bytes of the command's standard input, and their end."""
STOP = b"K"
"""To the guard: end the run now."""
READY = b"Y"
"""From the guard: the box is made."""
STDOUT, STDERR = b"O", b"X"
DONE = b"D"
"""From the guard: how the run ended (JSON, then the contents of collected files)."""
TROUBLE = b"T"
"""From the guard: there is no box; the payload has the reason."""


class FrameError(ValueError):
    """The other side violates the format."""


def encode(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEAD.pack(kind, len(payload)) + payload


class FrameReader:
    """Splits a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Kind and payload of every complete frame."""
        self._buffer += data
        found: list[tuple[bytes, bytes]] = []
        start = 0
        while len(self._buffer) - start >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._buffer, start)
            end = start + _HEAD.size + size
            if len(self._buffer) < end:
                break
            found.append((kind, bytes(self._buffer[start + _HEAD.size : end])))
            start = end
        del self._buffer[:start]
        return found


def pack_message(fields: dict[str, Any], contents: Iterable[bytes]) -> bytes:
    """JSON and the contents whose lengths it has, as one payload."""
    text = json.dumps(fields).encode()
    return b"".join([struct.pack(">I", len(text)), text, *contents])


def unpack_message(payload: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON, and the bytes after it. Raises FrameError."""
    try:
        (size,) = struct.unpack_from(">I", payload)
        fields = json.loads(payload[4 : 4 + size])
    except (struct.error, ValueError) as error:
        raise FrameError(f"a message cannot be read: {error}") from None
    if not isinstance(fields, dict):
        raise FrameError("a message is no object")
    return fields, memoryview(payload)[4 + size :]


def take_contents(rest: memoryview, sizes: Iterable[int]) -> list[bytes]:
    """The contents in order. Raises FrameError if bytes are missing."""
    found = []
    for size in sizes:
        if size > len(rest):
            raise FrameError("a message is cut off")
        found.append(bytes(rest[:size]))
        rest = rest[size:]
    return found
