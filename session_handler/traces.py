"""The span from the client's connection to its first record, if a collector is configured."""

import asyncio
import json
import logging
import time

from chalicelib.contract.traces import TRACEPARENT, Context, export, parse_traceparent, span
from session_handler.http_client import HttpClient, HttpError

EXPORT_SECONDS = 2.0
SERVICE = "usher-session"
log = logging.getLogger(__name__)


def read_context(body: bytes) -> Context | None:
    """The trace context in an answer to `connected`."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parse_traceparent(answer.get(TRACEPARENT)) if isinstance(answer, dict) else None


class FirstRecord:
    """Sends the span once both of its ends are known. Never raises."""

    def __init__(self, endpoint: str, session_id: str, app: str) -> None:
        self._endpoint = endpoint
        self._attributes = {"usher.session": session_id, "usher.app": app}
        self._connected_at: float | None = None
        self._sent_at: float | None = None
        self._parent: Context | None = None
        self._export: asyncio.Task[None] | None = None

    def on_connected(self) -> None:
        self._connected_at = self._connected_at or time.time()

    def on_record(self) -> None:
        self._sent_at = self._sent_at or time.time()
        self._send()

    def on_answer(self, body: bytes) -> None:
        self._parent = self._parent or read_context(body)
        self._send()

    async def finish(self) -> None:
        """Wait for spans that are being sent."""
        if self._export is not None:
            await asyncio.wait({self._export}, timeout=EXPORT_SECONDS)

    def _send(self) -> None:
        if self._export is not None or self._parent is None or not self._parent.is_sampled:
            return
        if self._connected_at is not None and self._sent_at is not None:
            place = self._parent.child("first record")
            document = span(
                place,
                "first record",
                parent=self._parent.span_id,
                began=self._connected_at,
                ended=self._sent_at,
                attributes=self._attributes,
            )
            body = json.dumps(export(SERVICE, [document])).encode()
            self._export = asyncio.get_running_loop().create_task(self._post(body))

    async def _post(self, body: bytes) -> None:
        client = HttpClient(f"{self._endpoint}/v1/traces", timeout_seconds=EXPORT_SECONDS)
        try:
            await client.request("POST", client.path, {"Content-Type": "application/json"}, body)
        except HttpError as exc:
            log.warning("a span was not taken: %s", exc)
        finally:
            client.close()
