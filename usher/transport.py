"""Requests to the dispatcher, repeated after transient errors.

A request is repeated after 429, any 5xx and a lost connection; callers must send idempotent
requests only (see `usher.client`).
"""

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

from usher.errors import AnswerError, UnreachableError, UsherError
from usher.repeating import Verdict, judge, pause_seconds

MOST_PAUSE_SECONDS = 30.0
"""Upper bound for `Retry-After`."""


@dataclass(frozen=True)
class Patience:
    """Number of tries of a request, and the timeout of one try."""

    tries: int = 6
    request_seconds: float = 30.0


class Transport:
    """Requests below one URL. Thread-safe."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        patience: Patience,
        on_retry: Callable[[UsherError], None] = lambda _: None,
    ) -> None:
        """`on_retry` is called before each pause with the error of the last try."""
        if not url.startswith(("http://", "https://")):
            raise UsherError(
                f"{url!r} is no URL of a dispatcher: it begins with http:// or https://"
            )
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._patience = patience
        self._on_retry = on_retry

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object of a 2xx answer. Raises AnswerError and UnreachableError."""
        body = None if document is None else json.dumps(document).encode()
        given = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            given["Content-Type"] = "application/json"
        if self._api_key:
            given["X-Api-Key"] = self._api_key
        failures = 0
        while True:
            request = urllib.request.Request(  # noqa: S310 - checked in __init__
                self.url + path, body, given, method=method
            )
            try:
                return self._send(request)
            except _WorthRepeatingError as trouble:
                failures += 1
                if failures >= self._patience.tries:
                    raise trouble.error from None
                self._on_retry(trouble.error)
                time.sleep(_pause(failures, trouble.retry_after))

    def _send(self, request: urllib.request.Request) -> dict[str, Any]:
        seconds = self._patience.request_seconds
        try:
            with _OPENER.open(request, timeout=seconds) as answer:
                return _read_object(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                error = _error(refused.code, refused.read())
            if 300 <= refused.code < 400:  # a repetition would be redirected again
                raise error from None
            if judge(refused.code) is Verdict.REPEAT:
                retry_after = refused.headers.get("Retry-After")
                if retry_after and retry_after.isdecimal():
                    error.retry_after_seconds = float(retry_after)
                raise _WorthRepeatingError(error, retry_after) from None
            raise error from None
        except (OSError, http.client.HTTPException) as lost:
            reason = getattr(lost, "reason", None) or lost
            unreachable = UnreachableError(f"{self.url} does not answer: {reason}")
            raise _WorthRepeatingError(unreachable, None) from lost


class _SameOriginRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another origin, because the request has the API key, and none of a
    request that changes something, which would be sent as a GET.
    """

    def redirect_request(  # noqa: PLR0917 - as urllib calls it
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.get_method() != "GET" or _origin(newurl) != _origin(req.full_url):
            return None  # urllib raises HTTPError then
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


_OPENER = urllib.request.build_opener(_SameOriginRedirects)


class _WorthRepeatingError(Exception):
    """`error` is raised if repetitions do not succeed."""

    def __init__(self, error: UsherError, retry_after: str | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


def _pause(failures: int, retry_after: str | None) -> float:
    pause = pause_seconds(failures, random.random())  # noqa: S311 - spreads retries only
    if retry_after and retry_after.isdecimal():
        pause = max(pause, min(float(retry_after), MOST_PAUSE_SECONDS))
    return pause


def _read_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UnreachableError("the answer is no JSON object: is this a dispatcher's URL?")
    return document


def _error(status: int, body: bytes) -> AnswerError:
    try:
        document = json.loads(body)
        error = document["error"]
        return AnswerError(status, str(error["code"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        # A gateway in between, with another error format.
        text = body[:200].decode("utf-8", "replace").strip()
        return AnswerError(
            status, "unknown", f"HTTP {status}: {text}" if text else f"HTTP {status}"
        )
