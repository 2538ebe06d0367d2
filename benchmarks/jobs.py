"""Jobs: what usher adds to a process start, and a thousand invocations through twenty places."""

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.cloud import Cloud, running_cloud
from benchmarks.processes import cpu_seconds
from benchmarks.run import ROOT, Run

INVOCATIONS = 1_000
CAPACITY = 20
CALLERS = 8
SECONDS = 900
ONE_BY_ONE = 40
JOB = '''\
"""The smallest job: it tells that it ran."""

import socket
import time

from pydantic import BaseModel

from usher import Job


class Note(Job):
    """Tell that this ran."""

    cpu = 16
    memory = 96
    timeout_seconds = 60

    class Parameters(BaseModel):
        port: int
        number: int
        seconds: float = 0.0

    def run(self, parameters: Parameters) -> None:
        with socket.create_connection(("127.0.0.1", parameters.port)) as notes:
            notes.sendall(str(parameters.number).encode())
        time.sleep(parameters.seconds)
'''
BARE = "from jobs.note import Note; Note().run(Note.Parameters(port={port}, number=-1))"
"""The same code in a process of its own: no dispatcher, no start permit, no report."""
HOST_SIZE: dict[str, Any] = {"hosts": 2, "host_cpu": 65_536, "host_memory": 65_536}

Invocation = Mapping[str, Any]


def measure_jobs(run: Run) -> None:
    """One after the other against a bare process, then many through few places."""
    with _project() as folder, _Notes() as notes:
        _one_by_one(run, folder, notes)
        _through_few_places(run, folder, notes)


def _one_by_one(run: Run, folder: Path, notes: "_Notes") -> None:
    group, count = "one job after the other, process", run.many(ONE_BY_ONE, 5)
    with running_cloud(run, **HOST_SIZE) as cloud:
        _deploy(cloud, folder)
        bare, whole, seen = [], [], []
        for number in range(count):
            bare.append(_bare_seconds(folder, notes) * 1000)
            began = time.perf_counter()
            ended = _wait(cloud, _invoke(cloud, notes, number, "normal"))
            seen.append((time.perf_counter() - began) * 1000)
            whole.append(ended)
        add, floor = run.report.add, "floor: bare process of the same code"
        add(group, floor, "ms", bare)
        add(group, "invoked to start permit", "ms", _steps(whole, "createdAt", "startedAt"), floor)
        add(group, "start permit to finished", "ms", _steps(whole, "startedAt", "finishedAt"))
        add(group, "invoked to finished", "ms", _steps(whole, "createdAt", "finishedAt"), floor)
        add(group, "invoked to its end seen by the caller", "ms", seen, floor)


def _through_few_places(run: Run, folder: Path, notes: "_Notes") -> None:
    count = run.many(INVOCATIONS, 60)
    group = f"{count} jobs through {CAPACITY} places, process"
    places = {"JOBS_CAPACITY": str(CAPACITY), "JOBS_KEPT_FOR_CRITICAL": "2"}
    with running_cloud(run, environment=places, **HOST_SIZE) as cloud:
        _deploy(cloud, folder)
        run.say(f"{group}: the floor")
        floor = [_bare_at_once(folder, notes) for _ in range(run.many(5, 1))]
        run.say(f"{group}: invoking")
        notes.taken()
        calls, cpu = cloud.calls(), cpu_seconds(cloud.dispatcher_pid)
        began = time.perf_counter()
        with ThreadPoolExecutor(CALLERS) as callers:
            ids = list(callers.map(lambda n: _invoke(cloud, notes, n, _priority(n)), range(count)))
        run.say(f"{group}: waiting for {len(ids)}")
        _wait_for_all(run, cloud, count)
        took = time.perf_counter() - began
        cpu = cpu_seconds(cloud.dispatcher_pid) - cpu
        calls = cloud.calls() - calls
        with ThreadPoolExecutor(CALLERS) as callers:
            ended = list(callers.map(lambda found: _poll(cloud, found), ids))
    add = run.report.add
    add(group, "floor: bare processes, as many at once", "1/s", floor)
    add(group, "jobs", "1/s", [count / took], "floor: bare processes, as many at once")
    add(group, "dispatcher's processor time of a job", "ms", [cpu / count * 1000])
    for name, number in calls.most_common():
        run.say(f"{name}: {number / count:.2f} a job")
    add(group, "AWS calls of a job", "", [sum(calls.values()) / count])
    for priority, waits in _waits(ended).items():
        add(group, f"wait of {priority} ones", "s", waits)
    add(group, "RunTask calls in the fullest second", "", [_fullest_second(ended)])
    add(group, "running at once, at most", "", [_most_at_once(ended)])
    add(group, "launched past a more important one", "", [_out_of_order(ended)])
    ran = notes.taken() - Counter([-1])
    add(group, "that ran twice", "", [sum(1 for times in ran.values() if times > 1)])
    add(group, "that never ran", "", [count - len(ran)])
    reasons = Counter(str(found["reason"]) for found in ended)
    add(group, "that did not succeed", "", [count - reasons["succeeded"]])


class _Notes:
    """Hears from each job that it ran."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._ran: Counter[int] = Counter()
        threading.Thread(target=self._listen, daemon=True).start()

    def taken(self) -> Counter[int]:
        """The number of runs of each number since the last call."""
        ran, self._ran = self._ran, Counter()
        return ran

    def __enter__(self) -> "_Notes":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                self._ran[int(connection.recv(16) or b"-1")] += 1


@contextmanager
def _project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="usher-benchmark-") as name:
        folder = Path(name)
        (folder / "jobs").mkdir()
        (folder / "jobs" / "__init__.py").touch()
        (folder / "jobs" / "note.py").write_text(JOB, "utf-8")
        (folder / "requirements.txt").touch()
        (folder / "Dockerfile").write_bytes((ROOT / "usher" / "Dockerfile").read_bytes())
        folder.chmod(0o755)  # jobs run as the user nobody
        yield folder


def _deploy(cloud: Cloud, folder: Path) -> None:
    description = {
        "name": "note",
        "cpu": 16,
        "memory": 96,
        "timeoutSeconds": 60,
        "parameters": {"type": "object"},
    }
    body = {"image": f"dir:{folder}", "description": description}
    status, answer = cloud.request("PUT", "/jobs/note", body)
    if status != 200:
        raise RuntimeError(f"{status} {answer}")


def _invoke(cloud: Cloud, notes: "_Notes", number: int, priority: str) -> str:
    body = {"parameters": {"port": notes.port, "number": number}, "priority": priority}
    status, answer = cloud.request("POST", "/jobs/note/invocations", body)
    if status != 201:
        raise RuntimeError(f"{status} {answer}")
    return str(answer["id"])


def _priority(number: int) -> str:
    """One in ten is critical, three in ten are low."""
    return "critical" if number % 10 == 0 else "low" if number % 10 > 6 else "normal"


def _poll(cloud: Cloud, invocation_id: str) -> Invocation:
    status, answer = cloud.request("GET", f"/invocations/{invocation_id}")
    if status != 200:
        raise RuntimeError(f"{status} {answer}")
    found: Invocation = answer
    return found


def _wait(cloud: Cloud, invocation_id: str) -> Invocation:
    deadline = time.monotonic() + SECONDS
    while (found := _poll(cloud, invocation_id))["finishedAt"] is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{invocation_id} is {found['state']}")
        time.sleep(0.01)
    return found


def _wait_for_all(run: Run, cloud: Cloud, count: int) -> None:
    """Wait until no record of the table is live; reads the table, so that the dispatcher is not
    disturbed.
    """
    deadline = time.monotonic() + SECONDS
    while True:
        time.sleep(1)
        table = cloud.client("dynamodb")
        left = sum(
            int(
                table.query(
                    TableName="usher-local-jobs",
                    IndexName="live",
                    KeyConditionExpression="live_bucket = :bucket",
                    ExpressionAttributeValues={":bucket": {"N": str(bucket)}},
                    Select="COUNT",
                )["Count"]
            )
            for bucket in range(8)
        )
        if not left:
            return
        if int(time.monotonic()) % 10 == 0:
            run.say(f"{count - left} of {count}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} of {count} have not ended")


def _bare_seconds(folder: Path, notes: "_Notes") -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", BARE.format(port=notes.port)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    return time.perf_counter() - began


def _bare_at_once(folder: Path, notes: "_Notes") -> float:
    """Bare processes of the same code, as many at once: how many a second."""
    count, began = CAPACITY, time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(lambda _: _bare_seconds(folder, notes), range(count * 3)))
    return count * 3 / (time.perf_counter() - began)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _steps(found: Sequence[Invocation], start: str, end: str) -> list[float]:
    return [(_instant(one[end]) - _instant(one[start])) * 1000 for one in found]


def _waits(found: Sequence[Invocation]) -> dict[str, list[float]]:
    waits: dict[str, list[float]] = defaultdict(list)
    for one in found:
        if one["startedAt"]:
            waits[one["priority"]].append(_instant(one["startedAt"]) - _instant(one["createdAt"]))
    return {name: waits[name] for name in ("critical", "normal", "low") if name in waits}


def _fullest_second(found: Sequence[Invocation]) -> int:
    launches = Counter(
        int(_instant(change["at"]))
        for one in found
        for change in one["history"]
        if change["state"] == "LAUNCHING"
    )
    return max(launches.values(), default=0)


def _out_of_order(found: Sequence[Invocation]) -> int:
    """How many were launched while one of a higher priority had been waiting for a second."""
    order = ("critical", "normal", "low")
    turns = [
        (order.index(one["priority"]), _instant(one["createdAt"]), _claimed(one)) for one in found
    ]
    return sum(
        any(rank < own and created + 1 < claimed < late for rank, created, late in turns)
        for own, _, claimed in turns
    )


def _claimed(one: Invocation) -> float:
    """When its last attempt was claimed."""
    claims = [change["at"] for change in one["history"] if change["state"] == "LAUNCHING"]
    return _instant(claims[-1])


def _most_at_once(found: Sequence[Invocation]) -> int:
    """How many held a place at the same time, from the claim to the end."""
    changes: list[tuple[float, int]] = []
    for one in found:
        changes += [(_claimed(one), 1), (_instant(one["finishedAt"]), -1)]
    running = most = 0
    for _, step in sorted(changes):
        running += step
        most = max(most, running)
    return most
