"""The SQS queues of jobs, one for each priority. A message is a knock at the door, no order.

Who waits, and in what order, is in the table; a message says that it is worth a look. So it does no
harm when one comes twice, late, or (the sweep looks every minute) not at all, and a critical
invocation does not wait behind the messages of a thousand others.
"""

import json
import logging
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.jobs.model import Priority

_log = logging.getLogger("usher.jobs")


@dataclass(frozen=True)
class Knock:
    """Look who waits. `invocation_id`: because of whom, if of one."""

    invocation_id: str | None = None
    comes_due: bool = False
    """It was deferred, and its time has come."""
    room_was_made: bool = False
    """Something ended, so there is room for the one at the head."""


class JobQueues:
    """Sends knocks. One that cannot be sent is logged and no error: the sweep comes by."""

    def __init__(self, sqs: Any, names: dict[Priority, str]) -> None:
        self._sqs = sqs
        self._names = names
        self._urls: dict[Priority, str] = {}

    def send(self, priority: Priority, knock: Knock, delay_seconds: int = 0) -> bool:
        """Knock at the queue of `priority`; whether it was sent."""
        body = json.dumps(message_of(knock))
        try:
            url = self._url(priority)
            self._sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay_seconds)
        except (BotoCoreError, ClientError) as error:
            _log.warning(
                "left to the sweep: %s could not be queued: %s",
                body,
                error,
                extra={"invocation": knock.invocation_id},
            )
            return False
        return True

    def _url(self, priority: Priority) -> str:
        if priority not in self._urls:
            answer = self._sqs.get_queue_url(QueueName=self._names[priority])
            self._urls[priority] = str(answer["QueueUrl"])
        return self._urls[priority]


def message_of(knock: Knock) -> dict[str, Any]:
    """A knock as its message's body has it."""
    return {
        "invocation": knock.invocation_id,
        "comesDue": knock.comes_due,
        "roomWasMade": knock.room_was_made,
    }


def read_knock(body: str) -> Knock:
    """The inverse of `message_of`. Raises ValueError for a message that is not ours."""
    message = json.loads(body)
    match message:
        case {"invocation": str() | None as invocation_id}:
            due, room = bool(message.get("comesDue")), bool(message.get("roomWasMade"))
            return Knock(invocation_id, due, room)
        case _:
            raise ValueError(f"not a message of the queues of jobs: {body[:100]}")
