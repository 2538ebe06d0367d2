"""What clients may ask for, read and checked. Pure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.apps import App
from chalicelib.callers import Caller
from chalicelib.contract import Callback
from chalicelib.contract.text import readable
from chalicelib.errors import BadRequestError, UnknownAppError
from chalicelib.tasks.requests import parse_idempotency_key

_MAX_WORDS = 500
MOST_PASSED_BYTES = 2_048
"""Of all claims, or all parameters, that a container is told."""


@dataclass(frozen=True)
class DispatchRequest:
    """One GET /session: which app, how long to wait, and what makes a repetition recognisable."""

    app: App
    wait_seconds: float
    idempotency_key: str | None
    caller: Caller
    callback_base_url: str
    claims: Mapping[str, str] | None = None
    """What the container is told of the caller's claims; None = nothing."""
    query: Mapping[str, str] | None = None
    """The same of the request's parameters."""


class Offered(Protocol):
    """The apps there are: those of an apps file, or of a deployment with registered ones."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all apps."""

    def get(self, name: str | None) -> App | None:
        """The app called `name`, the default one for None; None when there is no such app."""


def parse_dispatch(
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    apps: Offered,
    caller: Caller,
    callback_base_url: str,
    default_wait_seconds: float,
    max_wait_seconds: float,
) -> DispatchRequest:
    """Read query and headers of GET /session. Raises BadRequestError."""
    name = query.get("app")
    app = apps.get(name)
    if app is None:
        raise UnknownAppError(f"no app is called {name!r}; there are: {', '.join(apps.names)}")
    return DispatchRequest(
        app=app,
        wait_seconds=_wait(query.get("wait"), default_wait_seconds, max_wait_seconds),
        idempotency_key=parse_idempotency_key(headers),
        caller=caller,
        callback_base_url=callback_base_url,
        claims=_passed("claims", app.pass_claims, caller.claims),
        query=_passed("parameters", app.pass_query, query),
    )


def parse_callback(body: Any) -> tuple[Callback, str]:
    """Read a container's callback: its type, and the reason or detail with it; `reason: detail`
    where it has both. Raises BadRequestError.
    """
    if not isinstance(body, dict):
        raise BadRequestError('the body must be a JSON object like {"type": "ready"}')
    kind = body.get("type")
    if not isinstance(kind, str) or kind not in set(Callback):
        raise BadRequestError(f"type must be one of {', '.join(Callback)}")
    parts = [body[name] for name in ("reason", "detail") if body.get(name, "") != ""]
    if not all(isinstance(part, str) for part in parts):
        raise BadRequestError("reason and detail must be strings")
    return Callback(kind), readable(": ".join(parts), _MAX_WORDS)


def _passed(
    what: str, names: tuple[str, ...], values: Mapping[str, Any]
) -> Mapping[str, str] | None:
    """Of `values` those with these names, as texts. Raises BadRequestError where they are long."""
    passed = {name: _text(values[name]) for name in names if values.get(name) is not None}
    size = sum(len(text.encode("utf-8", "replace")) for text in passed.values())
    if size > MOST_PASSED_BYTES:
        raise BadRequestError(f"{what} for the app: at most {MOST_PASSED_BYTES} bytes in all")
    return passed or None


def _text(value: Any) -> str:
    """API Gateway gives claims as texts; lists and numbers of a token become JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return readable(text, MOST_PASSED_BYTES + 1)


def _wait(text: str | None, default: float, maximum: float) -> float:
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= maximum:  # NaN is neither
        raise BadRequestError(f"wait: a number of seconds from 0 to {maximum:g}, not {text!r}")
    return seconds
