"""The simulation against the embedded cloud: the same visitors, and how long each waits.

The simulation is given the latencies of this machine at rest, where one warm and one cold start are
measured, and how many cores containers share that start at once. It does not know what else the
machine does, nor that the dispatcher, the embedded AWS and the visitors are on the same cores.
"""

import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cloud import Cloud, running_cloud
from benchmarks.pool import HOST_SIZE, fill
from benchmarks.run import Run
from benchmarks.websocket import Address, connect
from simulation.models.latencies import Latencies
from simulation.shape import Shape
from simulation.trace import Arrival, Waited, calibrated, make_trace, replay

GROUP = "simulation"
POOL = 6
SECONDS = 600.0
PER_SECOND, STAY_SECONDS = 0.5, 15.0
CROWD = 12
"""Visitors within two seconds: more than the pool has."""
FIRST, ALONE = 3, 11
QUIET_SECONDS = 1 / PER_SECOND
"""Between two starts at rest, as between two visitors: caches and connections are as cold."""
"""Starts at rest, of either kind."""
APPS = """
default = "session"

[apps.session]
image = "usher-session"
cpu = 16
memory = 96

[apps.cold]
image = "usher-session"
cpu = 16
memory = 96
"""
HERE = Latencies(
    read=0.0015,
    write=0.0025,
    transaction=0.0045,
    index_lag=0.0,
    run_task=0.01,
    ecs_read=0.005,
    place=0.0,
    start=0.0,
    pull=0.0,
    event=0.02,
    message=0.02,
    function_init=0.0,
    network=0.001,
    stop=0.05,
    cores=float(os.cpu_count() or 1),
)
"""Of the embedded cloud at rest, see docs/performance.md; `handler` and `boot` are measured."""


@dataclass
class Visitors:
    """The visitors of a trace on a cloud that runs."""

    cloud: Cloud
    waited: list[Waited] = field(default_factory=list)

    def come(self, trace: Sequence[Arrival]) -> None:
        """Let them come at their instants; returns when all have gone."""
        began = time.perf_counter()
        threads = [threading.Thread(target=self._visit, args=(one, began)) for one in trace]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _visit(self, arrival: Arrival, began: float) -> None:
        time.sleep(max(0.0, began + arrival.at - time.perf_counter()))
        due, body = time.perf_counter(), None
        status, body = self.cloud.request("GET", "/session?wait=25")
        if status != 200:
            self.waited.append(Waited(None, is_warm=False))
            return
        self.waited.append(Waited(time.perf_counter() - due, bool(body["warm"])))
        websocket = connect(Address(body["ip"], body["port"], body["path"]))
        time.sleep(arrival.stay_seconds)
        websocket.close()


def measure_simulation(run: Run) -> None:
    """Waiting times of one trace on the embedded cloud, and as the simulation tells them."""
    seconds = run.many(round(SECONDS), 120)
    trace = make_trace(1, seconds, per_second=PER_SECOND, stay_seconds=STAY_SECONDS, crowd=CROWD)
    shape = Shape(sessions=200, pool=(POOL, POOL), slots=600)
    with TemporaryDirectory(prefix="usher-benchmark-") as folder:
        apps = Path(folder) / "apps.toml"
        apps.write_text(APPS, encoding="utf-8")
        with running_cloud(run, "process", pool=POOL, apps=apps, **HOST_SIZE) as cloud:
            fill(cloud, POOL)
            warm, cold = _alone(cloud, "session"), _alone(cloud, "cold")
            fill(cloud, POOL)
            run.say(f"simulation: {len(trace)} visitors in {seconds} s")
            visitors = Visitors(cloud)
            visitors.come(trace)
    latencies = calibrated(
        shape,
        HERE,
        warm_seconds=statistics.median(warm),
        cold_seconds=statistics.median(cold),
    )
    run.say(f"simulation: handler {latencies.handler:.4f} s, boot {latencies.boot:.3f} s")
    simulated = replay(trace, shape, latencies)
    _report(run, "at rest: warm", [(one, True) for one in warm])
    _report(run, "at rest: cold", [(one, False) for one in cold])
    for name, pick in (("all", (True, False)), ("warm", (True,)), ("cold", (False,))):
        real = [one for one in visitors.waited if one.is_warm in pick]
        told = [one for one in simulated if one.is_warm in pick]
        _compare(run, name, real, told)
    share = sum(one.is_warm for one in visitors.waited) / len(trace)
    run.report.add(GROUP, "warm share, embedded cloud", "", [share])
    told_share = sum(one.is_warm for one in simulated) / len(trace)
    run.report.add(GROUP, "warm share, simulation", "", [told_share], "warm share, embedded cloud")


def _alone(cloud: Cloud, app: str) -> list[float]:
    """Seconds from a request to its address, one at a time with nothing else at work.

    The first ones open connections that the rest find open: they are left out.
    """
    found = []
    for _ in range(FIRST + ALONE):
        fill(cloud, POOL, sweep=False)
        time.sleep(QUIET_SECONDS)
        began = time.perf_counter()
        address = cloud.get_session(app)
        found.append(time.perf_counter() - began)
        connect(address).close()
    fill(cloud, POOL, sweep=False)
    return found[FIRST:]


def _report(run: Run, what: str, waited: Sequence[tuple[float, bool]]) -> None:
    run.report.add(GROUP, what, "ms", [seconds * 1_000 for seconds, _ in waited])


def _compare(run: Run, name: str, real: Sequence[Waited], told: Sequence[Waited]) -> None:
    floor = f"waiting time of {name}, embedded cloud"
    run.report.add(GROUP, floor, "ms", [1_000 * w.seconds for w in real if w.seconds is not None])
    of_told = [1_000 * w.seconds for w in told if w.seconds is not None]
    run.report.add(GROUP, f"waiting time of {name}, simulation", "ms", of_told, floor)
