"""Refuses requests that their service's model does not allow, as AWS's front ends do.

The models are botocore's. Unknown members are ignored, as in AWS's JSON protocols ("should not fail
on unknown fields": https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html, "unknown
members" of its protocol tests); boto3 itself refuses them before it sends a request. Requests of
query and XML protocols are not checked.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import OperationModel

from local.aws.constraints import (
    ConstraintError,
    TypeOfValueError,
    check_constraints,
    operation_model,
)
from local.aws.wire import Answer, Call, Protocol, Request, error_answer

CODES = {
    "dynamodb": "ValidationException",
    "ecs": "InvalidParameterException",
    "events": "ValidationException",
    "kinesis": "ValidationException",
    "logs": "InvalidParameterException",
    "scheduler": "ValidationException",
    "secretsmanager": "ValidationException",
}
"""The code for a value that the model does not allow, by service: each API reference's errors."""
MISSING = {"sqs": "MissingParameter"}
"""The code for a missing member, if a service has a specific one. SQS's model has no constraints,
and invalid names of attributes are refused by the service (InvalidAttributeName):
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html"""
SERIALIZATION = "SerializationException"


def refusal_by_model(call: Call, request: Request) -> Answer | None:
    """The answer to a request that the model of its service does not allow; None = it does, or
    this service's requests are not checked.
    """
    if call.protocol is not Protocol.JSON or call.service not in CODES | MISSING:
        return None
    operation = operation_model(call.service, call.action)
    if operation is None:
        return None
    try:
        parameters = parameters_of(operation, request)
        check_constraints(operation, parameters)
    except TypeOfValueError as error:
        return error_answer(call, SERIALIZATION, str(error), 400)
    except ConstraintError as error:
        return _refusal(call, error)
    return None


def _refusal(call: Call, error: ConstraintError) -> Answer | None:
    if call.service in CODES:
        return error_answer(call, CODES[call.service], str(error), 400)
    if not error.missing:
        return None
    message = f"The request must contain the parameter {error.missing[0]}."
    return error_answer(call, MISSING[call.service], message, 400)


def parameters_of(operation: OperationModel, request: Request) -> Any:
    """The parameters of a request, those of path and query too, as its model names them.

    Raises TypeOfValueError for a body that is not JSON, or a number in the query that is none.
    """
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        raise TypeOfValueError("the body is not JSON") from None
    if operation.service_model.metadata["protocol"] != "rest-json" or not isinstance(body, dict):
        return body
    return body | _of_path_and_query(operation, request)


def _of_path_and_query(operation: OperationModel, request: Request) -> dict[str, Any]:
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.http["requestUri"].split("?")[0])
    matched = re.fullmatch(pattern, request.path)
    of_path = matched.groupdict() if matched else {}
    of_query = dict(parse_qsl(request.query))
    sources: Mapping[str, dict[str, str]] = {"uri": of_path, "querystring": of_query}
    found: dict[str, Any] = {}
    for name, member in operation.input_shape.members.items():
        given = sources.get(member.serialization.get("location", ""), {})
        text = given.get(member.serialization.get("name", name))
        if text is not None:
            found[name] = _number(text) if member.type_name == "integer" else unquote(text)
    return found


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise TypeOfValueError(f"{text!r} can not be converted to integer") from None
