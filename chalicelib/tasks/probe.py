"""Asking a container whether it is there, and whether its client is."""

import io
import json
import socket
import time
from enum import Enum, auto
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 2.0
"""Connecting, TLS and the whole answer together."""
PING_TIMEOUT_SECONDS = 4.0
"""The same where the container asks its client first, which may take three seconds."""
MAX_ANSWER_BYTES = 65_536


class Found(Enum):
    """What asking a container found."""

    CONNECTED = auto()
    """It says that its client is there."""
    ALONE = auto()
    """It serves, and does not say that a client is there."""
    OVER = auto()
    """It answers 503: its session is over."""
    REFUSED = auto()
    """Nothing listens at its address any more."""
    SILENT = auto()
    """No answer in time, or none that can be read: it may live all the same."""

    @property
    def is_gone(self) -> bool:
        """Whether this container certainly has no client any more."""
        return self in {Found.OVER, Found.REFUSED}


def probe(url: str) -> Found:
    """Ask the container at `url`, see `chalicelib.sessions.probes.health_url`.

    Takes at most TIMEOUT_SECONDS (PING_TIMEOUT_SECONDS), however slowly the container answers,
    reads at most MAX_ANSWER_BYTES, and follows no redirect: nothing but the address in `url` is
    asked.

    A certificate names no address, and the request has no secret in it: so it is not checked.
    """
    seconds = PING_TIMEOUT_SECONDS if urlsplit(url).query else TIMEOUT_SECONDS
    try:
        return _read(_ask(url, time.monotonic() + seconds))
    except ConnectionRefusedError:
        return Found.REFUSED
    except (OSError, ValueError, RecursionError):
        return Found.SILENT


def _ask(url: str, deadline: float) -> bytes:
    """What came within the deadline. Raises OSError."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    address = (parts.hostname or "", parts.port or (443 if tls else 80))
    connection = socket.create_connection(address, timeout=_left(deadline))
    try:
        if tls:
            import ssl  # for the sweep alone: a cold start does not pay for it

            connection.settimeout(_left(deadline))
            context = ssl._create_unverified_context()  # noqa: S323
            connection = context.wrap_socket(connection)
        connection.settimeout(_left(deadline))
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        head = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        connection.sendall(f"{head}\r\n".encode())
        return _receive(connection, deadline)
    finally:
        connection.close()


def _receive(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    while len(received) <= MAX_ANSWER_BYTES:
        try:
            connection.settimeout(_left(deadline))
            piece = connection.recv(65_536)
        except TimeoutError:
            return received  # it may be whole, from a server that keeps the connection open
        if not piece:
            return received
        received += piece
    raise OSError("the answer is too large")


def _left(deadline: float) -> float:
    """Seconds until `deadline`. Raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Received(socket.socket):
    """Bytes that came already, for `http.client`, which reads from a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:  # type: ignore[override]
        return io.BytesIO(self._data)


def _read(answer: bytes) -> Found:
    """Raises ValueError for what is no JSON."""
    from http.client import HTTPException, HTTPResponse

    response = HTTPResponse(_Received(answer))
    try:
        response.begin()
        if response.status != 200:
            return Found.OVER if response.status == 503 else Found.SILENT
        body = json.loads(response.read())
    except HTTPException:
        return Found.SILENT
    if not isinstance(body, dict):
        return Found.SILENT
    return Found.CONNECTED if body.get("connected") is True else Found.ALONE
