"""A small HTTP/1.1 client on asyncio streams, for Kinesis, credentials and callbacks.

Keep-alive, Content-Length and chunked bodies, timeouts and size limits. No redirects, no proxies,
no cookies. A client library would cost more memory and start time than the rest of the container
(see docs/architecture.md).
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024
"""Kinesis answers with up to 10 MiB of records, a third more in base64."""

MAX_IDLE_CONNECTIONS = 8


class HttpError(Exception):
    """No valid answer: unreachable, connection lost, too slow, too large or malformed."""


class TooLargeError(HttpError):
    """The answer exceeds MAX_BODY_BYTES; a smaller one may succeed."""


class Response(NamedTuple):
    """A complete answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class HttpClient:
    """Requests to one origin. Use it from one event loop; requests may be concurrent."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._timeout_seconds = timeout_seconds
        self._context: ssl.SSLContext | None = None
        self._idle: list[_Connection] = []
        host = f"[{self._host}]" if ":" in self._host else self._host
        default_port = self._port == (443 if self._tls else 80)
        self.host_header = host if default_port else f"{host}:{self._port}"
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        """Path and query of the URL this client was made with."""

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """Send one request and read the complete answer, within the client's timeout.

        A kept connection that the server closed meanwhile is replaced once; the request may then
        arrive twice. Raises HttpError.
        """
        head = self._head(method, path, headers, body)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while self._idle:
                    try:
                        return await self._exchange(self._idle.pop(), head, body, method)
                    except (OSError, EOFError):
                        continue
                return await self._exchange(await self._connect(), head, body, method)
        except TimeoutError:
            raise HttpError(f"no answer within {self._timeout_seconds:g} s") from None
        except (OSError, EOFError) as exc:
            raise HttpError(str(exc) or type(exc).__name__) from exc

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().writer.close()

    def _head(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def _connect(self) -> _Connection:
        if self._tls and self._context is None:
            # Loading the certificates takes 20 to 40 ms, so it is done when they are first needed.
            self._context = ssl.create_default_context()
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=self._context, limit=MAX_HEAD_BYTES
        )
        return _Connection(reader, writer)

    async def _exchange(
        self, connection: _Connection, head: bytes, body: bytes, method: str
    ) -> Response:
        reusable = False
        try:
            connection.writer.write(head + body)
            await connection.writer.drain()
            response, reusable = await _read_response(connection.reader, method)
            return response
        finally:
            if reusable and len(self._idle) < MAX_IDLE_CONNECTIONS:
                self._idle.append(connection)
            else:
                connection.writer.close()


async def _read_response(reader: asyncio.StreamReader, method: str) -> tuple[Response, bool]:
    status, headers, reusable = 100, dict[str, str](), False
    while status // 100 == 1:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as exc:
            raise HttpError("the answer's headers are too large") from exc
        status, headers, reusable = parse_head(head)
    if method == "HEAD" or status in {204, 304}:
        body = b""
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _read_chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(_bounded(headers["content-length"], 10, 0))
    else:
        body, reusable = await _read_to_end(reader), False
    return Response(status, headers, body), reusable


def parse_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    """Status, headers, and whether the connection may be used again. Raises HttpError."""
    status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    version, _, rest = status_line.partition(" ")
    code = rest[:3]
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not (code.isascii() and code.isdigit()):
        raise HttpError("the answer is not HTTP/1.1")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise HttpError("the answer has a malformed header")
        headers[name.strip().lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    return int(code), headers, version == "HTTP/1.1" and "close" not in connection


def _bounded(size: str, base: int, taken: int) -> int:
    try:
        number = int(size, base)
    except ValueError:
        raise HttpError("the answer has a malformed length") from None
    if number < 0 or number + taken > MAX_BODY_BYTES:
        raise TooLargeError("the answer is too large")
    return number


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = _bounded(line.split(b";")[0].strip().decode("latin-1"), 16, len(body))
        if size == 0:
            break
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise HttpError("the answer has a malformed chunk")
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return bytes(body)


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(65_536):
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError("the answer is too large")
    return bytes(body)
