"""A session app of one's own against the plain session container: start and memory."""

import tempfile
import time
from collections import defaultdict
from pathlib import Path

from websockets.sync.client import connect

from benchmarks.run import Run
from tests.kinesis_server import FakeKinesis
from tests.session_process import ROOT, SessionProcess
from usher.new_session import write_session_app

PLAIN, APP = "plain", "app"
LABELS = {
    "ready_ms": ("start until ready", "ms"),
    "first_record_ms": ("start until the first record", "ms"),
    "rss_mib": ("resident memory with a client", "MiB"),
}


def measure_once(kinesis: FakeKinesis, folder: Path, *, is_app: bool) -> dict[str, float]:
    """One container as a process, from its start to a record at its client."""
    environment = {"PYTHONPATH": f"{ROOT}:{folder}", "AWS_REGION": "us-east-1"}
    if is_app:
        environment["SESSION_APP"] = "counter:Counter"
    began = time.perf_counter()
    with SessionProcess(kinesis, **environment) as process:
        process.until_ready()
        ready = time.perf_counter() - began
        with connect(process.url) as websocket:
            websocket.recv(30)  # hello; of the app, its welcome follows
            if is_app:
                websocket.recv(30)
            kinesis.put({"city": "Oslo"})
            websocket.recv(30)
            return {
                "ready_ms": ready * 1000,
                "first_record_ms": (time.perf_counter() - began) * 1000,
                "rss_mib": process.resident_mib(),
            }


def measure_app(run: Run) -> None:
    """Add the app that `usher new --session` writes, beside the session image without one."""
    run.say("app: starts of the plain container and of an app's, in turn")
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place, FakeKinesis() as kinesis:
        folder = Path(place)
        write_session_app("counter", folder)
        for turn in range(run.many(25, 2)):
            for name in (PLAIN, APP) if turn % 2 else (APP, PLAIN):
                for what, value in measure_once(kinesis, folder, is_app=name == APP).items():
                    values[name, what].append(value)
    for what, (label, unit) in LABELS.items():
        run.report.add("app", f"{label}: {PLAIN}", unit, values[PLAIN, what])
        run.report.add("app", f"{label}: {APP}", unit, values[APP, what], f"{label}: {PLAIN}")
