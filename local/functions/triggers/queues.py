"""Lambda's event source for SQS: polls a queue and passes batches to its function.

The batch of a successful function is deleted; other batches become visible again after the
visibility timeout, and are moved according to the queue's redrive policy after too many tries. Of
an event source with ReportBatchItemFailures, messages that the function names become visible again,
and the others are deleted.
"""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.functions.dispatcher_process import UnreachableError
from local.functions.triggers.delivery import Invoker

LONG_POLL_SECONDS = 20
"""Duration of a poll, as on AWS. The end of the local cloud does not wait for it."""

POLLERS = 5
"""Lambda starts with five for each queue."""

PAUSE_SECONDS = 1.0
"""Pause after an error of the queue itself."""

log = logging.getLogger(__name__)


def queue_event(messages: Sequence[Mapping[str, Any]], queue_arn: str) -> dict[str, Any]:
    """The event of one batch, as Lambda's SQS event source writes it."""
    region = queue_arn.split(":")[3]
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {
                    name: _attribute(value)
                    for name, value in message.get("MessageAttributes", {}).items()
                },
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": region,
            }
            for message in messages
        ]
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    names = {"StringValue": "stringValue", "BinaryValue": "binaryValue", "DataType": "dataType"}
    return {names[key]: inner for key, inner in value.items() if key in names}


class QueuePollers:
    """The pollers of one queue."""

    def __init__(
        self,
        sqs: Callable[[], Any],
        invoker: Invoker,
        function: str,
        settings: Mapping[str, Any],
        lookup: Callable[[], Any] | None = None,
    ) -> None:
        """`sqs()` returns a boto3 client with the function's rights, `lookup()` one that may look
        up the queue's URL, which on AWS is known when the event source is created. `settings`: see
        `local.functions.registry`.
        """
        self._sqs = sqs
        self._lookup = lookup or sqs
        self._invoker = invoker
        self._function = function
        self._queue: str = settings["queue"]
        self._reports_failures: bool = settings.get("reports_failures", False)
        self._batch: int = min(settings["batch_size"], 10)  # maximum of one ReceiveMessage
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"queue-{self._queue}-{n}", daemon=True)
            for n in range(min(settings.get("maximum_concurrency") or POLLERS, POLLERS))
        ]

    def start(self) -> None:
        """Poll from now on."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Poll no more."""
        self._closed.set()

    def _run(self) -> None:
        sqs = self._sqs()
        where: tuple[str, str] | None = None
        while not self._closed.is_set():
            try:
                where = where or self._find(sqs)
                self._poll(sqs, *where)
            except (BotoCoreError, ClientError) as error:
                if not self._closed.is_set():
                    log.warning("queue %s: %s", self._queue, error)
                self._closed.wait(PAUSE_SECONDS)

    def _find(self, sqs: Any) -> tuple[str, str]:
        url = self._lookup().get_queue_url(QueueName=self._queue)["QueueUrl"]
        names = ["QueueArn"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return url, attributes["QueueArn"]

    def _poll(self, sqs: Any, url: str, arn: str) -> None:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=self._batch,
            WaitTimeSeconds=LONG_POLL_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages or self._closed.is_set():
            return
        try:
            outcome = self._invoker.invoke(self._function, queue_event(messages, arn))
        except UnreachableError as error:
            log.warning("%s; the batch comes back after its visibility timeout", error)
            return
        if outcome.error is not None:
            return
        done = messages
        if self._reports_failures:
            failed = failed_messages(outcome.payload, {each["MessageId"] for each in messages})
            done = [each for each in messages if each["MessageId"] not in failed]
        if done:
            sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                    for n, message in enumerate(done)
                ],
            )


def failed_messages(answer: Any, message_ids: Collection[str]) -> set[str]:
    """The messages of a batch that failed, by a function's answer. Pure.

    No answer, an empty one and an empty list mean success. An answer of another form, and an
    identifier that is empty or of no message of the batch, mean that the whole batch failed.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    everything = set(message_ids)
    if answer is None or answer == {}:
        return set()
    match answer:
        case {"batchItemFailures": list() | None as named}:
            pass
        case _:
            return everything
    failed = set()
    for each in named or ():
        identifier = each.get("itemIdentifier") if isinstance(each, Mapping) else None
        if identifier not in everything:
            return everything
        failed.add(identifier)
    return failed
