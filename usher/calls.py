"""The most common calls, to the dispatcher in USHER_URL (or a laptop's own)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from usher.answers import Invocation, LogLine
from usher.client import Client


def invoke(
    job: str,
    parameters: Any = None,
    *,
    at: datetime | None = None,
    not_after: datetime | None = None,
    priority: str | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Request a run of a job and return the invocation's id at once; see Client.invoke."""
    return Client().invoke(
        job,
        parameters,
        at=at,
        not_after=not_after,
        priority=priority,
        idempotency_key=idempotency_key,
    )


def wait(invocation_id: str, timeout_seconds: float | None = None) -> Invocation:
    """Wait until it has ended. Raises WaitTimeoutError."""
    return Client().wait(invocation_id, timeout_seconds)


def kill(invocation_id: str) -> Invocation:
    """End it in any state."""
    return Client().kill(invocation_id)


def logs(invocation_id: str, *, follow: bool = False) -> Iterator[LogLine]:
    """Its log so far; with `follow` until it ends."""
    return Client().logs(invocation_id, follow=follow)
