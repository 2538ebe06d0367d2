"""Requests a container's health, and whether its client is connected."""

import io
import json
import socket
import time
from enum import Enum, auto
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 2.0
"""Timeout for connecting, TLS and the complete answer."""
PING_TIMEOUT_SECONDS = 4.0
"""The same if the container pings its client first, which may take three seconds."""
MAX_ANSWER_BYTES = 65_536


class Found(Enum):
    """The result of a health request."""

    CONNECTED = auto()
    """The container answered that its client is connected."""
    ALONE = auto()
    """The container answered, without a connected client."""
    OVER = auto()
    """The container answered 503: its session is over."""
    REFUSED = auto()
    """Nothing listens at its address."""
    SILENT = auto()
    """No answer in time, or an unreadable one: it may be alive."""

    @property
    def is_gone(self) -> bool:
        """Whether this container certainly has no client any more."""
        return self in {Found.OVER, Found.REFUSED}


def probe(url: str) -> Found:
    """Request the health of the container at `url`; see `chalicelib.sessions.probes.health_url`.

    Takes at most TIMEOUT_SECONDS (PING_TIMEOUT_SECONDS), even if the answer is slow, reads at most
    MAX_ANSWER_BYTES, and follows no redirect.

    The certificate is not verified: it contains no address, and the request contains no secret.
    """
    seconds = PING_TIMEOUT_SECONDS if urlsplit(url).query else TIMEOUT_SECONDS
    try:
        return _read(_ask(url, time.monotonic() + seconds))
    except ConnectionRefusedError:
        return Found.REFUSED
    except (OSError, ValueError, RecursionError):
        return Found.SILENT


def _ask(url: str, deadline: float) -> bytes:
    """The bytes received before the deadline. Raises OSError."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    address = (parts.hostname or "", parts.port or (443 if tls else 80))
    connection = socket.create_connection(address, timeout=_left(deadline))
    try:
        if tls:
            import ssl  # used by the sweep only; not imported at cold start

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
            return received  # it may be complete, from a server that keeps the connection open
        if not piece:
            return received
        received += piece
    raise OSError("the answer is too large")


def _left(deadline: float) -> float:
    """Seconds until `deadline`. Raises TimeoutError if it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Received(socket.socket):
    """Received bytes for `http.client`, which reads from a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:  # type: ignore[override]
        return io.BytesIO(self._data)


def _read(answer: bytes) -> Found:
    """Raises ValueError if it is not JSON."""
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
