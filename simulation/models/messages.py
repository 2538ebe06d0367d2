"""SQS, in the shape of a boto3 client: messages reach their function after their delay."""

from collections.abc import Callable
from typing import Any

from simulation.meter import Meter
from simulation.models.latencies import Latencies
from simulation.virtual_time import VirtualTime


class MessagesModel:
    """The queue of launches."""

    def __init__(self, time: VirtualTime, meter: Meter, latencies: Latencies) -> None:
        self._time = time
        self._meter = meter
        self._latencies = latencies
        self._waiting = 0
        self.on_message: Callable[[str], None] = lambda _: None
        self.on_message_of: Callable[[str, str], None] = lambda _, body: self.on_message(body)
        """Gets the queue's name and the body."""

    def get_queue_url(self, QueueName: str) -> dict[str, str]:  # noqa: N803 - boto3's
        """The name, as its URL."""
        return {"QueueUrl": QueueName}

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> None:  # noqa: N803
        """Deliver a message after its delay."""
        self._meter.add("messages")
        self._waiting += 1

        def deliver() -> None:
            self._waiting -= 1
            self.on_message_of(QueueUrl, MessageBody)

        self._time.later(DelaySeconds + self._latencies.message, deliver)

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        """How many messages wait."""
        self._time.sleep(self._latencies.message)
        return {"Attributes": {"ApproximateNumberOfMessages": str(self._waiting)}}
