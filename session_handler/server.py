"""The container's port: HTTP answers and the one websocket, on top of `websockets`."""

import asyncio
import json
import os
import re
import socket
from functools import partial
from typing import Any, Protocol, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from session_handler import gate
from session_handler.certificates import server_context
from session_handler.messages import MAX_CLIENT_MESSAGE_BYTES
from session_handler.outflow import measure
from session_handler.settings import Settings

MAX_HEAD_BYTES = 16 * 1024
"""Request line and headers: one line may have 8 KiB (a long cursor), the rest is small."""

MAX_PENDING_CONNECTIONS = 32
"""Above this number the connection that has been without a complete request for longest is
closed."""

HANDSHAKE_SECONDS = 5
"""Time for a complete request, counted only while this process runs: on a busy machine a request
that arrived in time may be unread for longer."""
CLOSE_SECONDS = 3.0

WRITE_BUFFER_BYTES = 256 * 1024
"""Unsent bytes of a slow client for which the feed does not wait."""

TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
"""Linux buffers up to megabytes of unsent data for a slow peer; Python has this constant from
3.12."""

SCRIPT_FILE = "client.js"


class SessionHost(Protocol):
    """The session's interface for the manager."""

    @property
    def is_over(self) -> bool: ...

    @property
    def takes_clients(self) -> bool: ...

    def health(self) -> tuple[int, dict[str, Any]]: ...

    async def serve_client(self, websocket: "Connection", cursor: Any) -> None: ...

    async def client_answers(self) -> bool:
        """Whether the connected client is alive: pings it, for a few seconds."""
        ...

    def replace_client(self) -> None:
        """Disconnect the present client: another one takes its place."""
        ...


class Connection(ServerConnection):
    """One TCP connection. Checks the first bytes before `websockets` does, which supports GET only
    and allows a megabyte of headers.
    """

    head: bytearray | None
    cursor: Any = None
    taken = 0
    """Bytes that the peer had acknowledged when the connection ended."""

    def __init__(self, *args: Any, manager: "ConnectionManager", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head = bytearray()
        self._manager = manager
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._manager.connected(self)
        self._wait_for_head(HANDSHAKE_SECONDS)

    def _wait_for_head(self, seconds: int) -> None:
        """Close after `seconds`. They are counted one by one, each after the previous one and after
        received data was read: a process that is paused counts one at most.
        """
        if self.head is None:
            return
        if seconds == 0:
            self.transport.abort()
            return
        self._patience = self.loop.call_later(1.0, self._wait_for_head, seconds - 1)

    def data_received(self, data: bytes) -> None:
        if self.head is None:
            if self.response is None:
                # RFC 6455, 4.1: a client must wait for the answer. `websockets` would process
                # frames before the handshake.
                self.transport.abort()
            else:
                super().data_received(data)
            return
        if self.transport.is_closing():
            return
        self.head += data
        refusal = refuse_head(bytes(self.head))
        if refusal is not None:
            self.transport.write(_serialized(refusal))
            self.transport.close()
        elif b"\r\n\r\n" in self.head:
            whole, self.head = bytes(self.head), None
            super().data_received(whole)

    def connection_lost(self, exc: Exception | None) -> None:
        self.taken = measure(self.transport).taken  # the socket is closed after this call
        if self._patience is not None:
            self._patience.cancel()
        self._manager.disconnected(self)
        super().connection_lost(exc)


def refuse_head(head: bytes) -> gate.Answer | None:
    """The error in the beginning of a request, as far as it was received; None while it may be a
    GET of reasonable size.
    """
    method, space, _ = head.partition(b" ")
    if not b"GET ".startswith(head[:4]):
        is_method = len(method) <= 20 and method.isalpha() and method.isupper()
        if space or not is_method:
            return gate.METHOD_NOT_ALLOWED if is_method else gate.BAD_REQUEST
    end = head.find(b"\r\n\r\n")
    if (end if end >= 0 else len(head)) > MAX_HEAD_BYTES:
        return gate.HEAD_TOO_LARGE
    if 0 <= end < len(head) - 4:
        return gate.BAD_REQUEST  # a body, or frames before the handshake
    return _refuse_request_line(head[: head.find(b"\r\n")]) if end >= 0 else None


def _refuse_request_line(line: bytes) -> gate.Answer | None:
    """`websockets` closes the connection without an answer for these requests."""
    found = re.fullmatch(rb"GET [\x21-\x7e]+ HTTP/([0-9]\.[0-9])", line)
    if found is None:
        return gate.BAD_REQUEST
    return None if found[1] in {b"1.0", b"1.1"} else gate.HTTP_VERSION


def _headers(answer: gate.Answer) -> Headers:
    return Headers(
        {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body.encode())),
            "Cache-Control": "no-store",
            "Connection": "close",
            **answer.headers,
        }
    )


def _response(answer: gate.Answer) -> Response:
    phrase = answer.body.partition("\n")[0] if answer.content_type == gate.TEXT else "OK"
    return Response(answer.status, phrase, _headers(answer), answer.body.encode())


def _serialized(answer: gate.Answer) -> bytes:
    return _response(answer).serialize()


class ConnectionManager:
    """Answers requests, accepts one client, and tracks all connections."""

    def __init__(self, rules: gate.Gate, session: SessionHost) -> None:
        self._rules = rules
        self._session = session
        self._connected: Connection | None = None
        self._pending: dict[Connection, None] = {}

    def connected(self, connection: Connection) -> None:
        self._pending[connection] = None
        if len(self._pending) > MAX_PENDING_CONNECTIONS:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.transport.abort()

    def disconnected(self, connection: Connection) -> None:
        self._pending.pop(connection, None)
        if self._connected is connection:
            self._connected = None

    async def process_request(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        """Called by `websockets` for a complete request. None continues the handshake."""
        assert isinstance(connection, Connection)  # noqa: S101 - made by this very module
        decision = self._decide(request)
        if decision is gate.OCCUPIED and await self._hand_over():
            decision = self._decide(request)
        match decision:
            case gate.Answer():
                return _response(decision)
            case gate.Health(pings_client):
                status, health = await self._health(pings_client)
                return _response(gate.Answer(status, gate.JSON, json.dumps(health) + "\n"))
            case gate.Script(headers):
                return _response(gate.Answer(200, gate.SCRIPT, read_script(), headers))
            case gate.Admit(cursor):
                self._pending.pop(connection, None)
                # Reserved before the handshake is answered: of two concurrent ones, one is refused.
                self._connected = connection
                connection.cursor = cursor
                return None

    def _decide(self, request: Request) -> gate.Decision:
        return self._rules.decide(
            gate.Request(
                request.path,
                request.headers.get_all("Origin"),
                wants_websocket=bool(request.headers.get_all("Upgrade")),
                websocket_versions=request.headers.get_all("Sec-WebSocket-Version"),
                http_version=getattr(request, "protocol", "HTTP/1.1"),  # from websockets 16
            ),
            is_occupied=self._connected is not None or not self._session.takes_clients,
            is_over=self._session.is_over,
        )

    async def _health(self, pings_client: bool) -> tuple[int, dict[str, Any]]:
        """Status and body of `/healthz`. A client that did not answer the ping, or left meanwhile,
        is not connected; one in its handshake is.
        """
        answers = (
            not pings_client or self._connected is None or await self._session.client_answers()
        )
        status, health = self._session.health()
        if pings_client:
            health["connected"] = answers and self._connected is not None
        return status, health

    async def _hand_over(self) -> bool:
        """Check the present client because another one with the path connects: it may be the same
        user, whose old connection was lost unnoticed. Returns whether the session may be free now.
        """
        old = self._connected
        if old is None or await self._session.client_answers():
            return False
        if self._connected is old:
            self._session.replace_client()
            await old.wait_closed()
            # `handle` of the old connection runs first: it reports that the client left.
            while self._connected is old:
                await asyncio.sleep(0)
        return True

    async def handle(self, connection: ServerConnection) -> None:
        """A websocket is open."""
        assert isinstance(connection, Connection)  # noqa: S101 - made by this very module
        sock = connection.transport.get_extra_info("socket")
        if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, WRITE_BUFFER_BYTES)
        try:
            await self._session.serve_client(connection, connection.cursor)
        finally:
            self.disconnected(connection)


def read_script() -> str:
    """The client library of this version."""
    with open(os.path.join(os.path.dirname(__file__), SCRIPT_FILE), encoding="utf-8") as file:
        return file.read()


async def listen(rules: gate.Gate, session: SessionHost, settings: Settings) -> Server:
    """Listen. Raises OSError if the port or certificate is not available."""
    manager = ConnectionManager(rules, session)
    context = None
    if settings.tls_cert_file and settings.tls_key_file:
        context = server_context(settings.tls_cert_file, settings.tls_key_file)
    return await serve(
        manager.handle,
        settings.host,
        settings.port,
        ssl=context,
        process_request=manager.process_request,
        # Any factory is accepted, as the documentation of `serve` says.
        create_connection=cast("type[ServerConnection]", partial(Connection, manager=manager)),
        compression="deflate" if settings.compresses else None,
        server_header=None,
        open_timeout=None,  # see Connection
        ping_interval=None,  # see client_watch
        close_timeout=CLOSE_SECONDS,
        max_size=MAX_CLIENT_MESSAGE_BYTES,
        write_limit=WRITE_BUFFER_BYTES,
    )
