"""From GET /session to an open websocket where containers wait, and a burst of requests."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.bare import bare_server
from benchmarks.cloud import Cloud, request, running_cloud
from benchmarks.contestants import (
    SESSION,
    end_bare,
    session_environment,
    start_bare,
)
from benchmarks.processes import cpu_seconds
from benchmarks.run import Run, SkipError, need_docker
from benchmarks.websocket import (
    Address,
    RefusedError,
    WebSocket,
    connect,
    connect_when_there,
    free_ports,
)

AT_REST_POOL = 5
FILL_SECONDS = 180
POLL_SECONDS = 0.05
OF_OTHERS = frozenset({"kinesis.GetRecords", "kinesis.ListShards", "kinesis.GetShardIterator"})
"""What containers call on their own."""


def measure_warm(run: Run) -> None:
    """At rest, and one after the other while the pool is refilled."""
    _warm(run, "warm, process", "process")
    try:
        need_docker()
        _warm(run, "warm, docker", "docker")
    except SkipError as reason:
        run.report.skip("warm, docker", str(reason))


def _warm(run: Run, group: str, runtime: str) -> None:
    _measure_floor(run, group)
    with running_cloud(run, runtime, pool=AT_REST_POOL) as cloud:
        fill(cloud, AT_REST_POOL)
        _measure_at_rest(run, group, cloud)
    size = run.many(100, 20)
    with running_cloud(run, runtime, pool=size, **ROOM) as cloud:
        fill(cloud, size)
        _measure_in_a_row(run, group, cloud, size)


ROOM = {"hosts": 2, "host_cpu": 16_384, "host_memory": 65_536}
"""Hosts that declare room for some 1,300 containers; what they use is another matter."""


def _measure_floor(run: Run, group: str) -> None:
    """A GET that a server answers without doing anything, and a websocket that only listens."""
    opened: list[float] = []
    answered: list[float] = []
    with bare_server(run) as base:
        for number in range(run.many(101, 6)):
            with _bare_session(run) as address:
                began = time.perf_counter()
                request(base, "GET", "/session")
                middle = time.perf_counter()
                websocket = connect(address)
                if number:
                    answered.append((middle - began) * 1000)
                    opened.append((time.perf_counter() - began) * 1000)
                websocket.close()
    run.report.add(group, "floor: address", "ms", answered)
    run.report.add(group, "floor: open", "ms", opened)


@contextmanager
def _bare_session(run: Run) -> Iterator[Address]:
    """A bare session container that listens and whose client has not come."""
    environment = session_environment()
    [port] = free_ports(1)
    process = start_bare(run, SESSION, port, environment)
    try:
        address = Address("127.0.0.1", port, "/healthz")
        connect_until_refused(address)
        yield Address("127.0.0.1", port, f"/{environment['SESSION_UUID']}")
    finally:
        end_bare(process)


def connect_until_refused(address: Address) -> None:
    """Wait until somebody listens who has no websocket at this path."""
    try:
        connect_when_there(address).close()
    except RefusedError:
        return


def _measure_at_rest(run: Run, group: str, cloud: Cloud) -> None:
    """One user at a time, the next one when the pool is full again and all is quiet."""
    rounds = run.many(100, 4)
    pid = cloud.dispatcher_pid
    addresses: list[float] = []
    opens: list[float] = []
    cpu: list[float] = []
    calls: Counter[str] = Counter()
    for number in range(rounds + 1):
        if number % 20 == 0:
            run.say(f"{group}: at rest, {number} of {rounds}")
        before, cpu_before = cloud.calls(), cpu_seconds(pid)
        began = time.perf_counter()
        address = cloud.get_session()
        got = time.perf_counter()
        cpu_after = cpu_seconds(pid)
        websocket = connect(address)
        opened = time.perf_counter()
        after = cloud.calls()
        websocket.close()
        fill(cloud, AT_REST_POOL, sweep=False)
        if number:
            addresses.append((got - began) * 1000)
            opens.append((opened - began) * 1000)
            cpu.append((cpu_after - cpu_before) * 1000)
            calls += after - before
    add = run.report.add
    add(group, "at rest: address", "ms", addresses, "floor: address")
    add(group, "at rest: open", "ms", opens, "floor: open")
    add(group, "dispatcher's processor time of one", "ms", cpu, "floor: address")
    for call, count in calls.most_common():
        if call not in OF_OTHERS and count > rounds / 2:
            add(group, f"AWS calls of one: {call}", "calls", [round(count / rounds, 2)])


def _measure_in_a_row(run: Run, group: str, cloud: Cloud, size: int) -> None:
    """One user after the other, who all stay, while the pool is refilled behind them."""
    run.say(f"{group}: {size} in a row")
    pid = cloud.dispatcher_pid
    addresses: list[float] = []
    opens: list[float] = []
    websockets: list[WebSocket] = []
    cpu_before, all_began = cpu_seconds(pid), time.perf_counter()
    for _ in range(size):
        began = time.perf_counter()
        address = cloud.get_session(wait=0)
        addresses.append((time.perf_counter() - began) * 1000)
        websockets.append(connect(address))
        opens.append((time.perf_counter() - began) * 1000)
    took, cpu = time.perf_counter() - all_began, cpu_seconds(pid) - cpu_before
    add = run.report.add
    add(group, "in a row: address", "ms", addresses, "floor: address")
    add(group, "in a row: open", "ms", opens, "floor: open")
    add(group, "in a row: served", "1/s", [size / took])
    add(
        group,
        "in a row: dispatcher's processor time of one, refill and all",
        "ms",
        [cpu / size * 1000],
    )
    for websocket in websockets:
        websocket.close()


def warm_now(cloud: Cloud) -> int:
    """How many of the default app's containers wait for an owner, and are ready."""
    page = (
        cloud.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName="usher-local-sessions",
            IndexName="pool",
            KeyConditionExpression="pool = :app",
            FilterExpression="#state = :warm",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":app": {"S": "session"}, ":warm": {"S": "WARM"}},
        )
    )
    return sum(len(one["Items"]) for one in page)


def fill(cloud: Cloud, size: int, *, sweep: bool = True) -> float:
    """Return when the pool is full and nothing is at work; the seconds until it was full."""
    began = time.perf_counter()
    if sweep:
        cloud.sweep()
    while warm_now(cloud) < size:
        if time.perf_counter() - began > FILL_SECONDS:
            raise TimeoutError(f"{warm_now(cloud)} of {size} are warm")
        time.sleep(POLL_SECONDS)
    took = time.perf_counter() - began
    cloud.wait_idle(size)
    return took


BURST = 300
BURST_POOL = 100


def measure_burst(run: Run) -> None:
    """300 requests within a second against a pool of 100; then how fast it is full again."""
    pool = run.many(BURST_POOL, 20)
    count = run.many(BURST, 60)
    group = f"burst of {count}"
    with running_cloud(run, "process", pool=pool, **ROOM) as cloud:
        run.say(f"{group}: filling a pool of {pool}")
        began_filling = fill(cloud, pool)
        run.report.add(group, "pool filled", "1/s", [pool / began_filling])
        run.say(f"{group}: {count} requests in a second")
        answers = _burst(lambda: cloud.request("GET", "/session?wait=0"), count)
        run.say(f"{group}: refilling")
        refilled = fill(cloud, pool, sweep=False)
        run.report.add(
            group, "pool refilled, with the others' cold starts", "1/s", [pool / refilled]
        )
    with bare_server(run) as base:
        floor = _burst(lambda: request(base, "GET", "/session"), count)
    kinds = Counter(status for status, _, _ in answers)
    taken = Counter(body["path"] for status, body, _ in answers if status == 200)
    add = run.report.add
    add(group, "floor: answered", "ms", [seconds * 1000 for _, _, seconds in floor])
    for status, name in ((200, "200, an address"), (202, "202, a container is coming")):
        found = [seconds * 1000 for kind, _, seconds in answers if kind == status]
        add(group, f"answered {name}", "ms", found, "floor: answered")
    for status, number in sorted(kinds.items()):
        add(group, f"answers with {status}", "", [number])
    add(group, "answers with 5xx", "", [sum(n for kind, n in kinds.items() if kind >= 500)])
    add(group, "containers given to two", "", [sum(1 for n in taken.values() if n > 1)])


def _burst(
    ask: Callable[[], tuple[int, object]], count: int
) -> list[tuple[int, dict[str, str], float]]:
    """So many requests, evenly spread over one second, whatever becomes of those before."""
    start = time.perf_counter() + 0.2

    def one(number: int) -> tuple[int, dict[str, str], float]:
        due = start + number / count
        time.sleep(max(0.0, due - time.perf_counter()))
        status, body = ask()
        return status, body if isinstance(body, dict) else {}, time.perf_counter() - due

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))
