"""The suite's interface to a place: a URL, AWS's calls, and some operations that differ."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class NotHereError(Exception):
    """The place cannot show the promise; the message has the reason."""


class BrokenPromiseError(Exception):
    """The place broke the promise; the message has the observation."""


@dataclass(frozen=True)
class Response:
    """One answer over HTTP."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Limits:
    """Maximum durations at a place, in seconds."""

    cold: float
    """Time from a request to an address, if a host has capacity."""
    end: float
    """Time from a client's disconnect, or a host's failure, to the record's end."""
    host: float
    """Time until another host has joined."""


class Target(Protocol):
    """A place; implemented by `conformance.local_target` and `conformance.aws_target`."""

    name: str
    stage: str
    url: str
    headers: Mapping[str, str]
    """Headers that authenticate each request."""
    limits: Limits

    def client(self, service: str) -> Any:
        """A boto3 client of this place."""

    def deploy_job(self) -> None:
        """Have the job `probe` registered."""

    def kill_a_host(self, task_arn: str) -> None:
        """Terminate the host of a task, as a power failure would. Raises NotHereError."""

    def has_fargate(self) -> None:
        """Raises NotHereError."""

    def has_fan_out(self) -> None:
        """Raises NotHereError."""

    def has_tls(self) -> None:
        """Raises NotHereError."""

    def has_alarms(self) -> None:
        """Raises NotHereError."""


@dataclass
class Session:
    """The context of the checks: a target, and the observations so far."""

    target: Target
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    facts: dict[str, str] = field(default_factory=dict)
    """Measurements for the table."""

    def http(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request; returns an answer with any status."""
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **self.target.headers, **(headers or {})}
        request = urllib.request.Request(self.target.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=40) as found:
                return Response(found.status, _parsed(found.read()), dict(found.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, _parsed(error.read()), dict(error.headers))

    def wait(self, what: str, seconds: float, probe: Callable[[], Any], every: float = 0.5) -> Any:
        """Poll until `probe` returns a value, and return it. Raises BrokenPromiseError."""
        deadline = self.now() + seconds
        while not (found := probe()):
            if self.now() > deadline:
                raise BrokenPromiseError(f"{what}: not within {seconds:.0f} s")
            self.sleep(every)
        return found


def require(condition: object, what: str) -> None:
    """Raises BrokenPromiseError unless it holds."""
    if not condition:
        raise BrokenPromiseError(what)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
