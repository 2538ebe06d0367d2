"""The span of a job's run, sent by the container's main process if a collector is configured."""

import http.client
import json
import time
from collections.abc import Mapping

from chalicelib.contract.jobs import TRACEPARENT, TRACES_ENDPOINT, Outcome
from chalicelib.contract.traces import export, parse_traceparent, span
from usher.child_messages import Progress
from usher.dispatcher import Coordinator, request
from usher.log import say
from usher.protocol import Ending, Settings, StartPermit, Usage

EXPORT_SECONDS = 1.0
SERVICE = "usher-job"


class TracedCoordinator:
    """Passes everything on to `coordinator`, and sends the span once the end is reported."""

    def __init__(
        self, coordinator: Coordinator, settings: Settings, environment: Mapping[str, str]
    ) -> None:
        self._coordinator = coordinator
        self._settings = settings
        self._endpoint = environment[TRACES_ENDPOINT].rstrip("/")
        self._parent = parse_traceparent(environment[TRACEPARENT])
        self._began = 0.0

    def request_permit(self) -> StartPermit:
        permit = self._coordinator.request_permit()
        self._began = time.time()
        return permit

    def tell_progress(self, progress: Progress) -> None:
        self._coordinator.tell_progress(progress)

    def tell_end(self, ending: Ending, usage: Usage, seconds: float) -> None:
        ended = time.time()
        self._coordinator.tell_end(ending, usage, seconds)
        if self._parent is None or not self._parent.is_sampled:
            return
        settings = self._settings
        document = span(
            self._parent.child("run", str(settings.attempt)),
            "run",
            parent=self._parent.span_id,
            began=self._began,
            ended=ended,
            failed=ending.outcome is not Outcome.SUCCEEDED,
            attributes={
                "usher.invocation": settings.invocation_id,
                "usher.job": settings.job,
                "usher.outcome": str(ending.outcome),
            },
        )
        self._send(json.dumps(export(SERVICE, [document])).encode())

    def _send(self, body: bytes) -> None:
        url = f"{self._endpoint}/v1/traces"
        try:
            request("POST", url, EXPORT_SECONDS, {"Content-Type": "application/json"}, body)
        except (OSError, http.client.HTTPException) as error:
            say(f"usher: a span was not taken: {error or type(error).__name__}")
