"""The calls to the Docker Engine's HTTP API that boxes need, over its socket; standard library
only.

https://docs.docker.com/reference/api/engine/version/v1.41/
"""

import http.client
import json
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from usher.box.model import BoxError

VERSION = "v1.41"
CALL_SECONDS = 60.0
_HEADER = 8
_MOST_HEADER_BYTES = 65_536


class EngineError(BoxError):
    """The engine answered with an error, or did not answer (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def socket_path() -> str | None:
    """The socket of the engine in DOCKER_HOST, or the default one; None if it is not a local
    socket.
    """
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return host.removeprefix("unix://") if host.startswith("unix://") else None


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("docker", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """One engine. Each call opens a connection, so threads may share it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        seconds: float = CALL_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The parsed answer; None if it is empty. Raises EngineError."""
        return _parsed(
            self._answer(method, path, query, body, seconds=seconds, more_headers=headers)
        )

    def read(self, path: str, query: Mapping[str, str]) -> bytes:
        """The unparsed answer to GET. Raises EngineError."""
        return self._answer("GET", path, query, None)

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        *,
        seconds: float = CALL_SECONDS,
        more_headers: Mapping[str, str] | None = None,
    ) -> bytes:
        connection = _Connection(self._path, seconds)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        headers |= more_headers or {}
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, _target(path, query), data, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"the Docker Engine does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise EngineError(answer.status, f"the Docker Engine says: {_message(text)}")
        return text

    def stream(
        self, path: str, query: Mapping[str, str] | None = None, body: Any = None
    ) -> socket.socket:
        """POST; returns the raw connection after the head of the answer. Raises EngineError."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"POST {_target(path, query)} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n"
            f"Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CALL_SECONDS)
        try:
            connection.connect(self._path)
            connection.sendall(head.encode() + data)
            status, rest = _read_head(connection)
        except OSError as error:
            connection.close()
            raise EngineError(0, f"the Docker Engine does not answer: {error}") from error
        if status not in (101, 200):
            output = rest + connection.recv(4096)
            connection.close()
            raise EngineError(status, f"the Docker Engine says: {_message(output)}")
        return connection


def _target(path: str, query: Mapping[str, str] | None) -> str:
    suffix = f"?{urlencode(query)}" if query else ""
    return f"/{VERSION}{quote(path, safe='/:@%')}{suffix}"


def _read_head(connection: socket.socket) -> tuple[int, bytes]:
    """Byte by byte, because the following bytes belong to the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte or len(head) > _MOST_HEADER_BYTES:
            raise OSError("its answer has no end of the head")
        head += byte
    return int(head.split(b" ", 2)[1]), b""


def _message(text: bytes) -> str:
    start = text.find(b"{")
    answer = _parsed(text[start:]) if start >= 0 else None
    if isinstance(answer, dict) and "message" in answer:
        return str(answer["message"])
    return text.decode(errors="replace").strip()[:500]


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        return None


class Demultiplexer:
    """Splits an attached stream of a container without a terminal into stream numbers and bytes.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The available bytes; a frame may be returned in pieces."""
        self._buffer += data
        found: list[tuple[int, bytes]] = []
        while len(self._buffer) >= _HEADER:
            number, size = struct.unpack(">BxxxI", self._buffer[:_HEADER])
            body = bytes(self._buffer[_HEADER : _HEADER + size])
            if body:
                found.append((number, body))
            if len(body) < size:
                self._buffer[:] = struct.pack(">BxxxI", number, size - len(body))
                break
            del self._buffer[: _HEADER + size]
        return found
