"""Asking a container whether its client is there."""

import io
import json
import socket
import time
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 2.0
"""Connecting, TLS and the whole answer together."""
MAX_ANSWER_BYTES = 65_536


def probe_connected(url: str) -> bool:
    """Whether the container at `url` says that its client is there; no answer means no.

    Takes at most TIMEOUT_SECONDS, however slowly the container answers, reads at most
    MAX_ANSWER_BYTES, and follows no redirect: nothing but the address in `url` is asked.

    A certificate names no address, and all that a false answer could do is to let a session
    live until its own deadlines end it: so it is not checked.
    """
    try:
        return _says_connected(_ask(url, time.monotonic() + TIMEOUT_SECONDS))
    except (OSError, ValueError, RecursionError):
        return False


def _ask(url: str, deadline: float) -> bytes:
    """What came within the deadline. Raises OSError."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    address = (parts.hostname or "", parts.port or (443 if tls else 80))
    connection = socket.create_connection(address, timeout=TIMEOUT_SECONDS)
    try:
        if tls:
            import ssl  # for the sweep alone: a cold start does not pay for it

            connection.settimeout(_left(deadline))
            context = ssl._create_unverified_context()  # noqa: S323
            connection = context.wrap_socket(connection)
        connection.settimeout(_left(deadline))
        head = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
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


def _says_connected(answer: bytes) -> bool:
    """Raises ValueError for what is no JSON."""
    from http.client import HTTPException, HTTPResponse

    response = HTTPResponse(_Received(answer))
    try:
        response.begin()
        body = json.loads(response.read()) if response.status == 200 else None
    except HTTPException:
        return False
    return isinstance(body, dict) and body.get("connected") is True
