"""From GET /session to an open websocket where containers wait."""

import time
from collections import Counter

from benchmarks.bare import bare_server
from benchmarks.cloud import Cloud, request, running_cloud
from benchmarks.pool import HOST_SIZE, bare_session, fill
from benchmarks.processes import cpu_seconds
from benchmarks.run import Run, SkipError, need_docker
from benchmarks.websocket import WebSocket, connect

AT_REST_POOL = 5
CPU_FLOOR = "floor: server's processor time of one"
OF_OTHERS = frozenset({"kinesis.GetRecords", "kinesis.ListShards", "kinesis.GetShardIterator"})
"""Calls of containers."""


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
    with running_cloud(run, runtime, pool=size, **HOST_SIZE) as cloud:
        fill(cloud, size)
        _measure_in_a_row(run, group, cloud, size)


def _measure_floor(run: Run, group: str) -> None:
    """A GET that a server answers without doing anything, and a websocket that only listens."""
    opened: list[float] = []
    answered: list[float] = []
    cpu: list[float] = []
    with bare_server(run) as bare:
        for number in range(run.many(101, 6)):
            with bare_session(run) as address:
                cpu_before = cpu_seconds(bare.pid)
                began = time.perf_counter()
                request(bare.url, "GET", "/session")
                middle = time.perf_counter()
                websocket = connect(address)
                if number:
                    cpu.append((cpu_seconds(bare.pid) - cpu_before) * 1000)
                    answered.append((middle - began) * 1000)
                    opened.append((time.perf_counter() - began) * 1000)
                websocket.close()
    run.report.add(group, "floor: address", "ms", answered)
    run.report.add(group, "floor: open", "ms", opened)
    run.report.add(group, "floor: server's processor time of one", "ms", cpu)


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
    add(group, "dispatcher's processor time of one", "ms", cpu, CPU_FLOOR)
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
