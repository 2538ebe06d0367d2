"""A websocket client that costs the measurement next to nothing: bare sockets, no threads."""

import itertools
import os
import random
import socket
import threading
import time
import zlib
from base64 import b64encode
from dataclasses import dataclass

SECONDS = 60.0
"""How long anything may take before the measurement has failed."""

_FIRST_PAUSE_SECONDS = 0.001
_TEXT, _PING, _PONG = 1, 9, 10
_COMPRESSED, _END_OF_MESSAGE = 0x40, b"\x00\x00\xff\xff"
"""RFC 7692: the first reserved bit, and what a sender leaves out at the end of each message."""


class RefusedError(Exception):
    """Something answered, and it did not open a websocket."""


@dataclass(frozen=True)
class Address:
    """Where a websocket is."""

    host: str
    port: int
    path: str


class WebSocket:
    """An open one."""

    def __init__(self, connection: socket.socket, received: bytes) -> None:
        self._connection = connection
        self._received = received
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS).decompress
        self.taken_bytes = 0
        """Of frames, as they came over the wire."""

    def receive(self) -> str:
        """The next text message. Raises OSError at the end."""
        while (text := self.frame()) is None:
            pass
        return text

    def frame(self) -> str | None:
        """Take the next frame: its text, or None for any other. A ping is answered.

        Raises OSError at the end.
        """
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
        payload = self._take(length)
        if first & _COMPRESSED:
            payload = self._inflate(payload + _END_OF_MESSAGE)
        if first & 15 == _PING:  # masked with nothing, which is a mask too
            self._connection.sendall(bytes([0x80 | _PONG, 0x80 | length]) + bytes(4) + payload)
        return payload.decode() if first & 15 == _TEXT else None

    @property
    def has_more(self) -> bool:
        """Whether something was received that is not taken yet."""
        return bool(self._received)

    def close(self) -> None:
        """Leave, as a closed tab does."""
        self._connection.close()

    def fileno(self) -> int:
        """For `select`."""
        return self._connection.fileno()

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            data = self._connection.recv(65_536)
            if not data:
                raise ConnectionResetError("the websocket ended")
            self._received += data
        taken, self._received = self._received[:count], self._received[count:]
        self.taken_bytes += count
        return taken


def connect(address: Address, *, deflate: bool = False) -> WebSocket:
    """Open a websocket in one try, offering compression with `deflate`.

    Raises OSError, RefusedError.
    """
    connection = socket.create_connection((address.host, address.port), SECONDS)
    try:
        return WebSocket(connection, _shake_hands(connection, address, deflate))
    except BaseException:
        connection.close()
        raise


def _shake_hands(connection: socket.socket, address: Address, deflate: bool) -> bytes:
    """The bytes received after the answer. Raises OSError, RefusedError."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    connection.sendall(
        f"GET {address.path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"{offer}"
        f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65_536)
        if not data:
            raise ConnectionResetError("no answer")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise RefusedError(head.partition(b"\r\n")[0].decode("latin-1"))
    return rest


def connect_when_there(address: Address, over: threading.Event) -> WebSocket:
    """Try until it opens, at most a twentieth of the time too late.

    Raises OSError when that takes too long or `over` is set, RefusedError.
    """
    began = time.perf_counter()
    while True:
        try:
            return connect(address)
        except OSError:
            waited = time.perf_counter() - began
            if waited > SECONDS or over.wait(max(_FIRST_PAUSE_SECONDS, waited / 20)):
                raise


def free_ports(count: int) -> list[int]:
    """Ports of this machine without listeners, each returned once.

    They are below Linux's ephemeral ports and ECS's container ports: a port from the system may be
    taken by another process when many start at once.
    """
    with _LOCK:
        found: list[int] = []
        while len(found) < count:
            port = next(_PORTS)
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            found.append(port)
        return found


_LOCK = threading.Lock()
_PORTS = itertools.cycle(random.sample(range(15_000, 32_000), 17_000))
