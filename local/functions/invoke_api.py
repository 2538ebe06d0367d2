"""Lambda's Invoke API for the functions of one Chalice app.

POST /2015-03-31/functions/NAME/invocations   run it; X-Amz-Invocation-Type "RequestResponse"
GET  /2015-03-31/functions                    all functions, each with its event source
GET  /2015-03-31/environments                 the processes of each function; not Lambda's own
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from chalice.local import LambdaContext

from local.aws.wire import Answer, Request, json_answer
from local.functions.payloads import (
    Outcome,
    RequestTooLargeError,
    TooManyRequestsError,
    check_request,
    limited,
)
from local.functions.registry import Function

BASE = "/2015-03-31/functions"
ENVIRONMENTS = "/2015-03-31/environments"
DEFAULT_TIMEOUT_SECONDS = 60
DEFAULT_MEMORY_MIB = 128

log = logging.getLogger(__name__)


class InThisProcess:
    """Runs functions right here, all in one process. `timeout` in seconds and `memory` in MiB as
    configured, or None.
    """

    def __init__(
        self, functions: Mapping[str, Function], timeout: int | None, memory: int | None
    ) -> None:
        self._functions = functions
        self._timeout = timeout or DEFAULT_TIMEOUT_SECONDS
        self._memory = memory or DEFAULT_MEMORY_MIB

    def __call__(self, name: str, event: bytes) -> Outcome:
        """Run a function. Raises RequestTooLargeError."""
        check_request(event)
        context = LambdaContext(name, self._memory, self._timeout * 1000)
        try:
            result = self._functions[name].handler(json.loads(event), context)
            return limited(Outcome(json.dumps(result).encode()))
        except Exception as error:  # an exception of a function is its answer, as in Lambda
            log.exception("%s failed", name)
            document = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "requestId": context.aws_request_id,
                "stackTrace": traceback.format_tb(error.__traceback__),
            }
            return Outcome(json.dumps(document).encode(), "Unhandled")


class InvokeApi:
    """Answers the requests. `run(name, event)` runs a function; it may raise
    TooManyRequestsError and RequestTooLargeError.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        run: Callable[[str, bytes], Outcome],
        environments: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._functions = functions
        self._run = run
        self._environments = environments

    def answer(self, request: Request) -> Answer:
        """The answer to one request."""
        if request.method == "GET" and request.path == BASE:
            return _json({"functions": [f.describe() for f in self._functions.values()]})
        if request.method == "GET" and request.path == ENVIRONMENTS:
            return _json(self._environments())
        name = unquote(request.path).removeprefix(f"{BASE}/").removesuffix("/invocations")
        if request.method != "POST" or name not in self._functions:
            return _error("ResourceNotFoundException", f"Function not found: {name}", 404)
        return self._invoke(name, request.body or b"{}")

    def _invoke(self, name: str, event: bytes) -> Answer:
        try:
            json.loads(event)
            outcome = self._run(name, event)
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            return _error("InvalidRequestContentException", message, 400)
        except TooManyRequestsError as error:
            return _error("TooManyRequestsException", str(error), 429)
        except RequestTooLargeError as error:
            return _error("RequestTooLargeException", str(error), 413)
        headers = {"Content-Type": "application/json"}
        if outcome.error:
            headers["X-Amz-Function-Error"] = outcome.error
        return Answer(200, headers, outcome.payload)


def _error(code: str, message: str, status: int) -> Answer:
    answer = _json({"Type": "User", "Message": message}, status)
    return Answer(status, {**answer.headers, "x-amzn-ErrorType": code}, answer.body)


def _json(document: Any, status: int = 200) -> Answer:
    return json_answer(document, status, content_type="application/json")
