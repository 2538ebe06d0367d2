"""Sends spans of the dispatcher to a collector, if one is configured.

They are sent before the answer, because Lambda freezes a function after it; a slow or unreachable
collector costs EXPORT_SECONDS at most, once in REST_SECONDS.
"""

import json
import logging
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalicelib.contract.traces import (
    SERVER,
    Context,
    export,
    new_root,
    parse_traceparent,
    span,
)

EXPORT_SECONDS = 1.0
REST_SECONDS = 30.0
"""For so long a process sends nothing to a collector that did not answer."""
SERVICE = "usher-dispatcher"
_log = logging.getLogger("usher.traces")
# Neither proxies nor redirects: only the configured collector is used.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Traces:
    """Sends spans. Without an endpoint contexts are passed on, and nothing is sent."""

    def __init__(
        self, endpoint: str | None, stage: str, now: Callable[[], float], random: Callable[[], str]
    ) -> None:
        """`random` returns a text that cannot be guessed."""
        self._endpoint = endpoint
        self._stage = stage
        self._now = now
        self._random = random
        self._rests_until = 0.0

    def contexts(self, header: str | None) -> tuple[Context | None, Context | None]:
        """The caller's context, and the dispatcher's below it; a new trace if the caller has
        none.
        """
        caller = parse_traceparent(header)
        if self._endpoint is None:
            return caller, caller
        if caller is None:
            return None, new_root(self._random())
        return caller, caller.child(self._random())

    def requested(
        self,
        name: str,
        caller: Context | None,
        place: Context | None,
        began: float,
        attributes: Mapping[str, str | None],
        *,
        failed: bool,
    ) -> None:
        """The request of a caller, called `name`, which began at `began` and ends now."""
        if place is not None:
            parent = None if caller is None else caller.span_id
            document = span(
                place,
                name,
                parent=parent,
                began=began,
                ended=self._now(),
                kind=SERVER,
                failed=failed,
                attributes=attributes,
            )
            self._send(place, [document])

    def steps(
        self,
        header: str | None,
        steps: Sequence[tuple[str, float, float]],
        attributes: Mapping[str, str | None],
        *,
        failed: bool = False,
    ) -> None:
        """Send the steps after a request: name, begin and end; `failed` is of the last step."""
        parent = parse_traceparent(header)
        if parent is None:
            return
        documents = [
            span(
                parent.child(name, str(number)),
                name,
                parent=parent.span_id,
                began=began,
                ended=ended,
                failed=failed and number == len(steps) - 1,
                attributes=attributes,
            )
            for number, (name, began, ended) in enumerate(steps)
        ]
        self._send(parent, documents)

    def _send(self, place: Context, documents: list[dict[str, Any]]) -> None:
        now = self._now()
        if self._endpoint is None or not place.is_sampled or now < self._rests_until:
            return
        body = json.dumps(export(SERVICE, documents, deployment_environment=self._stage)).encode()
        request = urllib.request.Request(  # noqa: S310 - http or https, see config.py
            f"{self._endpoint}/v1/traces", body, {"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=EXPORT_SECONDS):
                pass
        except OSError as error:
            self._rests_until = now + REST_SECONDS
            _log.warning("a span was not taken: %s", error)
