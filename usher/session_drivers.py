"""Executes the steps of `usher.session_steps`, in threads or with asyncio."""

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from usher.errors import AnswerError, UsherError
from usher.session_steps import (
    Ask,
    Batch,
    Deliver,
    Gap,
    Hang,
    LostError,
    Open,
    Pause,
    Receive,
    Send,
    State,
    Step,
    Steps,
)
from usher.transport import Transport

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as AsyncConnection
    from websockets.sync.client import ClientConnection

OPEN_SECONDS = 15.0
PONG_SECONDS = 60.0
"""Maximum time for which a consumer may process buffered data before its connection counts as
dead."""
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class ClosedError(Exception):
    """`close` has closed this end."""


class OverError(Exception):
    """The steps are done, with a result."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


class Driver:
    """Executes steps in the calling thread."""

    def __init__(self, transport: Transport, steps: Steps) -> None:
        self._transport = transport
        self._steps = steps
        self._connection: ClientConnection | None = None
        self._woken = threading.Event()
        self._is_closed = False
        self._answer: Any = None
        self._error: Exception | None = None

    def next(self) -> Batch | Gap | State:
        """The next delivery. Raises OverError, ClosedError and errors of the steps."""
        while True:
            step = _advance(self._steps, self._answer, self._error)
            self._answer = self._error = None
            if isinstance(step, Deliver):
                return step.item
            if self._is_closed:
                raise ClosedError
            try:
                self._answer = self._do(step)
            except (UsherError, LostError) as error:
                self._error = error
            if self._is_closed:
                raise ClosedError

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._is_closed = True
        self.wake()
        self._hang()

    def _do(self, step: Step) -> Any:
        match step:
            case Ask():
                return self._transport.call("GET", step.path, headers=step.headers)
            case Pause():
                self._woken.wait(step.seconds)
                self._woken.clear()
            case Open():
                self._connection = _open(step.url)
            case Send() | Receive():
                return self._exchange(step)
            case Hang():
                self._hang()
        return None

    def _exchange(self, step: Send | Receive) -> Any:
        from websockets.exceptions import ConnectionClosed

        if self._connection is None:
            raise LostError
        try:
            if isinstance(step, Send):
                return self._connection.send(step.text)
            return self._connection.recv(step.seconds)
        except (ConnectionClosed, TimeoutError) as error:
            raise LostError(str(error)) from error

    def _hang(self) -> None:
        if self._connection is not None:
            self._connection.close()


class AsyncDriver:
    """Executes steps with asyncio; requests in threads, because they are short."""

    def __init__(self, transport: Transport, steps: Steps) -> None:
        self._transport = transport
        self._steps = steps
        self._connection: AsyncConnection | None = None
        self._woken = asyncio.Event()
        self._is_closed = False
        self._answer: Any = None
        self._error: Exception | None = None
        self._task: asyncio.Task[Any] | None = None

    async def next(self) -> Batch | Gap | State:
        """The next delivery. Raises OverError, ClosedError and errors of the steps."""
        while True:
            step = _advance(self._steps, self._answer, self._error)
            self._answer = self._error = None
            if isinstance(step, Deliver):
                return step.item
            if self._is_closed:
                raise ClosedError
            self._task = asyncio.ensure_future(self._do(step))
            try:
                self._answer = await self._task
            except (UsherError, LostError) as error:
                self._error = error
            except asyncio.CancelledError:
                if not self._is_closed or _is_being_cancelled():
                    raise  # the caller was cancelled, not the step
                raise ClosedError from None

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        """Begin to close; `aclose` completes it at the end of the iteration."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        self.close()
        await self._hang()

    async def _do(self, step: Step) -> Any:
        match step:
            case Ask():
                call = self._transport.call
                return await asyncio.to_thread(call, "GET", step.path, None, step.headers)
            case Pause():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), step.seconds)
                self._woken.clear()
            case Open():
                self._connection = await _open_async(step.url)
            case Send() | Receive():
                return await self._exchange(step)
            case Hang():
                await self._hang()
        return None

    async def _exchange(self, step: Send | Receive) -> Any:
        from websockets.exceptions import ConnectionClosed

        if self._connection is None:
            raise LostError
        try:
            if isinstance(step, Send):
                return await self._connection.send(step.text)
            return await asyncio.wait_for(self._connection.recv(), step.seconds)
        except (ConnectionClosed, TimeoutError) as error:
            raise LostError(str(error)) from error

    async def _hang(self) -> None:
        if self._connection is not None:
            await self._connection.close()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _advance(steps: Steps, answer: Any, error: Exception | None) -> Step:
    try:
        return steps.send(answer) if error is None else steps.throw(error)
    except StopIteration as stop:
        raise OverError(stop.value) from None


def _settings() -> dict[str, Any]:
    """Settings of a connection, for both clients of websockets."""
    return {
        "max_size": MAX_MESSAGE_BYTES,
        "open_timeout": OPEN_SECONDS,
        "close_timeout": 1.0,
        "ping_timeout": PONG_SECONDS,
        "compression": None,
    }


def _open(url: str) -> "ClientConnection":
    try:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect
    except ImportError:
        raise _no_websockets() from None
    try:
        # Entered, as later versions of websockets require; the driver closes it.
        connection: ClientConnection = connect(url, **_settings()).__enter__()
    except InvalidStatus as error:
        raise _refused(error.response.status_code, error.response.body) from None
    except (OSError, WebSocketException, TimeoutError) as error:
        raise LostError(f"no connection to the container: {error}") from error
    return connection


async def _open_async(url: str) -> "AsyncConnection":
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
    except ImportError:
        raise _no_websockets() from None
    try:
        # The steps decide about repetitions; there are no redirects.
        return await connect(url, **_settings())
    except InvalidStatus as error:
        raise _refused(error.response.status_code, error.response.body) from None
    except (OSError, WebSocketException, TimeoutError) as error:
        raise LostError(f"no connection to the container: {error}") from error


def _refused(status: int, body: bytes | bytearray | None) -> Exception:
    """The error of a refused handshake: a 400 concerns the cursor and is final for all
    containers.
    """
    if status != 400:
        return LostError(f"no connection to the container: HTTP {status}")
    text = (body or b"")[:200].decode("utf-8", "replace").strip()
    return AnswerError(status, "bad_cursor", f"the container refuses the cursor: {text}")


class MissingPackageError(UsherError):
    """The package for connecting to sessions is not installed."""


def _no_websockets() -> MissingPackageError:
    return MissingPackageError(
        "connecting to sessions needs a package: pip install 'usher-containers[sessions]'"
    )
