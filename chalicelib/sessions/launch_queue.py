"""The SQS queue of what has to be started later: sessions that wait, pools to be filled."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.logs import fields_in

_log = logging.getLogger("usher.sessions")


@dataclass(frozen=True)
class LaunchAgain:
    """A session that waits for capacity; `tries` counts its RunTask calls, the coming one too."""

    session_id: str
    tries: int


@dataclass(frozen=True)
class Tend:
    """A pool somebody has to look after. `claimed`: because one of its app found its user."""

    app: str
    claimed: bool = False
    again: bool = False


class LaunchQueue:
    """Sends the queue's messages, which arrive at least once and in any order, like SQS's own.

    A message that cannot be sent is logged and no error: what waits for it is in the table, and
    the sweep finds it there.
    """

    def __init__(self, sqs: Any, name: str) -> None:
        self._sqs = sqs
        self._name = name
        self._url: str | None = None

    def launch(self, session_id: str, tries: int, delay_seconds: int) -> None:
        """Have the session launched after a delay."""
        self._send({"session": session_id, "tries": tries}, delay_seconds)

    def tend(
        self, app: str, *, claimed: bool = False, again: bool = False, delay_seconds: int = 0
    ) -> None:
        """Have the pool of `app` looked after."""
        self._send({"tend": app, "claimed": claimed, "again": again}, delay_seconds)

    def waiting(self) -> int:
        """About how many messages wait; 0 where nobody knows."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        try:
            answer = self._sqs.get_queue_attributes(QueueUrl=self._own_url(), AttributeNames=names)
        except (BotoCoreError, ClientError) as error:
            _log.warning("nobody knows what waits in the launch queue: %s", error)
            return 0
        return sum(int(value) for value in answer.get("Attributes", {}).values())

    def _send(self, message: dict[str, Any], delay_seconds: int) -> None:
        body = json.dumps(message)
        try:
            url = self._own_url()
            self._sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay_seconds)
        except (BotoCoreError, ClientError) as error:
            told = fields_in({"app": message.get("tend"), **message})
            _log.warning("left to the sweep: %s could not be queued: %s", body, error, extra=told)

    def _own_url(self) -> str:
        if self._url is None:
            self._url = str(self._sqs.get_queue_url(QueueName=self._name)["QueueUrl"])
        return self._url


def read_message(body: str) -> LaunchAgain | Tend:
    """What a message of the queue asks for. Raises ValueError for one that is not ours."""
    message = json.loads(body)
    match message:
        case {"session": str(session_id), "tries": int(tries)}:
            return LaunchAgain(session_id, tries)
        case {"tend": str(app)}:
            return Tend(app, bool(message.get("claimed")), bool(message.get("again")))
        case _:
            raise ValueError(f"not a message of the launch queue: {body[:100]}")
