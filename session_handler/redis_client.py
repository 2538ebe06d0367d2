"""A small client of Redis and Valkey on asyncio, for the fan-out feed.

One connection, one request at a time, password, TLS, timeouts and size limits. A client library
would cost more memory and start time than the rest of the container (see docs/architecture.md).
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from chalicelib.contract.fanout import FanoutUrl
from session_handler.resp import ErrorReply, Parser, RespError, TooLargeError, encode

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0

MAX_REPLY_BYTES = 32 * 1024 * 1024

Command = Sequence[bytes | str | int]

TOO_LARGE = "ReplyTooLarge"
UNREACHABLE = "Unreachable"
MOVED = "MOVED"
ASK = "ASK"
MAX_REDIRECTIONS = 3

REFUSALS = frozenset({"ERR", "NOAUTH", "NOPERM", "WRONGPASS", "WRONGTYPE"})


class RedisError(Exception):
    """No valid answer. `code` is the server's or this module's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code

    @property
    def is_refusal(self) -> bool:
        """Whether the configuration is wrong, as opposed to a transient error."""
        return self.code in REFUSALS


class RedisClient:
    """One server, or the node of a cluster with the keys: MOVED and ASK are followed.

    Connects for the first call, and again after the connection was lost, then to the server of its
    URL. https://valkey.io/topics/cluster-spec/#redirection-and-resharding
    """

    def __init__(self, url: FanoutUrl) -> None:
        self._url = url
        self._node: tuple[str, int] | None = None
        """Where the cluster says that the keys are; None = at the server of the URL."""
        self._connection: _Connection | None = None
        self._context: ssl.SSLContext | None = None

    async def call(self, *commands: Command, wait_seconds: float = 0.0) -> list[Any]:
        """The replies to all commands, sent together; blocking ones may take `wait_seconds`.

        One call at a time; cancelling it closes the connection. Raises RedisError, also if the
        server refuses one of the commands.
        """
        for _ in range(MAX_REDIRECTIONS):
            try:
                return await self._exchange(commands, wait_seconds)
            except RedisError as exc:
                if exc.code == ASK:
                    return await self._ask(self._redirected_to(exc), commands, wait_seconds)
                if exc.code != MOVED:
                    self._node = None
                    raise
                self._node = self._redirected_to(exc)
        return await self._exchange(commands, wait_seconds)

    async def _ask(
        self, node: tuple[str, int], commands: Sequence[Command], wait_seconds: float
    ) -> list[Any]:
        """Once at a node that imports the slot, which still belongs to the other one."""
        here, self._node = self._node, node
        try:
            _, *replies = await self._exchange([("ASKING",), *commands], wait_seconds)
        finally:
            self._node = here
            self.close()  # the next call begins at the slot's own node
        return replies

    def _redirected_to(self, answer: RedisError) -> tuple[str, int]:
        """The address in `MOVED: SLOT HOST:PORT`; without a host it is the node that answered."""
        host, _, port = str(answer).rpartition(" ")[2].rpartition(":")
        if not port.isdecimal():
            raise answer
        return host or (self._node or (self._url.host,))[0], int(port)

    async def _exchange(self, commands: Sequence[Command], wait_seconds: float) -> list[Any]:
        connection = self._connection or await self._connect()
        self._connection = None
        try:
            replies = await connection.exchange(commands, ANSWER_SECONDS + wait_seconds)
        except BaseException:
            connection.drop()
            raise
        self._connection = connection
        return replies

    def close(self) -> None:
        if self._connection is not None:
            self._connection.drop()
            self._connection = None

    async def _connect(self) -> "_Connection":
        url = self._url
        if url.tls and self._context is None:
            # Loading the certificates takes 20 to 40 ms, so it is done when they are first needed.
            self._context = ssl.create_default_context()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, *(self._node or (url.host, url.port)), ssl=self._context
                )
        except TimeoutError:
            raise RedisError(UNREACHABLE, f"no connection in {CONNECT_SECONDS:g} s") from None
        except OSError as exc:
            raise RedisError(UNREACHABLE, str(exc) or type(exc).__name__) from exc
        if url.password is not None:
            command = ("AUTH", url.username, url.password)
            try:
                await connection.exchange([[w for w in command if w is not None]], ANSWER_SECONDS)
            except BaseException:
                connection.drop()
                raise
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = Parser(MAX_REPLY_BYTES)
        self._replies: list[Any] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._failure: RedisError | None = None

    async def exchange(self, commands: Sequence[Command], seconds: float) -> list[Any]:
        """Raises RedisError."""
        if self._failure is not None or self._transport is None:
            raise self._failure or RedisError(UNREACHABLE, "the connection is closed")
        self._replies, self._wanted = [], len(commands)
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(encode(*command) for command in commands))
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            raise RedisError(UNREACHABLE, f"no answer within {seconds:g} s") from None
        for reply in self._replies:
            # The reply to a transaction is a list, which may contain errors.
            for part in reply if isinstance(reply, list) else [reply]:
                if isinstance(part, ErrorReply):
                    raise RedisError(part.code, part.text.partition(" ")[2])
        return self._replies

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream, always
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._replies += self._parser.feed(data)
        except RespError as exc:
            code = TOO_LARGE if isinstance(exc, TooLargeError) else UNREACHABLE
            self._fail(RedisError(code, str(exc)))
            self.drop()
            return
        if len(self._replies) >= self._wanted and self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(RedisError(UNREACHABLE, str(exc or "the connection was closed")))

    def _fail(self, failure: RedisError) -> None:
        self._failure = self._failure or failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._failure)
