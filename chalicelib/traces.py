"""Sends spans of the dispatcher to a collector, if one is configured.

They are sent before the answer, because Lambda freezes a function after it; a slow or unreachable
collector costs EXPORT_SECONDS at most.
"""

import json
import logging
import urllib.request
from collections.abc import Callable, Mapping

from chalicelib.contract.traces import (
    SERVER,
    Context,
    export,
    new_root,
    parse_traceparent,
    span,
)

EXPORT_SECONDS = 1.0
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

    def dispatched(
        self,
        caller: Context | None,
        place: Context | None,
        began: float,
        attributes: Mapping[str, str | None],
        *,
        failed: bool,
    ) -> None:
        """The span of a request for a session."""
        self._send(
            place,
            "GET /session",
            None if caller is None else caller.span_id,
            (began, self._now()),
            attributes,
            kind=SERVER,
            failed=failed,
        )

    def started(
        self, header: str | None, began: float, ended: float, attributes: Mapping[str, str | None]
    ) -> None:
        """The span of a container's start, for a session that a request waits for."""
        parent = parse_traceparent(header)
        if parent is not None:
            self._send(
                parent.child("start"), "ECS start", parent.span_id, (began, ended), attributes
            )

    def _send(
        self,
        place: Context | None,
        name: str,
        parent: str | None,
        times: tuple[float, float],
        attributes: Mapping[str, str | None],
        *,
        kind: int = 1,
        failed: bool = False,
    ) -> None:
        if self._endpoint is None or place is None or not place.is_sampled:
            return
        document = span(
            place,
            name,
            parent=parent,
            began=times[0],
            ended=times[1],
            kind=kind,
            failed=failed,
            attributes=attributes,
        )
        body = json.dumps(export(SERVICE, [document], deployment_environment=self._stage)).encode()
        request = urllib.request.Request(  # noqa: S310 - http or https, see config.py
            f"{self._endpoint}/v1/traces", body, {"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=EXPORT_SECONDS):
                pass
        except OSError as error:
            _log.warning("a span was not taken: %s", error)
