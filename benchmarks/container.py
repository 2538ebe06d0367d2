"""Start, memory and CPU of the session container, against a bare `websockets` server and the same
handler in Node.js with the AWS SDK.

    python -m benchmarks.container [--runs 15] [--records 50000]

Everything is measured in one run on one machine, the three in turn, so that the ratios hold where
the absolute numbers do not. The Kinesis is `tests.kinesis_server`, in this process. The Node.js
peer is left out where `npm install` was not run in benchmarks/peers/node.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from websockets.sync.client import connect

from benchmarks.run import Run
from tests.kinesis_server import FakeKinesis
from tests.session_process import SessionProcess

NODE_PEER = Path(__file__).parent / "peers" / "node" / "handler.js"

BARE_SERVER = """
import asyncio, sys
from websockets.asyncio.server import serve
async def handle(websocket):
    async for message in websocket:
        await websocket.send(message)
async def main():
    async with serve(handle, "127.0.0.1", 0) as server:
        print("listening on port", server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
        await server.serve_forever()
asyncio.run(main())
"""

BARE_SENDER = """
import asyncio, sys
from websockets.asyncio.server import serve
record, count = sys.stdin.readline().rstrip(), int(sys.argv[1])
async def handle(websocket):
    for _ in range(count):
        await websocket.send('{"type":"records","records":[' + record + '],"cursor":""}')
    await websocket.wait_closed()
async def main():
    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        print("listening on port", server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
        await server.serve_forever()
asyncio.run(main())
"""

LISTING = {
    "id": "2087465190",
    "city": "Helsinki",
    "price": 325_000,
    "rooms": 3,
    "latitude": 60.1699,
    "longitude": 24.9384,
    "address": "Fabianinkatu 33",
    "updatedAt": "2026-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Contestant:
    """`command` of None is the session container itself."""

    name: str
    command: list[str] | None
    is_session: bool = True


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(contestant: Contestant, kinesis: FakeKinesis) -> tuple[SessionProcess, float]:
    """The process, and the seconds until it listens."""
    began = time.perf_counter()
    process = SessionProcess(kinesis, command=contestant.command, AWS_REGION="us-east-1")
    _ = process.port
    return process, time.perf_counter() - began


def measure_start(contestant: Contestant, kinesis: FakeKinesis) -> dict[str, float]:
    process, listening = start(contestant, kinesis)
    with process:
        if not contestant.is_session:
            return {"listening_ms": listening * 1000, "rss_mib": process.resident_mib()}
        began = time.perf_counter()
        with connect(process.url) as websocket:
            websocket.recv(30)
            kinesis.put(LISTING)
            websocket.recv(30)
            first_record = listening + time.perf_counter() - began
            return {
                "listening_ms": listening * 1000,
                "first_record_ms": first_record * 1000,
                "rss_mib": process.resident_mib(),
            }


def measure_records(contestant: Contestant, count: int) -> dict[str, float]:
    """CPU and memory while `count` records come through that were put at once."""
    with FakeKinesis() as kinesis:
        process, _ = start(contestant, kinesis)
        with process, connect(process.url, max_size=None) as websocket:
            websocket.recv(30)
            before, began = cpu_seconds(process.process.pid), time.perf_counter()
            for number in range(count):
                kinesis.put({**LISTING, "n": number})
            received = 0
            while received < count:
                received += len(json.loads(websocket.recv(60))["records"])
            used = cpu_seconds(process.process.pid) - before
            return {
                "cpu_s_per_10000": used / count * 10_000,
                "records_per_s": count / (time.perf_counter() - began),
                "loaded_rss_mib": process.resident_mib(),
            }


def measure_bare_sender(count: int) -> float:
    """CPU seconds per 10,000 records of a loop that only sends, each in its own message."""
    record = json.dumps({"data": LISTING, "partitionKey": "k", "sequenceNumber": "4" * 56})
    with subprocess.Popen(
        [sys.executable, "-c", BARE_SENDER, str(count)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(record + "\n")
        process.stdin.flush()
        port = int(process.stderr.readline().rpartition(" ")[2])
        before = cpu_seconds(process.pid)
        with connect(f"ws://127.0.0.1:{port}/", max_size=None) as websocket:
            for _ in range(count):
                websocket.recv(60)
            used = cpu_seconds(process.pid) - before
        process.kill()
    return used / count * 10_000


def contestants() -> list[Contestant]:
    found = [
        Contestant("container", None),
        Contestant("bare", [sys.executable, "-c", BARE_SERVER], is_session=False),
    ]
    node = shutil.which("node")
    if node and (NODE_PEER.parent / "node_modules").is_dir():
        found.append(Contestant("node", [node, str(NODE_PEER)]))
    return found


def measure(runs: int, records: int) -> dict[tuple[str, str], list[float]]:
    """All values by contestant and by what they are."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def note(name: str, measured: dict[str, float]) -> None:
        for what, value in measured.items():
            values[name, what].append(value)

    with FakeKinesis() as kinesis:
        for _ in range(runs):
            for contestant in contestants():
                note(contestant.name, measure_start(contestant, kinesis))
    for _ in range(max(3, runs // 5)):
        for contestant in contestants():
            if contestant.is_session:
                note(contestant.name, measure_records(contestant, records))
        note("bare", {"cpu_s_per_10000": measure_bare_sender(records)})
    return values


LABELS = {
    "listening_ms": ("until it listens", "ms"),
    "first_record_ms": ("until the first record", "ms"),
    "rss_mib": ("resident memory", "MiB"),
    "loaded_rss_mib": ("resident memory under load", "MiB"),
    "cpu_s_per_10000": ("processor time of 10,000 records", "s"),
    "records_per_s": ("records", "1/s"),
}


def measure_container(run: Run) -> None:
    """Add all of it to a report, beside the bare server where that can do it, else Node.js."""
    run.say("container: starts, then records")
    values = measure(run.many(15, 2), run.many(50_000, 2_000))
    for (name, what), found in sorted(values.items(), key=lambda item: item[0][1]):
        label, unit = LABELS[what]
        other = "bare" if ("bare", what) in values else "node"
        floor = None if name == other else f"{label}: {other}"
        run.report.add("container", f"{label}: {name}", unit, found, floor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--records", type=int, default=50_000)
    options = parser.parse_args()
    values = measure(options.runs, options.records)
    for (name, what), measured in sorted(values.items(), key=lambda item: item[0][1]):
        ours = statistics.median(values["container", what])
        median = statistics.median(measured)
        ratio = f"  container/{name} {ours / median:.2f}" if name != "container" else ""
        print(f"{what:18} {name:10} n={len(measured):<3} median {median:10.3f}{ratio}")


if __name__ == "__main__":
    main()
