"""RESP, the protocol of Redis and Valkey, without I/O: commands to bytes, bytes to replies.

Version 2 of "Redis serialization protocol specification", the default of every server. Pure.
"""

from typing import Any, NamedTuple

_INCOMPLETE = object()
_CRLF = b"\r\n"
_BULK, _ARRAY, _INTEGER, _TEXT, _ERROR = b"$*:+-"

MAX_LINE_BYTES = 64 * 1024
MOST_SIZES = 512


class RespError(Exception):
    """The data is not RESP, or exceeds the limits; the connection cannot be used again."""


class TooLargeError(RespError):
    """The reply exceeds the limits; a smaller one may succeed."""


class ErrorReply(NamedTuple):
    """The server's error reply."""

    text: str

    @property
    def code(self) -> str:
        """The first word, such as `WRONGPASS` or `LOADING`; `ERR` for most."""
        return self.text.partition(" ")[0]


def encode(*arguments: bytes | str | int) -> bytes:
    """A command and its arguments."""
    parts = [b"*%d\r\n" % len(arguments)]
    for word in arguments:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class Parser:
    """Parses received data to replies: bytes, int, None, ErrorReply, or a list of these."""

    def __init__(self, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = 1
        self._taken = 0
        self._open: list[tuple[list[Any], int]] = []
        self._sizes: dict[bytes, int] = {}
        """Parsed sizes by their bytes, because few different ones occur."""

    def feed(self, data: bytes) -> list[Any]:
        """The replies that `data` completes, in order. Raises RespError."""
        self._pieces.append(data)
        self._held += len(data)
        if self._taken + self._held > self._max_reply_bytes:
            raise TooLargeError(f"a reply of more than {self._max_reply_bytes} bytes")
        if self._held < self._wanted:
            return []
        buffer = data if len(self._pieces) == 1 else b"".join(self._pieces)
        replies: list[Any] = []
        at, begun = 0, -self._taken
        self._wanted = 1
        while at < len(buffer):
            reply, at = self._next(buffer, at)
            if reply is _INCOMPLETE:
                break
            replies.append(reply)
            begun = at
        self._taken = at - begun
        rest = buffer[at:]
        self._pieces, self._held = [rest] if rest else [], len(rest)
        return replies

    def _next(self, buffer: bytes, at: int) -> tuple[Any, int]:
        """A complete reply and its end, or the position at which to continue with more data."""
        stack, sizes, find, held = self._open, self._sizes, buffer.find, len(buffer)
        while True:
            end = find(_CRLF, at)
            if end < 0:
                self._want_line(held - at)
                return _INCOMPLETE, at
            kind, begin, line = buffer[at], end + 2, buffer[at + 1 : end]
            value: Any = None
            if kind == _BULK:
                size = sizes[line] if line in sizes else self._parse_size(line)
                if size >= 0:
                    end = begin + size
                    if held < end + 2:
                        self._wanted = end + 2 - at
                        return _INCOMPLETE, at
                    value, begin = buffer[begin:end], end + 2
            elif kind == _ARRAY:
                size = sizes[line] if line in sizes else self._parse_size(line)
                if size > 0:
                    at = begin
                    stack.append(([], size))
                    continue
                value = [] if size == 0 else None
            else:
                value = _simple(kind, line)
            at = begin
            while stack:
                items, size = stack[-1]
                items.append(value)
                if len(items) < size:
                    break
                value = stack.pop()[0]
            else:
                return value, at

    def _parse_size(self, line: bytes) -> int:
        size = _number(line)
        if len(self._sizes) < MOST_SIZES:
            self._sizes[line] = size
        return size

    def _want_line(self, held: int) -> None:
        if held > MAX_LINE_BYTES:
            raise RespError("a line without an end")
        self._wanted = held + 1


def _simple(kind: int, line: bytes) -> Any:
    if kind == _INTEGER:
        return _number(line)
    if kind == _TEXT:
        return line
    if kind == _ERROR:
        return ErrorReply(line.decode("utf-8", "replace"))
    raise RespError("the answer is not RESP")


def _number(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise RespError("a malformed number") from None
