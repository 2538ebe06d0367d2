"""Tests of session apps without a container: `open_session` runs an app as a container does.

    with open_session(Counter()) as session:
        session.put({"city": "Oslo"})
        assert session.records() == [{"city": "Oslo"}]

Everything happens in the caller's thread, on an event loop that runs while a method of the session
waits for the app; timers and tasks of the app continue with the next call.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalicelib.contract.sigv4 import Credentials
from session_handler.app import AppSession, SessionApp
from session_handler.feeds.records import Record
from session_handler.messages import app as app_message
from session_handler.user import User

PARTITION_KEY = "test"
WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.005


class OpenSession:
    """A session of one app. Created by `open_session`.

    Exceptions of the app are raised by the call that caused them; in a container they end the
    session.
    """

    def __init__(self, app: SessionApp, name: str, user: User) -> None:
        self.app = app
        self.session_id = str(uuid.uuid4())
        self._name = name
        self._user = user
        self._runner = asyncio.Runner()
        self._messages: list[dict[str, Any]] = []
        self._records: list[Any] = []
        self._published: list[Any] = []
        self._sequence = 0
        self._failure: BaseException | None = None
        self.closed_for: str | None = None
        """The reason for which the app closed the session; None while it did not."""

    def put(self, *data: Any, partition_key: str = PARTITION_KEY) -> None:
        """Deliver records by the feed; each value must be JSON and is a record's data."""
        for value in data:
            self._sequence += 1
            record = Record(
                json.loads(json.dumps(value)),
                None,
                partition_key=partition_key,
                sequence_number=str(self._sequence),
                subsequence=0,
                arrived_at=round(time.time() * 1000),
            )
            answer = self._run(self.app.on_record(record))
            if answer is not None:
                self._records.append(json.loads(answer.to_json())["data"])

    def put_file(self, path: str | Path) -> int:
        """Put each line of a file of JSON lines; returns their number.

        Raises ValueError with the number of a line that is not JSON.
        """
        count = 0
        with Path(path).open(encoding="utf-8") as lines:
            for count, line in enumerate(lines, 1):
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}:{count}: {error}") from error
                self.put(value)
        return count

    def send(self, message: dict[str, Any]) -> None:
        """Send a message of the client; its type is `app` in transit and is removed before the app
        receives it.

        Raises TypeError or ValueError for values that are not JSON.
        """
        received = json.loads(json.dumps(message, allow_nan=False))
        received.pop("type", None)
        self._run(self.app.on_message(received))

    def records(self) -> list[Any]:
        """The data of the records that the client received since the last call."""
        found, self._records = self._records, []
        return found

    def published(self) -> list[Any]:
        """The records that the app published to the stream since the last call. They are not
        delivered to it: use `put`.
        """
        found, self._published = self._published, []
        return found

    def messages(self) -> list[dict[str, Any]]:
        """The app's messages that the client received since the last call, without their `type`."""
        found, self._messages = self._messages, []
        return found

    def wait_for_message(self, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The app's next message that was not returned yet; waits for it.

        Raises TimeoutError.
        """

        async def wait() -> None:
            async with asyncio.timeout(seconds):
                while not self._messages:
                    await asyncio.sleep(_POLL_SECONDS)

        if not self._messages:
            self._run(wait())
        return self._messages.pop(0)

    def pass_time(self, seconds: float) -> None:
        """Run the app's timers and tasks for this long."""
        self._run(asyncio.sleep(seconds))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        answer = self._runner.run(work)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return answer

    def _start(self) -> None:
        async def send(message: dict[str, Any]) -> None:
            received = json.loads(app_message(message))
            del received["type"]
            self._messages.append(received)

        async def publish(data: Any, partition_key: str) -> None:
            del partition_key
            self._published.append(json.loads(json.dumps(data, allow_nan=False)))

        async def credentials() -> Credentials:
            return Credentials("test", "test", "test")

        user: asyncio.Future[User] = self._runner.get_loop().create_future()
        user.set_result(self._user)
        self._app_session = AppSession(
            self.session_id,
            self._name,
            "1",
            send=send,
            close=self._close,
            fail=self._fail,
            user=user,
            pending=lambda: 0,
            publish=publish,
            credentials=credentials,
        )
        self._run(self.app.on_start(self._app_session))

    def _stop(self, reason: str) -> None:
        self._app_session.cancel_timers()
        self._run(self.app.on_stop(reason))

    def _close(self, reason: str) -> None:
        if self.closed_for is None:
            self.closed_for = reason

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error


@contextmanager
def open_session(
    app: SessionApp,
    *,
    name: str = "test",
    user: User = User(owner="test"),  # noqa: B008 - frozen
    stop_reason: str = "disconnected",
) -> Iterator[OpenSession]:
    """Start the app for `user`, and stop it at the end with `stop_reason`, as after a client's
    disconnect.
    """
    session = OpenSession(app, name, user)
    with session._runner:
        session._start()
        try:
            yield session
        finally:
            session._stop(stop_reason)
