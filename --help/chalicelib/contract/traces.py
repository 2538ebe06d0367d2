"""W3C trace contexts, and spans as OTLP JSON. Pure.

https://www.w3.org/TR/trace-context/ (version 00) and https://opentelemetry.io/docs/specs/otlp/
(OTLP/HTTP, JSON encoding).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRACEPARENT = "traceparent"
"""The header, and the name of the field for containers."""
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]{0,400})?")
SERVER, INTERNAL = 2, 1
"""`SpanKind` of OTLP."""


@dataclass(frozen=True)
class Context:
    """A span's context. `is_sampled`: the caller wants its spans exported."""

    trace_id: str
    span_id: str
    is_sampled: bool = True

    @property
    def header(self) -> str:
        """The `traceparent` header, in version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"

    def child(self, *about: str) -> "Context":
        """The context of a child span; equal for equal arguments, so that a repetition is the same
        span.
        """
        text = "/".join((self.trace_id, self.span_id, *about))
        span_id = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Context(self.trace_id, span_id, self.is_sampled)


def parse_traceparent(text: str | None) -> Context | None:
    """None for an invalid header, which is ignored because any caller may send one."""
    found = _HEADER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    is_null = not trace_id.strip("0") or not span_id.strip("0")
    if version == "ff" or is_null or (version == "00" and more):
        return None
    return Context(trace_id, span_id, int(flags, 16) & 1 == 1)


def new_root(random_text: str) -> Context:
    """The root context of a new trace."""
    digest = hashlib.sha256(random_text.encode()).hexdigest()
    return Context(digest[:32], digest[32:48])


def span(
    place: Context,
    name: str,
    *,
    parent: str | None,
    began: float,
    ended: float,
    kind: int = INTERNAL,
    failed: bool = False,
    attributes: Mapping[str, str | None],
) -> dict[str, Any]:
    """One span; times are seconds since 1970. Attributes with the value None are omitted."""
    document = {
        "traceId": place.trace_id,
        "spanId": place.span_id,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(int(began * 1e9)),
        "endTimeUnixNano": str(int(max(began, ended) * 1e9)),
        "attributes": _attributes(attributes),
        "status": {"code": 2} if failed else {},
    }
    return document if parent is None else {**document, "parentSpanId": parent}


def export(service: str, spans: list[dict[str, Any]], **resource: str) -> dict[str, Any]:
    """The body of a POST to `…/v1/traces`."""
    about = {"service.name": service, **{name.replace("_", "."): v for name, v in resource.items()}}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(about)},
                "scopeSpans": [{"scope": {"name": "usher"}, "spans": spans}],
            }
        ]
    }


def _attributes(values: Mapping[str, str | None]) -> list[dict[str, Any]]:
    return [
        {"key": name, "value": {"stringValue": value}}
        for name, value in values.items()
        if value is not None
    ]
