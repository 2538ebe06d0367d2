"""A filled pool, and single containers that wait without one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.cloud import Cloud
from benchmarks.contestants import SESSION, end_bare, session_environment, start_bare
from benchmarks.run import Run
from benchmarks.websocket import Address, RefusedError, connect_when_there, free_ports

FILL_SECONDS = 180
POLL_SECONDS = 0.05
HOST_SIZE = {"hosts": 2, "host_cpu": 16_384, "host_memory": 65_536}
"""Hosts that declare room for some 1,300 containers; what they use is another matter."""


def warm_now(cloud: Cloud) -> int:
    """How many of the default app's containers wait for an owner, and are ready."""
    return len(_warm(cloud))


def filled_per_second(cloud: Cloud) -> float:
    """How fast the pool was filled, from the first record to the last container's `ready`.

    By the records: polling until all are there would measure the polling.
    """
    warm = _warm(cloud)
    created = min(float(item["created_at"]["N"]) for item in warm)
    ready = max(float(item["ready_at"]["N"]) for item in warm)
    return len(warm) / (ready - created)


def _warm(cloud: Cloud) -> list[dict[str, Any]]:
    pages = (
        cloud.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName="usher-local-sessions",
            IndexName="pool",
            KeyConditionExpression="#pool = :app",
            FilterExpression="#state = :warm",
            ExpressionAttributeNames={"#pool": "pool", "#state": "state"},
            ExpressionAttributeValues={":app": {"S": "session"}, ":warm": {"S": "WARM"}},
        )
    )
    return [item for page in pages for item in page["Items"]]


def fill(cloud: Cloud, size: int, *, sweep: bool = True, quiet: bool = True) -> float:
    """Return when the pool is full; the seconds that took. `quiet`: and nothing is at work."""
    began = time.perf_counter()
    if sweep:
        cloud.sweep()
    while warm_now(cloud) < size:
        if time.perf_counter() - began > FILL_SECONDS:
            raise TimeoutError(f"{warm_now(cloud)} of {size} are warm")
        time.sleep(POLL_SECONDS)
    took = time.perf_counter() - began
    if quiet:
        cloud.wait_idle(size)
    return took


@contextmanager
def bare_session(run: Run) -> Iterator[Address]:
    """A bare session container that listens and whose client has not come."""
    environment = session_environment()
    [port] = free_ports(1)
    process = start_bare(run, SESSION, port, environment)
    try:
        address = Address("127.0.0.1", port, "/healthz")
        _wait_until_refused(address)
        yield Address("127.0.0.1", port, f"/{environment['SESSION_UUID']}")
    finally:
        end_bare(process)


def _wait_until_refused(address: Address) -> None:
    """Wait until somebody listens who has no websocket at this path."""
    try:
        connect_when_there(address, threading.Event()).close()
    except RefusedError:
        return
