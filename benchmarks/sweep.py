"""The sweep over 1,000 to 50,000 live records, on the embedded tables.

The records wait for room, so nothing is to be done about them: what is measured is reading and
comparing. The embedded tables look at all items for each query, so the time of a pass says little;
the dispatcher's own processor time and memory are what a Lambda function would need.
"""

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.calls import BATCH, TABLE, IdGenerator
from benchmarks.cloud import Cloud, running_cloud
from benchmarks.processes import cpu_seconds
from benchmarks.run import Run
from chalicelib.sessions.creation import new_session
from chalicelib.sessions.items import to_item

GROUP = "sweep"
SIZES = (1_000, 10_000, 50_000)
HOUR = 3_600


def measure_sweep(run: Run) -> None:
    """One pass at each size: invocations, calls, processor time and peak memory."""
    with running_cloud(run, "process") as cloud:
        there = 0
        for size in SIZES[:1] if run.quick else SIZES:
            run.say(f"sweep: writing {size} records")
            _add_waiting(cloud, size - there)
            there = size
            _measure(run, cloud, size)


def _measure(run: Run, cloud: Cloud, size: int) -> None:
    pid, before = cloud.dispatcher_pid, _finished_at(cloud)
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    calls, cpu, began = cloud.calls(), cpu_seconds(pid), time.monotonic()
    invocations = 0
    while _finished_at(cloud) == before:
        cloud.sweep()
        invocations += 1
    prefix = f"{size} records: "
    made: Counter[str] = cloud.calls() - calls
    run.report.add(GROUP, f"{prefix}a whole pass", "s", [time.monotonic() - began])
    run.report.add(GROUP, f"{prefix}invocations", "", [invocations])
    run.report.add(GROUP, f"{prefix}processor time", "s", [cpu_seconds(pid) - cpu])
    run.report.add(GROUP, f"{prefix}peak memory of the dispatcher", "MiB", [_peak_mib(pid)])
    run.report.add(GROUP, f"{prefix}AWS calls", "", [made.total()])
    run.say(f"sweep: {json.dumps(made)}")


def _finished_at(cloud: Cloud) -> str | None:
    _, body = cloud.request("GET", "/health")
    return None if body["sweep"] is None else str(body["sweep"]["finishedAt"])


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def _add_waiting(cloud: Cloud, count: int) -> None:
    """Records of sessions that wait for room and are to be tried again in due time."""
    now, written = time.time(), 0
    while written < count:
        batch = min(BATCH, count - written)
        drafts = [
            new_session(
                IdGenerator(),
                app_name="session",
                owner=f"somebody {written + number}",
                callback_base_url="http://127.0.0.1:1",
                task_definition="arn:aws:ecs:us-east-1:123456789012:task-definition/x:1",
                now=now,
                queue_seconds=24 * HOUR,
            )
            for number in range(batch)
        ]
        requests = [
            {"PutRequest": {"Item": to_item(replace(draft, tried_at=now))}} for draft in drafts
        ]
        cloud.client("dynamodb").batch_write_item(RequestItems={TABLE: requests})
        written += batch
