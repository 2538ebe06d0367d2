"""API Gateway in front of a function that runs in separate processes.

Chalice's local gateway matches the route, answers preflights and creates the proxy event; the
function receives the event there and returns its proxy response.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from chalice.app import Chalice

from local.functions.payloads import (
    INTEGRATION_SECONDS,
    MAX_HTTP_BYTES,
    RequestTooLargeError,
    TooManyRequestsError,
    gateway_answer,
    proxy_response,
)
from local.functions.pool import Pools

MAX_REQUESTS = 256


class RemoteApp:
    """Stands for the app in Chalice's local gateway: its routes are here, its views are not."""

    def __init__(
        self, app: Chalice, pools: Pools, function: str, seconds: float = INTEGRATION_SECONDS
    ) -> None:
        self._app = app
        self._pools = pools
        self._function = function
        self._seconds = seconds
        self._calls = ThreadPoolExecutor(MAX_REQUESTS, thread_name_prefix="integration")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    def __call__(self, event: dict[str, Any], _context: Any) -> dict[str, Any]:
        """API Gateway's answer to this request.

        A function that exceeds 29 seconds continues, and its result is discarded.
        """
        body = event.get("body") or ""
        if len(body) > MAX_HTTP_BYTES:
            return gateway_answer(413, "Request Too Long")
        if isinstance(body, bytes):  # Chalice's local gateway leaves text as it came
            event = {**event, "body": body.decode("utf-8", "replace")}
        call = self._calls.submit(self._pools.invoke, self._function, json.dumps(event).encode())
        try:
            return proxy_response(call.result(self._seconds))
        except FutureTimeoutError:
            return gateway_answer(504, "Endpoint request timed out")
        except RequestTooLargeError:
            return gateway_answer(413, "Request Too Long")
        except TooManyRequestsError:
            # Lambda's 429 is no 429 of API Gateway's: clients see a failed integration.
            return gateway_answer(500, "Internal server error")
