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
    """SESSION_APP names no usable class; the message is for people."""


class TooManyTimersError(Exception):
    """A session app has as many timers as it may have."""


class AppSession:
    """What a session app may know of its session, and do to its client.

    The app calls its methods on the event loop's thread; `log` on any.
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
        """What has no name in the container's environment is the container's: `fail` takes what a
        timer raised, `user` is known once the dispatcher said it.
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

        The dispatcher says it when the client is connected, usually at once; while that does not
        answer, this waits. It is the same for the whole session, reconnects included.
        """
        return await asyncio.shield(self._user)

    async def credentials(self) -> "Credentials":
        """AWS credentials with the rights of the session's user: access_key, secret_key, token and
        expires_at, seconds since 1970.

        Needs a `user_role` in the app's table. Ask each time they are needed: they end after 15
        minutes and are renewed here in time, until the session is over. Raises
        `session_handler.credentials.CredentialsError` where there are none.
        """
        return await self._credentials()

    @property
    def pending(self) -> int:
        """How many bytes wait for the client to read them; 0 while it is away.

        `send` waits while these are more than 64 KiB or so. Who would rather leave a message out
        than wait looks here first.
        """
        return self._pending()

    async def send(self, message: dict[str, Any]) -> None:
        """Send the client `{"type": "app", **message}`; nothing happens while it is away.

        Waits while the client is behind with reading. Raises ValueError or TypeError for what JSON
        cannot express.
        """
        await self._send(message)

    async def publish(self, data: Any, *, partition_key: str | None = None) -> None:
        """Put a record into the deployment's stream, whose feed all its sessions see, this one too.

        Needs `writes_feed = true` in the app's table. `data` is a JSON value of at most 64 KiB;
        records of one `partition_key`, this session's id without one, keep their order. Waits
        until the record is taken, which may take seconds where the stream is busy; a record may
        arrive twice. Raises `session_handler.publishing.PublishError` where it was not taken,
        ValueError or TypeError for other data.
        """
        await self._publish(data, partition_key or self.session_id)

    def close(self, reason: str = "") -> None:
        """End the session: the client gets a bye for `disconnected` with the reason as its detail,
        then `on_stop` is called. Returns at once.
        """
        self._close(reason)

    def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Call `work` every so many seconds until the session ends, or the task is cancelled.

        Turns do not overlap; one that takes longer delays the next. What `work` raises ends the
        session like an exception of `on_record`. Raises TooManyTimersError.
        """

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                await work()

        return self._start(repeat())

    def after(self, seconds: float, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Call `work` once, after so many seconds; otherwise as `every`."""

        async def once() -> None:
            await asyncio.sleep(seconds)
            await work()

        return self._start(once())

    async def run_blocking(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks (a computation, a library without async) in a thread, and await it.

        While it runs the client is served. A session that ends does not wait for it.
        """
        return await asyncio.to_thread(function, *arguments)

    def cancel_timers(self) -> None:
        """For the container: the session is over."""
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
    """Forwards every record. Override what your users need.

    One instance lives as long as its session, also while a client that lost its line is waited
    for: what is in `self` is there when it comes back. The methods run on one event loop, and one
    of them never runs twice at the same time; while one awaits, another one may run. They must not
    block: see `AppSession.run_blocking`. An exception ends the session: the client receives
    `app_failed`, and no other session is touched.
    """

    @property
    def forwards_everything(self) -> bool:
        """Whether records need not be shown to the app now, which is much cheaper."""
        return type(self).on_record is SessionApp.on_record

    async def on_start(self, session: AppSession) -> None:
        """Called once, when the client is there, before the first record."""

    async def on_record(self, record: Record) -> Record | None:
        """Return what the client shall get: the record, `record.with_data(…)`, or None."""
        return record

    async def on_message(self, message: dict[str, Any]) -> None:
        """Called with each message of the client, without its `type`."""

    async def on_stop(self, reason: str) -> None:
        """Called once, if `on_start` was, when the session ends for `reason` (see `Bye`)."""


def load_app(name: str | None) -> SessionApp:
    """Make the app that `module:Class` names; the one that clients may filter with, without.

    Raises AppError when the module, the class or the making of it fails.
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
