"""Lambda's Invoke API for the functions of one Chalice app: they run right here, as in Lambda.

POST /2015-03-31/functions/NAME/invocations   run it; X-Amz-Invocation-Type "RequestResponse"
GET  /2015-03-31/functions                    all functions, each with its event source
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from chalice.local import LambdaContext

from local.aws.wire import Answer, Request, json_answer
from local.functions.registry import Function

BASE = "/2015-03-31/functions"
DEFAULT_TIMEOUT_SECONDS = 60
DEFAULT_MEMORY_MIB = 128

log = logging.getLogger(__name__)


class InvokeApi:
    """Answers the requests. `timeout` in seconds and `memory` in MiB as configured, or None."""

    def __init__(
        self, functions: Mapping[str, Function], timeout: int | None, memory: int | None
    ) -> None:
        self._functions = functions
        self._timeout = timeout or DEFAULT_TIMEOUT_SECONDS
        self._memory = memory or DEFAULT_MEMORY_MIB

    def answer(self, request: Request) -> Answer:
        """The answer to one request."""
        if request.method == "GET" and request.path == BASE:
            return _json({"functions": [f.describe() for f in self._functions.values()]})
        name = unquote(request.path).removeprefix(f"{BASE}/").removesuffix("/invocations")
        function = self._functions.get(name)
        if request.method != "POST" or function is None:
            return _json({"Type": "User", "Message": f"Function not found: {name}"}, 404)
        try:
            event = json.loads(request.body or b"{}")
        except ValueError as error:
            return _json({"Type": "User", "Message": f"Could not parse JSON: {error}"}, 400)
        return self._invoke(name, function.handler, event)

    def _invoke(self, name: str, handler: Callable[[Any, Any], Any], event: Any) -> Answer:
        context = LambdaContext(name, self._memory, self._timeout * 1000)
        try:
            return _json(handler(event, context))
        except Exception as error:  # whatever a function raises is its answer, as in Lambda
            log.exception("%s failed", name)
            document = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "requestId": context.aws_request_id,
                "stackTrace": traceback.format_tb(error.__traceback__),
            }
            answer = _json(document)
            return Answer(200, {**answer.headers, "X-Amz-Function-Error": "Unhandled"}, answer.body)


def _json(document: Any, status: int = 200) -> Answer:
    return json_answer(document, status, content_type="application/json")
