"""The session's process: executes the protocol's actions with server, feed and callbacks."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.exceptions import ConnectionClosed

from chalicelib.contract import Bye, Callback
from session_handler import client_watch, messages, server
from session_handler.app import AppError, AppSession, SessionApp, load_app
from session_handler.callbacks import Callbacks
from session_handler.client_watch import ClientWatch, SilentClientError, SlowClientError
from session_handler.cursor import Cursor
from session_handler.delivery import AppFailedError, Delivery
from session_handler.faults import innermost, reason_of
from session_handler.feeds import open_feed
from session_handler.feeds.feed import Feed, FeedError
from session_handler.gate import Gate
from session_handler.loop_watch import watch_loop
from session_handler.protocol import (
    Action,
    Exit,
    Goodbye,
    Limits,
    Pause,
    Phase,
    Report,
    Session,
    Stream,
)
from session_handler.settings import Settings
from session_handler.user import User, read_user

if TYPE_CHECKING:
    from chalicelib.contract.sigv4 import Credentials
    from session_handler.credentials import CredentialCache
    from session_handler.publishing import Publisher
    from session_handler.traces import FirstRecord

SLOW_CLOSE_SECONDS = 60.0
"""A slow client's bye is behind unread data: the client may accept no byte for this long. A window
that opens by half of a buffer of 64 KiB at a time does so every 32 s at 1 KiB/s."""

APP_STOP_SECONDS = 2.0
"""Maximum duration of a session app's `on_stop`."""

log = logging.getLogger(__name__)


def _first_record(settings: Settings) -> "FirstRecord":
    from session_handler.traces import FirstRecord  # only if spans are sent

    endpoint = settings.traces_endpoint or ""
    return FirstRecord(endpoint, settings.session_id, settings.app_name)


class Container:
    """One session, from start to exit. Run it once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        limits = Limits(
            settings.connect_deadline_seconds,
            settings.reconnect_grace_seconds,
            settings.max_session_seconds,
        )
        self._session = Session(limits, self._loop.time())
        self._user: asyncio.Future[User] = self._loop.create_future()
        self._callbacks = Callbacks(
            settings.callback_url, settings.session_key, self._on_callback_answer
        )
        self._first_record: FirstRecord | None = None
        if settings.traces_endpoint:
            self._first_record = _first_record(settings)
        self._actions: asyncio.Queue[Action] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._feed: Feed | None = None
        self._app = SessionApp()
        self._app_session: AppSession | None = None
        self._websocket: server.Connection | None = None
        self._watch: ClientWatch | None = None
        self._is_replaced = False
        self._delivery: Delivery | None = None
        self._publisher: Publisher | None = None
        self._credentials: CredentialCache | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._start_cursor: str | None = None
        self._feed_has_started = False
        self._greeted = asyncio.Event()
        self._stop_reason = Bye.STOPPED.value
        self.port: int | None = None
        """Where it listens, once it does."""

    @property
    def is_over(self) -> bool:
        return self._session.phase is Phase.OVER

    @property
    def takes_clients(self) -> bool:
        return self._session.takes_clients

    async def run(self) -> int:
        """Serve the session to its end; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop)
        listening: Server | None = None
        preparing: asyncio.Task[None] | None = None
        watching: asyncio.Task[None] | None = None
        try:
            listening = await self._listen()
            preparing = self._loop.create_task(self._prepare())
            self._set_timer()
            if self._settings.app_class is not None:
                watching = self._loop.create_task(watch_loop())
        except OSError as exc:
            self._do(self._session.failed_to_start(f"cannot listen: {exc}"))
        try:
            return await self._carry_out()
        finally:
            for task in filter(None, (preparing, watching)):
                task.cancel()
            if listening is not None:
                listening.close()
            if self._feed is not None:
                self._feed.close()
            if self._publisher is not None:
                self._publisher.close()

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/healthz`; it contains no secrets."""
        phase = self._session.phase
        is_well = self._session.is_ready and phase is not Phase.OVER
        starts = phase is Phase.WAITING and not self._session.is_ready
        return 200 if is_well else 503, {
            "status": "starting" if starts else phase.value,
            "ready": self._session.is_ready,
            "connected": phase is Phase.CONNECTED,
            "feed": self._feed.health(self._loop.time()) if self._feed else None,
        }

    async def serve_client(self, websocket: server.Connection, cursor: Cursor | None) -> None:
        """Serve this client until the websocket is closed."""
        self._websocket = websocket
        self._watch = watch = ClientWatch(
            websocket,
            ping_interval_seconds=self._settings.ping_interval_seconds,
            ping_timeout_seconds=self._settings.ping_timeout_seconds,
        )
        self._is_replaced = False
        self._start_cursor = str(cursor) if cursor else None
        self._feed_has_started = False
        self._greeted.clear()
        self._do(self._session.client_arrived(cursor))
        # The end of receiving does not end the connection: an app may never return.
        receiving = self._loop.create_task(self._receive(websocket))
        watching = self._loop.create_task(self._watch_client(websocket, watch))
        try:
            await websocket.wait_closed()
        finally:
            receiving.cancel()
            watching.cancel()
            watch.stop()
            now = self._loop.time()
            left = self._session.client_replaced if self._is_replaced else self._session.client_left
            self._do(left(now))

    async def client_answers(self) -> bool:
        """Whether the connected client is alive."""
        if self._watch is None or self._session.phase is not Phase.CONNECTED:
            return True  # in its handshake, or about to be gone
        return await self._watch.answers()

    def replace_client(self) -> None:
        """Disconnect the present client: another one takes its place."""
        log.warning("the client does not answer, and another one came with its path")
        self._is_replaced = True
        if self._websocket is not None:
            client_watch.close_at_once(self._websocket)

    async def _watch_client(self, websocket: server.Connection, watch: ClientWatch) -> None:
        try:
            await watch.run()
        except SlowClientError as exc:
            self._client_is_slow(exc)
        except SilentClientError:
            log.warning("the client does not answer pings")
            code, reason = messages.CLOSE_INTERNAL_ERROR, "no pong in time"
            await client_watch.close(
                websocket, watch, code, reason, patience_seconds=server.CLOSE_SECONDS
            )

    def _client_is_slow(self, exc: BaseException) -> None:
        log.warning("the client is too slow: it %s", reason_of(exc))
        self._do(self._session.end(Bye.SLOW_CLIENT))

    async def _receive(self, websocket: ServerConnection) -> None:
        try:
            async for frame in websocket:
                message = messages.decode_client_message(frame)
                await self._greeted.wait()
                await self._tell_app(message)
        except ConnectionClosed as exc:
            log.info("the websocket was closed: %s", exc)
        except messages.BadMessageError as exc:
            log.warning("the client broke the contract: %s", exc)
            self._do(self._session.client_misbehaved(exc))
        except AppFailedError as exc:
            self._app_failed(exc)

    async def _tell_app(self, message: dict[str, Any]) -> None:
        try:
            await self._app.on_message(message)
        except Exception as exc:
            raise AppFailedError("on_message failed") from exc

    async def _listen(self) -> Server:
        gate = Gate(self._settings.uuid, self._settings.allowed_origins)
        listening = await server.listen(gate, self, self._settings)
        self.port = int(next(iter(listening.sockets)).getsockname()[1])
        log.info("listening on port %d", self.port)
        return listening

    async def _prepare(self) -> None:
        """Prepare to serve: load the app, find the stream."""
        try:
            self._app = load_app(self._settings.app_class)
            self._feed = open_feed(self._settings)
            if self._feed is not None:
                await self._feed.prepare()
        except (AppError, FeedError) as exc:
            # A traceback if the app's own code raised; configuration errors have none.
            raised = exc.__cause__ if isinstance(exc, AppError) else None
            log.error("cannot start: %s", exc, exc_info=raised)  # noqa: TRY400 - see above
            self._do(self._session.failed_to_start(str(exc)))
        except Exception:
            log.exception("cannot start")
            self._do(self._session.failed_to_start("internal error"))
        else:
            self._do(self._session.ready(self._loop.time()))

    def _stop(self) -> None:
        if self.is_over and self._websocket is not None:
            # A bye to a slow client may be in progress: there is no more time for it.
            self._websocket.transport.abort()
        self._do(self._session.end(Bye.STOPPED))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._actions.put_nowait(action)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._session.next_deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._do(self._session.deadline_reached(self._loop.time()))

    async def _carry_out(self) -> int:
        while True:
            match await self._actions.get():
                case Report() as report:
                    self._stop_reason = report.fields.get("reason", self._stop_reason)
                    if report.type is Callback.CONNECTED and self._first_record:
                        self._first_record.on_connected()
                    self._callbacks.add(report)
                case Stream() as stream if stream is self._session.stream:
                    self._streaming = self._loop.create_task(self._stream(stream))
                case Stream():
                    log.info("the client left before it was served")
                case Pause():
                    await self._stop_streaming()
                case Goodbye() as goodbye:
                    await self._stop_streaming()
                    await self._say_goodbye(goodbye)
                case Exit(code):
                    await self._stop_streaming()
                    await asyncio.gather(self._stop_app(), self._callbacks.finish())
                    if self._first_record:
                        await self._first_record.finish()
                    log.info("exiting with %d: %s", code, self._stop_reason)
                    return code

    async def _stream(self, stream: Stream) -> None:
        """Send hello and the feed to the client. Ends by cancellation or with the session."""
        websocket, watch = self._websocket, self._watch
        if websocket is None or watch is None:
            return
        cursor = stream.cursor
        if cursor is None and stream.resumes and self._delivery is not None:
            # The feed's position is that of the last sent record, which the client may not have
            # received.
            delivered = self._delivery.delivered_cursor()
            cursor = Cursor.parse(delivered) if delivered else None
        self._delivery = delivery = Delivery(
            websocket,
            self._app,
            watch,
            delivered=str(cursor) if cursor else None,
            on_records=self._first_record.on_record if self._first_record else None,
        )
        try:
            gone = await self._start_feed(cursor)
            await delivery.begin(self._hello(), self._cursor())
            await self._start_app()
            self._greeted.set()
            if self._feed is not None:
                await self._follow(self._feed, delivery, gone)
        except* ConnectionClosed:
            log.debug("the client went while it was sent something")
        except* FeedError as group:
            detail = reason_of(group)
            log.error("the feed failed: %s", detail)  # noqa: TRY400 - no fault of this code
            self._do(self._session.end(Bye.FEED_FAILED, detail))
        except* AppFailedError as group:
            self._app_failed(group)
        except* SlowClientError as group:
            self._client_is_slow(group)
        except* Exception as group:
            log.exception("streaming failed")
            detail = f"internal error: {type(innermost(group)).__name__}"
            self._do(self._session.end(Bye.FEED_FAILED, detail))

    async def _start_feed(self, cursor: Cursor | None) -> tuple[str, ...]:
        """Returns the shards whose history is missing."""
        if self._feed is None:
            return ()
        start = await self._feed.start(cursor)
        self._feed_has_started = True
        return start.gone

    async def _follow(self, feed: Feed, delivery: Delivery, gone: tuple[str, ...]) -> None:
        async def tell_gap(shards: tuple[str, ...]) -> None:
            await delivery.tell_gap(shards, feed.cursor)

        if gone:
            await tell_gap(gone)
        await feed.run(delivery.deliver, tell_gap)

    def _cursor(self) -> str | None:
        """Position from which another session would continue."""
        if self._feed is None or not self._feed_has_started:
            return self._start_cursor
        return self._feed.cursor

    def _hello(self) -> str:
        settings = self._settings
        return messages.hello(
            session=settings.session_id,
            app=settings.app_name,
            revision=settings.revision,
            feed=self._feed.kind if self._feed else None,
            grace_seconds=settings.reconnect_grace_seconds,
            cursor=self._cursor(),
        )

    async def _start_app(self) -> None:
        if self._app_session is not None:
            return
        settings = self._settings
        self._app_session = AppSession(
            settings.session_id,
            settings.app_name,
            settings.revision,
            send=self._send_app_message,
            close=lambda reason: self._do(self._session.end(Bye.DISCONNECTED, reason)),
            fail=self._timer_failed,
            user=self._user,
            pending=self._pending_bytes,
            publish=self._publish,
            credentials=self._user_credentials,
        )
        try:
            await self._app.on_start(self._app_session)
        except Exception as exc:
            raise AppFailedError("on_start failed") from exc

    async def _send_app_message(self, message: dict[str, Any]) -> None:
        text = messages.app(message)
        if self._websocket is not None:
            try:
                await self._websocket.send(text)
            except ConnectionClosed:
                log.debug("the client went before the app's message")

    async def _publish(self, data: Any, partition_key: str) -> None:
        from session_handler.publishing import Publisher, PublishError  # only where it is used

        if self._settings.feed_write_url is None:
            raise PublishError("NoRight", "the app's table in the apps file needs writes_feed")
        if self._publisher is None:
            self._publisher = Publisher(self._settings)
        await self._publisher.publish(data, partition_key)

    async def _user_credentials(self) -> "Credentials":
        from session_handler.credentials import (  # only where it is used
            CredentialCache,
            CredentialsError,
            CredentialSource,
        )

        if self._credentials is None:
            source = CredentialSource(
                url=self._settings.credentials_url,
                authorization=f"Bearer {self._settings.session_key}",
            )
            self._credentials = CredentialCache(source, time.time)
        found = await self._credentials.get()
        if found is None:
            raise CredentialsError("the app's table in the apps file needs a user_role")
        return found

    def _pending_bytes(self) -> int:
        if self._websocket is None or self._session.phase is not Phase.CONNECTED:
            return 0
        return self._websocket.transport.get_write_buffer_size()

    def _on_callback_answer(self, report: Report, body: bytes) -> None:
        if report.type is Callback.CONNECTED and not self._user.done():
            self._user.set_result(read_user(body))
            if self._first_record:
                self._first_record.on_answer(body)

    def _timer_failed(self, exc: BaseException) -> None:
        failure = AppFailedError("a timer failed")
        failure.__cause__ = exc
        self._app_failed(failure)

    def _app_failed(self, exc: BaseException) -> None:
        log.error("the session app failed", exc_info=exc)
        self._do(self._session.end(Bye.APP_FAILED, reason_of(exc)))

    async def _stop_app(self) -> None:
        if self._app_session is None:
            return
        self._app_session.cancel_timers()
        try:
            async with asyncio.timeout(APP_STOP_SECONDS):
                await self._app.on_stop(self._stop_reason)
        except Exception:
            log.exception("on_stop failed")

    async def _stop_streaming(self) -> None:
        if self._streaming is not None:
            self._streaming.cancel()
            await asyncio.wait({self._streaming}, timeout=APP_STOP_SECONDS)
            self._streaming = None

    async def _say_goodbye(self, goodbye: Goodbye) -> None:
        websocket, watch = self._websocket, self._watch
        if websocket is None or watch is None:
            return
        is_slow = goodbye.reason is Bye.SLOW_CLIENT
        await client_watch.close(
            websocket,
            watch,
            goodbye.code,
            goodbye.reason.value,
            bye=messages.bye(goodbye.reason, cursor=self._cursor(), detail=goodbye.detail),
            patience_seconds=SLOW_CLOSE_SECONDS if is_slow else server.CLOSE_SECONDS,
            waits_for_reader=is_slow,
            ends_at=self._session.ends_at if is_slow else None,
        )
