"""More requests in a second than containers wait."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.bare import bare_server
from benchmarks.cloud import Cloud, request, running_cloud
from benchmarks.pool import HOST_SIZE, bare_session, fill, filled_per_second
from benchmarks.run import Run
from benchmarks.websocket import Address, WebSocket, connect

BURST = 300
BURST_POOL = 100
STARTERS = 8
"""As many as the dispatcher starts at a time when it fills a pool."""

Ask = Callable[[], tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Answered:
    """The result of one request of a burst, and the seconds after its planned time."""

    status: int
    body: Mapping[str, Any]
    seconds: float


def measure_burst(run: Run) -> None:
    """300 requests within a second against a pool of 100, and how fast that is filled."""
    pool, count = run.many(BURST_POOL, 20), run.many(BURST, 60)
    group = f"burst of {count}, pool of {pool}"
    add = run.report.add
    add(group, "floor: bare containers started", "1/s", [_bare_starts(run, pool)])
    with bare_server(run) as bare, ThreadPoolExecutor(count) as threads:
        floor = _burst(threads, lambda: request(bare.url, "GET", "/session"), count, [])
    add(group, "floor: answered", "ms", [one.seconds * 1000 for one in floor])
    websockets: list[WebSocket] = []
    with running_cloud(run, "process", pool=pool, **HOST_SIZE) as cloud:
        run.say(f"{group}: filling the pool")
        fill(cloud, pool)
        filled = filled_per_second(cloud)
        add(group, "pool filled", "1/s", [filled], "floor: bare containers started")
        run.say(f"{group}: the burst")
        try:
            with ThreadPoolExecutor(count) as threads:
                ask = partial(cloud.request, "GET", "/session?wait=0")
                answers = _burst(threads, ask, count, websockets)
            run.say(f"{group}: until the pool is full again")
            refilled = _seconds_until_full(cloud, pool)
        finally:
            for websocket in websockets:
                websocket.close()
    add(group, "until the pool was full again, and all who came later served", "s", [refilled])
    for status, name in ((200, "200, an address"), (202, "202, a container is coming")):
        found = [one.seconds * 1000 for one in answers if one.status == status]
        add(group, f"answered {name}", "ms", found, "floor: answered")
    kinds = Counter(one.status for one in answers)
    taken = Counter(one.body["path"] for one in answers if one.status == 200)
    for status, number in sorted(kinds.items()):
        add(group, f"answers with {status}", "", [number])
    add(group, "answers with 5xx", "", [sum(n for kind, n in kinds.items() if kind >= 500)])
    add(group, "containers given to two", "", [sum(1 for n in taken.values() if n > 1)])


def _burst(
    threads: ThreadPoolExecutor, ask: Ask, count: int, websockets: list[WebSocket]
) -> list[Answered]:
    """Send `count` requests, evenly spread over one second, whatever the results of earlier ones.

    Each client with an address opens the websocket and stays connected: it is added to
    `websockets`.
    """
    start = time.perf_counter() + 0.2

    def one(number: int) -> Answered:
        due = start + number / count
        time.sleep(max(0.0, due - time.perf_counter()))
        status, body = ask()
        seconds = time.perf_counter() - due
        if status == 200 and "path" in body:
            websockets.append(connect(Address(body["ip"], body["port"], body["path"])))
        return Answered(status, body, seconds)

    return list(threads.map(one, range(count)))


def _seconds_until_full(cloud: Cloud, pool: int) -> float:
    began = time.perf_counter()
    fill(cloud, pool, sweep=False, quiet=False)
    return time.perf_counter() - began


def _bare_starts(run: Run, count: int) -> float:
    """Bare session containers started per second, with the dispatcher's concurrency."""

    def start(_: int) -> None:
        with bare_session(run):
            return

    began = time.perf_counter()
    with ThreadPoolExecutor(STARTERS) as threads:
        list(threads.map(start, range(count)))
    return count / (time.perf_counter() - began)
