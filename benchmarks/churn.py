"""Sessions that come and go, several at a time: how many a minute, and what an ended one leaves."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.cloud import Cloud, running_cloud
from benchmarks.pool import fill
from benchmarks.processes import descriptors, resident_bytes
from benchmarks.run import Run
from benchmarks.websocket import connect

GROUP = "churn"
POOL = 8
AT_A_TIME = 4
WARM_UP = 60
"""Sessions that fill caches and connection pools, before anything is compared."""
SECONDS = 40.0


def measure_churn(run: Run) -> None:
    """Four concurrent users; each gets a session, connects, disconnects, and repeats."""
    with running_cloud(run, "process", pool=POOL) as cloud:
        fill(cloud, POOL)
        _churn(cloud, sessions=run.many(WARM_UP, 8))
        cloud.wait_idle(POOL)
        pids = {"dispatcher": cloud.dispatcher_pid, "AWS emulation": cloud.pid}
        memory = {name: resident_bytes(pid) for name, pid in pids.items()}
        files = {name: descriptors(pid) for name, pid in pids.items()}
        run.say(f"churn: {SECONDS:.0f} seconds")
        began = time.perf_counter()
        ended = _churn(cloud, seconds=3.0 if run.quick else SECONDS)
        took = time.perf_counter() - began
        cloud.wait_idle(POOL)
        add = run.report.add
        add(GROUP, f"sessions a minute, {AT_A_TIME} users at a time", "1/min", [ended / took * 60])
        for name, pid in pids.items():
            grown = (resident_bytes(pid) - memory[name]) / ended / 1024
            add(GROUP, f"{name}: memory that an ended session leaves", "KiB", [grown])
            after = descriptors(pid)
            add(GROUP, f"{name}: open descriptors before", "", [float(sum(files[name].values()))])
            add(GROUP, f"{name}: open descriptors after", "", [float(sum(after.values()))])
            run.say(f"churn: {name}: {dict(files[name])} before, {dict(after)} after")


def _churn(cloud: Cloud, *, sessions: int | None = None, seconds: float = 600.0) -> int:
    """The number of sessions: `sessions`, or as many as fit into the time."""
    lock, ends = threading.Lock(), time.monotonic() + seconds
    begun = 0

    def come_and_go(_: int) -> int:
        nonlocal begun
        own = 0
        while time.monotonic() < ends:
            with lock:
                if sessions is not None and begun >= sessions:
                    break
                begun += 1
            connect(cloud.get_session()).close()
            own += 1
        return own

    with ThreadPoolExecutor(AT_A_TIME) as users:
        return sum(users.map(come_and_go, range(AT_A_TIME)))
