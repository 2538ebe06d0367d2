"""SQS queues by name. Messages arrive at least once and in any order.

The table has the work; a message only makes it start soon. A message that cannot be sent is logged
and not an error, because the sweep finds the work.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.logs import fields_in

MAX_DELAY_SECONDS = 900
"""Maximum of SQS's DelaySeconds."""

_log = logging.getLogger("usher.queues")


class Queues:
    """Sends messages through a boto3 SQS client; reads each queue's URL once."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self._urls: dict[str, str] = {}
        self._arns: dict[str, str] = {}

    def send(self, queue: str, message: Mapping[str, Any], delay_seconds: int = 0) -> bool:
        """Send a message as JSON; returns whether it was sent."""
        body = json.dumps(message)
        try:
            self._sqs.send_message(
                QueueUrl=self.url(queue), MessageBody=body, DelaySeconds=delay_seconds
            )
        except (BotoCoreError, ClientError) as error:
            fields = fields_in({"app": message.get("tend"), **message})
            _log.warning("left to the sweep: %s could not be queued: %s", body, error, extra=fields)
            return False
        return True

    def waiting(self, queue: str) -> int:
        """The approximate number of messages; 0 if SQS does not answer."""
        try:
            return self.count(queue)
        except (BotoCoreError, ClientError) as error:
            _log.warning("it is not known what waits in %s: %s", queue, error)
            return 0

    def count(self, queue: str) -> int:
        """The approximate number of messages. Raises botocore's errors."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.url(queue), AttributeNames=names)
        return sum(int(value) for value in found.get("Attributes", {}).values())

    def url(self, queue: str) -> str:
        """The URL of a queue. Raises botocore's errors."""
        if queue not in self._urls:
            self._urls[queue] = str(self._sqs.get_queue_url(QueueName=queue)["QueueUrl"])
        return self._urls[queue]

    def arn(self, queue: str) -> str:
        """The ARN of a queue. Raises botocore's errors."""
        if queue not in self._arns:
            url, names = self.url(queue), ["QueueArn"]
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
            self._arns[queue] = str(found["Attributes"]["QueueArn"])
        return self._arns[queue]
