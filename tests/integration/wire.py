"""A layer between the AWS calls of a laboratory and its endpoint, which injects failures into
calls.

`DirectClient` has the serializer, the parser and the errors of a botocore client, without
botocore's HTTP layer, which takes three times as long as all of these, for each call of each story.
"""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlencode

from botocore.awsrequest import HeadersDict
from botocore.exceptions import ConnectionClosedError
from botocore.validate import ParamValidator

from local.aws.wire import Answer, Request, error_answer, identify
from tests.expressions import check_expressions

ATTEMPTS = 3
"""Number of attempts of boto3 where its client sets none; see `clients_for`."""
REPEATED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
}
"""Error codes of DynamoDB that botocore's standard mode retries."""
URL = "http://aws.invalid/"


class ProcessDiedError(BaseException):
    """The process has exited: no code catches this error, and the process makes no more calls."""


class Fate(Enum):
    """The injected fate of one AWS call."""

    FAILS = auto()
    """An error of the service, each time it is tried."""
    THROTTLED = auto()
    """Refused for its rate, each time it is tried."""
    OVER_CAPACITY = auto()
    """Refused for the capacity of its table, as DynamoDB does, each time it is tried."""
    OVER_LIMIT = auto()
    """Refused for the account's limit, as DynamoDB does, each time it is tried."""
    THROTTLED_ONCE = auto()
    """Throttled once; a transaction is cancelled for it."""
    CONFLICTS = auto()
    """Another transaction held an item, once."""
    REPLY_LOST_ONCE = auto()
    """Carried out, the reply lost; boto3 tries again and gets through."""
    REPLY_LOST = auto()
    """Carried out each time it is tried, every reply lost."""
    DIES_BEFORE = auto()
    """The process exits before the call is sent."""
    DIES_AFTER = auto()
    """The process exits after the call was carried out."""


@dataclass(frozen=True)
class Point:
    """The number of the AWS call, counted from now, that fails, and its fate."""

    number: int
    fate: Fate


class Wire:
    """Records the calls, and injects one fate."""

    def __init__(
        self,
        answer: Callable[[Request], Answer | None],
        check: Callable[[str, str, Mapping[str, Any]], None] = lambda *_: None,
    ) -> None:
        """`check` is called with the service, action and parameters of each call, before it."""
        self._answer = answer
        self.check = check
        self._of_thread = threading.local()
        self.reset(None)

    def reset(self, point: Point | None) -> None:
        """Restart the numbering of calls; a process that exited is followed by another."""
        self.calls: list[str] = []
        self.dead = False
        self.point = point
        self.struck = False
        self.meanwhile: tuple[int, Callable[[], None]] | None = None
        """An action of another process just before the call with this number; None once it has
        run.
        """

    def begin(self, call: str) -> None:
        """A call begins, which may be sent several times."""
        if self.dead:
            raise ProcessDiedError
        if self.meanwhile is not None and self.meanwhile[0] == len(self.calls) + 1:
            happen, self.meanwhile = self.meanwhile[1], None
            happen()
        self.calls.append(call)
        self._of_thread.number = len(self.calls)

    def send(self, request: Request) -> Answer:
        """Carry out the thread's last call, if its fate allows that."""
        if self.dead:
            raise ProcessDiedError
        if self.point is None or self.point.number != self._of_thread.number:
            return self._carry_out(request)
        return self._strike(request, self.point.fate)

    def _strike(self, request: Request, fate: Fate) -> Answer:
        first, self.struck = not self.struck, True
        match fate:
            case Fate.FAILS:
                return _refusal(request, 500, "InternalServerError")
            case Fate.THROTTLED:
                return _refusal(request, 400, "ThrottlingException")
            case Fate.OVER_CAPACITY:
                return _over_capacity(request)
            case Fate.OVER_LIMIT:
                return _refusal(request, 400, "RequestLimitExceeded")
            case Fate.THROTTLED_ONCE if first:
                return _canceled(request, "ThrottlingError", "ThrottlingException")
            case Fate.CONFLICTS if first:
                return _canceled(request, "TransactionConflict", "TransactionConflictException")
            case Fate.DIES_BEFORE:
                self.dead = True
                raise ProcessDiedError
        answer = self._carry_out(request)
        if fate is Fate.DIES_AFTER:
            self.dead = True
            raise ProcessDiedError
        if fate is Fate.REPLY_LOST or (fate is Fate.REPLY_LOST_ONCE and first):
            raise ConnectionClosedError(endpoint_url=URL)
        return answer

    def _carry_out(self, request: Request) -> Answer:
        if request.target.startswith("DynamoDB_"):
            check_expressions(request.body)
        answer = self._answer(request)
        if answer is None:
            raise ConnectionClosedError(endpoint_url=URL)
        return answer


class DirectClient:
    """Calls go from botocore's serializer to the wire, and from there to its parser.

    A call that fails is tried again as boto3 would, without its pauses.
    """

    def __init__(self, client: Any, wire: Wire) -> None:
        """`client` is the botocore client that this one replaces."""
        self._client = client
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        operation = self._client.meta.method_to_api_mapping.get(name)
        if operation is None:
            return getattr(self._client, name)
        call = partial(self._call, self._model.operation_model(operation))
        setattr(self, name, call)
        return call

    @cached_property
    def _model(self) -> Any:
        return self._client.meta.service_model

    def get_paginator(self, operation: str) -> Any:
        """Returns botocore's paginator, whose calls pass here, too."""
        paginator = self._client.get_paginator(operation)
        paginator._method = getattr(self, operation)
        return paginator

    def _call(self, operation: Any, **parameters: Any) -> dict[str, Any]:
        self._wire.begin(f"{self._model.endpoint_prefix}.{operation.name}")
        self._wire.check(self._model.service_name, operation.name, parameters)
        request = self._request(operation, parameters)
        attempts: int = self._client.meta.config.retries["total_max_attempts"]
        for attempt in range(1, attempts + 1):
            try:
                answer = self._wire.send(request)
            except ConnectionClosedError:
                if attempt == attempts:
                    raise
                continue
            if answer.status < 400 or not _is_repeated(answer):
                break
        return self._parsed(operation, answer, retries=attempt - 1)

    def _request(self, operation: Any, parameters: dict[str, Any]) -> Request:
        for name in operation.idempotent_members:
            parameters.setdefault(name, str(uuid.uuid4()))
        report = ParamValidator().validate(parameters, operation.input_shape)
        assert not report.has_errors(), f"{operation.name}: {report.generate_report()}"
        made = self._client._serializer.serialize_to_request(parameters, operation)
        body = made["body"]
        if isinstance(body, dict):
            body = urlencode(body)
        scope = f"local/20231114/us-east-1/{self._model.signing_name}/aws4_request"
        headers = {name.lower(): str(value) for name, value in made["headers"].items()}
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, Signature=0"
        content = body.encode() if isinstance(body, str) else bytes(body)
        return Request(made["method"], "/", headers, content)

    def _parsed(self, operation: Any, answer: Answer, retries: int) -> dict[str, Any]:
        raw = {
            "status_code": answer.status,
            "headers": HeadersDict(answer.headers),
            "body": answer.body,
            "context": {"operation_name": operation.name},
        }
        parse = self._client._response_parser.parse
        parsed: dict[str, Any] = parse(raw, operation.output_shape)
        parsed["ResponseMetadata"]["RetryAttempts"] = retries
        if answer.status >= 300:
            code = parsed.get("Error", {}).get("Code")
            shape = self._model.shape_for_error_code(code)
            if shape is not None:
                parsed |= parse(raw, shape) | {"ResponseMetadata": parsed["ResponseMetadata"]}
            raise self._client.exceptions.from_code(code)(parsed, operation.name)
        return parsed


def _is_repeated(answer: Answer) -> bool:
    """Whether botocore's standard mode sends the call again."""
    return answer.status >= 500 or any(
        f'"__type": "{code}"'.encode() in answer.body for code in REPEATED
    )


def _refusal(request: Request, status: int, code: str, **more: Any) -> Answer:
    call = identify(request)
    if call.service == "ec2":
        return error_answer(call, code, "injected", status)
    body = json.dumps({"__type": code, "message": "injected", **more})
    return Answer(status, {}, body.encode())


def _over_capacity(request: Request) -> Answer:
    code = "ProvisionedThroughputExceeded"
    return _canceled(request, code, f"{code}Exception")


def _canceled(request: Request, reason: str, code: str) -> Answer:
    """A transaction is cancelled for a reason; a call about one item is refused with a code."""
    items = json.loads(request.body).get("TransactItems")
    if items is None:
        return _refusal(request, 400, code)
    reasons = [{"Code": reason} for _ in items]
    return _refusal(request, 400, "TransactionCanceledException", CancellationReasons=reasons)
