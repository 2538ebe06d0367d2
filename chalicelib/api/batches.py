"""Batches of SQS messages, of which each succeeds or fails by itself.

Lambda deletes the messages that the answer does not name; those named become visible again, and go
to the dead letters after the queue's tries. It reads the answer where the event source has
ReportBatchItemFailures; see `infra.deploy.finish`.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from chalice.app import SQSEvent

from chalicelib.errors import UsherError
from chalicelib.logs import fields_in

Result = TypeVar("Result")
BatchFailures = dict[str, list[dict[str, str]]]
"""The answer to Lambda: `batchItemFailures` with the `itemIdentifier` of each failed message."""
MAY_FAIL = (ValueError, UsherError, BotoCoreError, ClientError)
"""Errors of one message: it cannot be read, or its record cannot be written now."""

_log = logging.getLogger("usher.queues")


def carry_out_each(
    event: SQSEvent, carry_out: Callable[[str], Result]
) -> tuple[list[Result], list[str]]:
    """Call `carry_out` with the body of each message: the results, and the ids of messages whose
    call failed. A failure is logged, and leaves the other messages alone.
    """
    results, failed = [], []
    for record in event:
        try:
            results.append(carry_out(record.body))
        except MAY_FAIL:
            message_id = record.to_dict()["messageId"]
            extra = _fields(record.body)
            _log.exception("message %s failed and comes back", message_id, extra=extra)
            failed.append(message_id)
    return results, failed


def _fields(body: str) -> dict[str, Any]:
    """The fields of a message for a log record; none if it cannot be read."""
    try:
        message = json.loads(body)
    except ValueError:
        return {}
    return fields_in(message) if isinstance(message, dict) else {}


def batch_failures(message_ids: Sequence[str]) -> BatchFailures:
    """The answer to Lambda: these messages failed, the others of the batch succeeded."""
    return {"batchItemFailures": [{"itemIdentifier": each} for each in message_ids]}
