"""Rules of SQS that moto does not keep: what a message may be, and the bounds of settings.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html and
API_SetQueueAttributes.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from local.aws.wire import Answer, Call, Protocol, Request, error_answer

MAX_DELAY_SECONDS = 900
BOUNDS = {
    "DelaySeconds": (0, MAX_DELAY_SECONDS),
    "MaximumMessageSize": (1_024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
"""Least and greatest value of each numeric attribute of a queue."""
_NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def refusal(call: Call, request: Request) -> Answer | None:
    """The refusal of what breaks a rule of SQS; None = moto answers."""
    if call.protocol is not Protocol.JSON:
        return None
    parameters = json.loads(request.body or b"{}")
    found = None
    if call.action == "SendMessage":
        found = _of_a_message(parameters)
    elif call.action in {"SetQueueAttributes", "CreateQueue"}:
        found = _of_attributes(parameters.get("Attributes") or {})
    return found and error_answer(call, *found, 400)


def _of_a_message(parameters: Mapping[str, Any]) -> tuple[str, str] | None:
    body, delay = parameters["MessageBody"], parameters.get("DelaySeconds") or 0
    if not body:
        return "MissingParameter", "The request must contain the parameter MessageBody."
    if found := _NOT_ALLOWED.search(body):
        message = (
            f"Invalid binary character '#x{ord(found[0]):X}' was found in the message body, the "
            "set of allowed characters is #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
            "#x10000 to #x10FFFF"
        )
        return "InvalidMessageContents", message
    if not 0 <= delay <= MAX_DELAY_SECONDS:
        message = (
            f"Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be "
            f">= 0 and <= {MAX_DELAY_SECONDS}."
        )
        return "InvalidParameterValue", message
    return None


def _of_attributes(attributes: Mapping[str, str]) -> tuple[str, str] | None:
    for name, value in attributes.items():
        least, greatest = BOUNDS.get(name, (None, None))
        if least is None or greatest is None:
            continue
        if not (re.fullmatch("[0-9]{1,10}", value) and least <= int(value) <= greatest):
            return "InvalidAttributeValue", f"Invalid value for the parameter {name}."
    return None
