"""Many live sessions on this machine: the memory of each, and the time until a record reaches
all.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks.cloud import Cloud, NotServedError, running_cloud
from benchmarks.container import BARE_SERVER
from benchmarks.contestants import Program, end_bare, start_bare
from benchmarks.crowd import Crowd
from benchmarks.pool import HOST_SIZE
from benchmarks.processes import carrying, cpu_seconds, pss_mib
from benchmarks.run import ROOT, Run, SkipError
from benchmarks.websocket import connect

NEEDED_MIB = 20
"""For each session, by estimate: what is free decides whether it is tried."""

BARE = 50
"""So many bare websockets servers are the floor; pages are shared as among the sessions."""

USERS_AT_ONCE = 8
QUIET_SECONDS = 10.0
ARRIVAL_SECONDS = 60.0
SETTLE_SECONDS = 5.0
POLL_SECONDS = 0.05
TRIES = 10


def measure_live(run: Run) -> None:
    """The requested numbers of sessions, one cloud for each number."""
    for count in (200, 500, 1_000) if not run.quick else (20,):
        group = f"{count} live sessions"
        try:
            _need_memory(count)
            with running_cloud(run, "process", **HOST_SIZE) as cloud:
                _measure(run, group, cloud, count)
        except (SkipError, NotServedError) as reason:
            run.report.skip(group, str(reason))


def _measure(run: Run, group: str, cloud: Cloud, count: int) -> None:
    add = run.report.add
    with _bare_servers(run, min(BARE, count)) as pids:
        add(group, "floor: bare websockets server", "MiB", [pss_mib(pid) for pid in pids])
    with Crowd() as crowd:
        began = time.perf_counter()
        with ThreadPoolExecutor(USERS_AT_ONCE) as threads:
            list(threads.map(partial(_come, run, group, cloud, crowd), range(count)))
        took = time.perf_counter() - began
        add(group, "opened, cold", "1/s", [count / took])
        time.sleep(SETTLE_SECONDS)
        memory = _memory_of_each(cloud)
        add(group, "container with its sandbox", "MiB", memory, "floor: bare websockets server")
        dispatcher, local = cloud.dispatcher_pid, int(cloud.ready["pid"])
        before = cpu_seconds(dispatcher), cpu_seconds(local)
        time.sleep(QUIET_SECONDS)
        after = cpu_seconds(dispatcher), cpu_seconds(local)
        used = [(new - old) / QUIET_SECONDS * 100 for new, old in zip(after, before, strict=True)]
        add(group, "dispatcher at rest", "% of a core", [used[0]])
        add(group, "emulated AWS at rest", "% of a core", [used[1]])
        add(group, "dispatcher", "MiB", [pss_mib(dispatcher)])
        add(group, "emulated AWS", "MiB", [pss_mib(local)])
        arrived = _arrivals(cloud, crowd, count)
        add(group, "a record has come to each", "ms", [seconds * 1000 for seconds in arrived])
        add(group, "sessions it did not come to", "", [count - len(arrived)])
        for reason, number in crowd.ended.items():
            add(group, f"sessions that had ended: {reason}", "", [number])


def _come(run: Run, group: str, cloud: Cloud, crowd: Crowd, number: int) -> None:
    """One user connects and stays; after a 202 or 503 the request is repeated."""
    if number % 50 == 0:
        run.say(f"{group}: user {number}")
    for _ in range(TRIES):
        try:
            websocket = connect(cloud.get_session())
        except NotServedError:
            continue
        websocket.receive()
        crowd.add(websocket)
        return
    raise NotServedError(f"user {number} was not served in {TRIES} tries")


def _memory_of_each(cloud: Cloud) -> list[float]:
    """MiB of every container, its helpers included."""
    pids = carrying("USHER_LOCAL_RUN", cloud.ready["run"])
    by_session: dict[str, float] = {}
    for pid in pids:
        session = _variable(pid, "SESSION_ID")
        if session:
            by_session[session] = by_session.get(session, 0.0) + pss_mib(pid)
    return list(by_session.values())


def _variable(pid: int, name: str) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:
            variables = dict(line.partition("=")[::2] for line in file.read().split("\0"))
    except OSError:
        return None
    return variables.get(name)


def _arrivals(cloud: Cloud, crowd: Crowd, count: int) -> list[float]:
    """Put a record, and wait until it came to all, or ended; the seconds that took for each."""
    began = time.perf_counter()
    cloud.put_record()
    while (
        len(crowd.arrived) + crowd.ended.total() < count
        and time.perf_counter() - began < ARRIVAL_SECONDS
    ):
        time.sleep(POLL_SECONDS)
    return [came - began for came in crowd.arrived]


@contextmanager
def _bare_servers(run: Run, count: int) -> Iterator[list[int]]:
    """Websockets servers without clients."""
    program = Program((sys.executable, "-c", BARE_SERVER), ROOT)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            processes.append(start_bare(run, program, 0, {}))
        time.sleep(SETTLE_SECONDS)
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            end_bare(process)


def _need_memory(count: int) -> None:
    with open("/proc/meminfo", encoding="utf-8") as file:
        lines = dict(line.partition(":")[::2] for line in file)
    free = int(lines["MemAvailable"].split()[0]) / 1024
    if free < count * NEEDED_MIB:
        raise SkipError(f"{count * NEEDED_MIB} MiB are needed, {free:.0f} are free")
