"""Parses and checks requests of clients. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.apps import App
from chalicelib.callers import Caller
from chalicelib.config import MAX_WAIT_SECONDS
from chalicelib.contract import Callback
from chalicelib.contract.text import readable
from chalicelib.errors import BadRequestError, UnknownAppError
from chalicelib.fields import Document, Field
from chalicelib.tasks.requests import parse_idempotency_key

_MAX_TEXT = 500
SESSION_ID = Field("X-Session-Id", {"type": "string"}, "a session's id", "The session's id.")
SESSION_PATH = Field(
    "X-Session-Path", {"type": "string"}, "a path", "The session's secret path, with its slash."
)
APP = Field("app", {"type": "string"}, "an app's name", "Which app; the default one without it.")
WAIT = Field(
    "wait",
    {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS},
    f"a number of seconds from 0 to {MAX_WAIT_SECONDS:g}",
    "How many seconds to wait for a cold start; `DEFAULT_WAIT_SECONDS` without it.",
)
DISPATCH = (APP, WAIT)
"""Query parameters of `GET /session`, besides those that the app's `pass_query` names."""
REGISTER = Document(
    (
        Field("image", {"type": "string"}, "a string", "The image's name.", is_required=True),
        Field("description", {}, "an object", "The keys of an `[apps.NAME]` table."),
    ),
    is_open=True,
)
ROLLBACK = Document(
    (
        Field(
            "revision",
            {"type": "integer"},
            "a whole number",
            "The revision to take back, which is the newest.",
            is_required=True,
        ),
    ),
    is_open=True,
)
CALLBACK = Document(
    (
        Field(
            "type",
            {"type": "string", "enum": [each.value for each in Callback]},
            f"one of {', '.join(Callback)}",
            "What became of the container.",
            is_required=True,
        ),
        Field("reason", {"type": "string"}, "a string", "With `stopping`: why."),
        Field("detail", {"type": "string"}, "a string", "For people; what is longer is cut."),
    ),
    is_open=True,
)
MOST_PASSED_BYTES = 2_048
"""For all claims, or all parameters, that are passed to a container."""


@dataclass(frozen=True)
class DispatchRequest:
    """One GET /session: app, seconds to wait, idempotency key, caller."""

    app: App
    wait_seconds: float
    idempotency_key: str | None
    caller: Caller
    callback_base_url: str
    claims: Mapping[str, str] | None = None
    """Claims of the caller that are passed to the container; None = none."""
    query: Mapping[str, str] | None = None
    """Parameters of the request that are passed to the container; None = none."""
    traceparent: str | None = None
    """W3C `traceparent` of the request, for the container."""


class Offered(Protocol):
    """The apps of a deployment: those of the apps file alone, or with the registered ones."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all apps."""

    def get(self, name: str | None) -> App | None:
        """The app called `name`, the default app for None; None when there is no such app."""


def parse_dispatch(
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    apps: Offered,
    caller: Caller,
    callback_base_url: str,
    default_wait_seconds: float,
    traceparent: str | None = None,
) -> DispatchRequest:
    """Read query and headers of GET /session. Raises BadRequestError."""
    name, wait = APP.read(query), WAIT.read(query)
    app = apps.get(name)
    if app is None:
        raise UnknownAppError(f"no app is called {name!r}; there are: {', '.join(apps.names)}")
    return DispatchRequest(
        app=app,
        wait_seconds=default_wait_seconds if wait is None else wait,
        idempotency_key=parse_idempotency_key(headers),
        caller=caller,
        callback_base_url=callback_base_url,
        claims=_passed("claims", app.pass_claims, caller.claims),
        query=_passed("parameters", app.pass_query, query),
        traceparent=traceparent,
    )


def parse_callback(body: Any) -> tuple[Callback, str]:
    """Parse a container's callback: its type, and its reason or detail; `reason: detail` if it has
    both. Raises BadRequestError.
    """
    document = CALLBACK.check(body)
    parts = [text for text in (document["reason"], document["detail"]) if text]
    return Callback(document["type"]), readable(": ".join(parts), _MAX_TEXT)


def _passed(
    what: str, names: tuple[str, ...], values: Mapping[str, Any]
) -> Mapping[str, str] | None:
    """The named `values` as text. Raises BadRequestError if they are too long."""
    passed = {name: _text(values[name]) for name in names if values.get(name) is not None}
    size = sum(len(text.encode("utf-8", "replace")) for text in passed.values())
    if size > MOST_PASSED_BYTES:
        raise BadRequestError(f"{what} for the app: at most {MOST_PASSED_BYTES} bytes in all")
    return passed or None


def _text(value: Any) -> str:
    """API Gateway passes claims as text; lists and numbers of a token are serialized to JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return readable(text, MOST_PASSED_BYTES + 1)
