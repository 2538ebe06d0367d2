"""Reports events to the dispatcher: in order, each until acknowledged, without delaying the
session.

An unreachable dispatcher does not affect the client: its sweep reads the state later.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable

from chalicelib.contract.repeating import Verdict, backoff_seconds, judge
from session_handler.backoff import jitter
from session_handler.http_client import HttpClient, HttpError
from session_handler.protocol import Report

TIMEOUT_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

LAST_EFFORT_SECONDS = 3.0
"""Time for reports at exit; with the preceding closing handshake well within ECS's stop timeout."""

log = logging.getLogger(__name__)


class Callbacks:
    """A queue of reports and the task that delivers it."""

    def __init__(
        self,
        url: str | None,
        key: str | None,
        on_answer: Callable[[Report, bytes], None] = lambda *_: None,
    ) -> None:
        """`on_answer` is called with each acknowledged report and the answer's body; with an empty
        body for a report that was refused finally.
        """
        self._client = HttpClient(url, timeout_seconds=TIMEOUT_SECONDS) if url and key else None
        self._key = key
        self._on_answer = on_answer
        self._reports: deque[Report] = deque()
        self._delivery: asyncio.Task[None] | None = None

    def add(self, report: Report) -> None:
        """Deliver `report` after earlier ones, without waiting for it."""
        if self._client is None:
            self._on_answer(report, b"")
            return
        self._reports.append(report)
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.get_running_loop().create_task(self._deliver(self._client))

    async def finish(self) -> None:
        """Try to deliver the remaining reports within LAST_EFFORT_SECONDS."""
        if self._delivery is not None:
            _, late = await asyncio.wait({self._delivery}, timeout=LAST_EFFORT_SECONDS)
            for task in late:
                task.cancel()
                log.warning("%d callbacks were never acknowledged", len(self._reports))
        if self._client is not None:
            self._client.close()

    async def _deliver(self, client: HttpClient) -> None:
        failures = 0
        while self._reports:
            verdict, answer = await self._post(client, self._reports[0])
            if verdict is Verdict.REPEAT:
                failures += 1
                pause = backoff_seconds(
                    failures,
                    jitter(),
                    first_seconds=FIRST_PAUSE_SECONDS,
                    longest_seconds=LONGEST_PAUSE_SECONDS,
                )
                await asyncio.sleep(pause)
            else:
                failures = 0
                self._on_answer(self._reports.popleft(), answer)

    async def _post(self, client: HttpClient, report: Report) -> tuple[Verdict, bytes]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        body = json.dumps({"type": report.type, **report.fields}).encode()
        try:
            response = await client.request("POST", client.path, headers, body)
        except HttpError as exc:
            log.warning("callback %s: %s", report.type.value, exc)
            return Verdict.REPEAT, b""
        verdict = judge(response.status)
        if verdict is not Verdict.ACCEPTED:
            log.warning("callback %s was answered %d", report.type.value, response.status)
        return verdict, response.body if verdict is Verdict.ACCEPTED else b""
