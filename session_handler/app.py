"""The per-user part: subclass SessionApp and name it in SESSION_APP as `module:Class`."""

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from session_handler.feeds.records import Record
from session_handler.user import User

if TYPE_CHECKING:
    from chalicelib.contract.sigv4 import Credentials

DEFAULT_APP = "session_handler.apps:Filter"
MAX_TIMERS = 100

T = TypeVar("T")


class AppError(Exception):
    """SESSION_APP names no usable class; the message is for display."""


class TooManyTimersError(Exception):
    """The session app has reached its maximum number of timers."""


class AppSession:
    """The session as its app sees it, with operations on its client.

    Call its methods on the event loop's thread; `log` on any thread.
    """

    def __init__(
        self,
        session_id: str,
        app_name: str,
        revision: str,
        *,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        close: Callable[[str], None],
        fail: Callable[[BaseException], None],
        user: asyncio.Future[User],
        pending: Callable[[], int],
        publish: Callable[[Any, str], Awaitable[None]],
        credentials: Callable[[], Awaitable["Credentials"]],
    ) -> None:
        """Parameters that are not in the container's environment come from the container: `fail`
        receives exceptions of timers, `user` is set once the dispatcher has reported it.
        """
        self.session_id = session_id
        self.app_name = app_name
        self.revision = revision
        self.log = logging.getLogger("app")
        """Its lines carry the session's id."""
        self._send = send
        self._close = close
        self._fail = fail
        self._user = user
        self._pending = pending
        self._publish = publish
        self._credentials = credentials
        self._timers: set[asyncio.Task[None]] = set()

    async def user(self) -> User:
        """The user of the session: owner, claims and query parameters.

        The dispatcher reports the user when the client is connected, usually at once; this waits
        until it has. The user does not change during the session, even if the client reconnects.
        """
        return await asyncio.shield(self._user)

    async def credentials(self) -> "Credentials":
        """AWS credentials with the rights of the session's user: access_key, secret_key, token and
        expires_at, seconds since 1970.

        Needs a `user_role` in the app's table. Call it each time credentials are needed: they
        expire after 15 minutes and are renewed here in time, until the session ends. Raises
        `session_handler.credentials.CredentialsError` if there are none.
        """
        return await self._credentials()

    @property
    def pending(self) -> int:
        """Number of bytes that the client has not read yet; 0 while it is disconnected.

        `send` waits while this exceeds about 64 KiB. An app that prefers to skip a message checks
        it first.
        """
        return self._pending()

    async def send(self, message: dict[str, Any]) -> None:
        """Send the client `{"type": "app", **message}`; no effect while it is disconnected.

        Waits while the client is behind with reading. Raises ValueError or TypeError for values
        that are not JSON.
        """
        await self._send(message)

    async def publish(self, data: Any, *, partition_key: str | None = None) -> None:
        """Put a record into the deployment's stream, whose feed all its sessions receive, including
        this one.

        Needs `writes_feed = true` in the app's table. `data` is a JSON value of at most 64 KiB;
        records with the same `partition_key` (by default this session's id) keep their order. Waits
        until the record is accepted, which may take seconds if the stream is throttled; a record
        may arrive twice. Raises `session_handler.publishing.PublishError` if it was not accepted,
        ValueError or TypeError for other data.
        """
        await self._publish(data, partition_key or self.session_id)

    def close(self, reason: str = "") -> None:
        """End the session: the client receives a bye for `disconnected` with the reason as its
        detail, then `on_stop` is called. Returns at once.
        """
        self._close(reason)

    def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Call `work` every `seconds` until the session ends or the task is cancelled.

        Calls do not overlap; a long one delays the next. Exceptions of `work` end the session, like
        those of `on_record`. Raises TooManyTimersError.
        """

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                await work()

        return self._start(repeat())

    def after(self, seconds: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Call `work` once, after `seconds`; otherwise as `every`."""

        async def once() -> None:
            await asyncio.sleep(seconds)
            await work()

        return self._start(once())

    async def run_blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function (a computation, a library without async) in a thread, and await
        it.

        The client is served meanwhile. The end of the session does not wait for it.
        """
        return await asyncio.to_thread(function, *arguments)

    def cancel_timers(self) -> None:
        """Called by the container when the session has ended."""
        for timer in self._timers:
            timer.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if len(self._timers) >= MAX_TIMERS:
            work.close()
            raise TooManyTimersError(f"a session has at most {MAX_TIMERS} timers")
        timer = asyncio.get_running_loop().create_task(work)
        self._timers.add(timer)
        timer.add_done_callback(self._timer_ended)
        return timer

    def _timer_ended(self, timer: asyncio.Task[None]) -> None:
        self._timers.discard(timer)
        if not timer.cancelled() and (error := timer.exception()) is not None:
            self._fail(error)


class SessionApp:
    """Forwards every record. Override the methods that your users need.

    One instance lives as long as its session, also while the container waits for a disconnected
    client: its attributes are kept. The methods run on one event loop, and no method runs twice
    concurrently; while one awaits, another may run. They must not block: see
    `AppSession.run_blocking`. An exception ends the session: the client receives `app_failed`, and
    no other session is affected.
    """

    @property
    def forwards_everything(self) -> bool:
        """Whether records need not be passed to the app now, which is much cheaper."""
        return type(self).on_record is SessionApp.on_record

    async def on_start(self, session: AppSession) -> None:
        """Called once, when the client is connected, before the first record."""

    async def on_record(self, record: Record) -> Record | None:
        """Return what the client is to receive: the record, `record.with_data(…)`, or None."""
        return record

    async def on_message(self, message: dict[str, Any]) -> None:
        """Called with each message of the client, without its `type`."""

    async def on_stop(self, reason: str) -> None:
        """Called once, if `on_start` was, when the session ends with `reason` (see `Bye`)."""


def load_app(name: str | None) -> SessionApp:
    """Create the app in `module:Class`; by default the one with which clients filter.

    Raises AppError if the import, the class or its constructor fails.
    """
    name = name or DEFAULT_APP
    module_name, _, class_name = name.partition(":")
    try:
        app_class = getattr(importlib.import_module(module_name), class_name)
    except Exception as exc:
        raise AppError(f"SESSION_APP {name}: {type(exc).__name__}: {exc}") from exc
    if not (isinstance(app_class, type) and issubclass(app_class, SessionApp)):
        raise AppError(f"SESSION_APP {name}: not a subclass of session_handler.app.SessionApp")
    try:
        return app_class()
    except Exception as exc:
        raise AppError(f"SESSION_APP {name}: {type(exc).__name__}: {exc}") from exc
