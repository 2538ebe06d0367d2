"""Lets containers reach servers that listen on loopback only.

Listens on the gateway address of a Docker network and passes each connection on to the same port
of 127.0.0.1. Only addresses of that network are let in: other containers, and neighbours of this
machine that route to it, are not.
"""

import asyncio
import threading
from ipaddress import IPv4Network, ip_address

MAX_BUFFERED_BYTES = 256 * 1024
"""Maximum buffered data in one direction before the sender is blocked."""


class Forwarder:
    """All forwarded ports of one network, in one thread."""

    def __init__(self, address: str, allowed: IPv4Network) -> None:
        self._address = address
        self._allowed = allowed
        self._servers: dict[int, asyncio.Server] = {}
        self._sides: set[_Side] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="local-forwarder", daemon=True
        )
        self._thread.start()

    def forward(self, port: int) -> None:
        """Begin to forward `port`, unless that is done already. Raises OSError if it is taken."""
        asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result()

    def close(self) -> None:
        """Close the listeners and every connection. Idempotent."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, port: int) -> None:
        if port not in self._servers:
            self._servers[port] = await self._loop.create_server(
                lambda: _Inbound(self._sides, self._allowed, port), self._address, port
            )

    async def _shut(self) -> None:
        for server in self._servers.values():
            server.close()
        for side in list(self._sides):
            side.transport.abort()
        current = asyncio.current_task()
        pending = [task for task in asyncio.all_tasks() if task is not current]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


class _Side(asyncio.Protocol):
    """One end of a forwarded connection: its received data is sent to its peer."""

    transport: asyncio.Transport

    def __init__(self, sides: "set[_Side]") -> None:
        self._sides = sides
        self.peer: _Side | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(MAX_BUFFERED_BYTES)
        self.transport = transport
        self._sides.add(self)

    def data_received(self, data: bytes) -> None:
        if self.peer:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the half-close on; the other direction stays open until it ends as well."""
        self.ended = True
        if self.peer is None or self.peer.ended:
            return False
        self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sides.discard(self)
        if self.peer is None:
            return
        if exc is None:
            self.peer.transport.close()
        else:
            self.peer.transport.abort()


class _Inbound(_Side):
    """The end towards the container; connects the other one."""

    def __init__(self, sides: set[_Side], allowed: IPv4Network, port: int) -> None:
        super().__init__(sides)
        self._allowed = allowed
        self._port = port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if ip_address(transport.get_extra_info("peername")[0]) not in self._allowed:
            self.transport.abort()
            return
        self.transport.pause_reading()
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, peer = await loop.create_connection(
                lambda: _Side(self._sides), "127.0.0.1", self._port
            )
        except OSError:
            self.transport.abort()
            return
        if self.transport.is_closing():
            peer.transport.abort()
            return
        self.peer, peer.peer = peer, self
        self.transport.resume_reading()
