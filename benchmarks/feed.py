"""The two feeds: from put to client, processor time of a record, and the throughput of one
container.

The server of the fan-out feed is a real one. Kinesis is `tests.kinesis_server`, which answers at
once: the direct feed's time is that of its four reads a second and shard.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from benchmarks.container import LISTING, measure_bare_sender
from benchmarks.processes import cpu_seconds, pss_mib
from benchmarks.run import ROOT, Run, SkipError
from benchmarks.websocket import Address, WebSocket, connect
from local.feed.listings import demo_updates
from local.feed.redis_server import find_program
from tests.kinesis_server import FakeKinesis
from tests.redis_feed import FeedWriter, RedisProcess
from tests.session_process import SessionProcess

RATES = (10, 1_000, 5_000)
BARE, CPU = "floor: bare send loop", "µs of CPU a record"

TICK_SECONDS = 0.005
"""Records of a rate are put in portions so far apart, each record with its own instant."""

PRODUCER = """
import sys, time
from benchmarks.feed import produce
from tests.redis_feed import FeedWriter, RedisProcess
port, stream, rate, seconds = sys.argv[1:]
writer = FeedWriter(RedisProcess(port=int(port)), stream, begin=False)
produce(writer.put_all, int(rate), float(seconds))
"""
"""In a process of its own, so that it does not share the client's time."""


def measure_feed(run: Run) -> None:
    """Latency, throughput and memory of either feed."""
    if find_program() is None:
        raise SkipError("neither redis-server nor valkey-server is installed")
    seconds = run.many(10, 1)
    with RedisProcess() as server:
        for rate in RATES:
            run.say(f"feed: fan-out at {rate} records a second")
            _add(run, rate, "fan-out", _fanout_latencies(server, rate, seconds))
            run.say(f"feed: direct at {rate} records a second")
            _add(run, rate, "direct", _direct_latencies(rate, seconds))
        _measure_throughput(run, server)
        _measure_compression(run, server)


def produce(put_all: Callable[[list[Any]], None], rate: int, seconds: float) -> None:
    """Put records at a rate, each with the instant at which it was put (monotonic seconds)."""
    count, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate) - count
        if due > 0:
            put_all([{**LISTING, "putAt": time.monotonic()} for _ in range(due)])
            count += due
        time.sleep(TICK_SECONDS)
    put_all([{"isLast": True}])


def _add(run: Run, rate: int, feed: str, milliseconds: list[float]) -> None:
    run.report.add(f"put to client, {rate} records/s", feed, "ms", milliseconds)


def _fanout_latencies(server: RedisProcess, rate: int, seconds: float) -> list[float]:
    stream = f"rate-{rate}"
    FeedWriter(server, stream)
    with _client(FEED_URL=server.url(stream)) as (_, websocket):
        command = [sys.executable, "-c", PRODUCER, str(server.port), stream, str(rate)]
        with subprocess.Popen([*command, str(seconds)], cwd=ROOT) as producer:
            try:
                return _latencies(websocket)
            finally:
                producer.kill()


def _direct_latencies(rate: int, seconds: float) -> list[float]:
    with FakeKinesis() as kinesis, _client(kinesis) as (_, websocket):

        def put_all(records: list[Any]) -> None:
            for record in records:
                kinesis.put(record)

        thread = threading.Thread(target=produce, args=(put_all, rate, seconds), daemon=True)
        thread.start()
        found = _latencies(websocket)
        thread.join()
        return found


def _latencies(websocket: WebSocket) -> list[float]:
    """Milliseconds from put to here, of each record up to the last one."""
    found: list[float] = []
    while True:
        message = json.loads(websocket.receive())
        now = time.monotonic()
        for record in message["records"]:
            if "isLast" in record["data"]:
                return found
            found.append((now - record["data"]["putAt"]) * 1000)


class Rounds:
    """What several rounds found of one group: a series for each kind, in the order of the first."""

    def __init__(self, run: Run, group: str) -> None:
        self._run = run
        self._group = group
        self._found: dict[tuple[str, str, str | None], list[float]] = {}

    def add(self, what: str, unit: str, value: float, floor: str | None = None) -> None:
        self._found.setdefault((what, unit, floor), []).append(value)

    def report(self) -> None:
        for (what, unit, floor), values in self._found.items():
            self._run.report.add(self._group, what, unit, values, floor)


def _measure_throughput(run: Run, server: RedisProcess) -> None:
    rounds, count = Rounds(run, "one container, all at once"), run.many(100_000, 2_000)
    for _ in range(run.many(3, 1)):
        run.say(f"feed: {count} records at once")
        rounds.add(BARE, CPU, measure_bare_sender(count) * 100)
        _measure_fanout_backlog(rounds, server, count)
        _measure_direct_backlog(rounds, count)
    rounds.report()


def _measure_fanout_backlog(rounds: Rounds, server: RedisProcess, count: int) -> None:
    writer = FeedWriter(server, f"backlog-{time.monotonic_ns()}")
    url = server.url(writer.stream)
    with _client(FEED_URL=url) as (session, _):
        rounds.add("fan-out: memory of a session", "MiB", pss_mib(session.process.pid))
    cursor = _cursor_of(FEED_URL=url)
    for _ in range(count // 500):
        writer.put_all([LISTING] * 500)
    with _client(cursor=cursor, FEED_URL=url) as client:
        _drain(rounds, "fan-out", client, count // 500 * 500, floor=BARE)
    server.connect().call("DEL", writer.keys.records)


def _measure_direct_backlog(rounds: Rounds, count: int) -> None:
    with FakeKinesis() as kinesis:
        cursor = _cursor_of(kinesis)
        for _ in range(count):
            kinesis.put(LISTING)
        with _client(kinesis, cursor) as client:
            rounds.add("direct: memory of a session", "MiB", pss_mib(client[0].process.pid))
            _drain(rounds, "direct", client, count, floor=BARE)


def _measure_compression(run: Run, server: RedisProcess) -> None:
    """The same updates without and with permessage-deflate; they differ, as real ones do."""
    rounds, count = Rounds(run, "permessage-deflate"), run.many(50_000, 2_000)
    records = list(islice(demo_updates(seed=1), count))
    writer = FeedWriter(server, "compression")
    url = server.url(writer.stream)
    cursor = _cursor_of(FEED_URL=url)
    for start in range(0, count, 500):
        writer.put_all(records[start : start + 500])
    for _ in range(run.many(3, 1)):
        run.say(f"feed: {count} records without and with compression")
        for way, floor in (("none", None), ("deflate", "none: a record")):
            with _client(cursor=cursor, FEED_URL=url, COMPRESSION=way) as client:
                _drain(rounds, way, client, count, floor=floor)
                session, websocket = client
                rounds.add(f"{way}: on the wire", "bytes a record", websocket.taken_bytes / count)
                rounds.add(f"{way}: memory afterwards", "MiB", pss_mib(session.process.pid))
    rounds.report()
    server.connect().call("DEL", writer.keys.records)


def _drain(
    rounds: Rounds,
    what: str,
    client: tuple[SessionProcess, WebSocket],
    count: int,
    *,
    floor: str | None,
) -> None:
    """Receive a backlog; processor time and records a second. Counts without parsing."""
    (session, websocket), received = client, 0
    pid = session.process.pid
    before, began = cpu_seconds(pid), time.perf_counter()
    while received < count:
        received += websocket.receive().count('"sequenceNumber":')
    used, took = cpu_seconds(pid) - before, time.perf_counter() - began
    rounds.add(f"{what}: a record", CPU, used / count * 1e6, floor)
    rounds.add(f"{what}: records", "1/s", count / took)


def _cursor_of(kinesis: FakeKinesis | None = None, **environment: str) -> str:
    with _client(kinesis, greeted=False, **environment) as (_, websocket):
        return str(json.loads(websocket.receive())["cursor"])


@contextmanager
def _client(
    kinesis: FakeKinesis | None = None,
    cursor: str = "",
    *,
    greeted: bool = True,
    **environment: str,
) -> Iterator[tuple[SessionProcess, WebSocket]]:
    """A new container and its client, which has read the hello."""
    with SessionProcess(kinesis, **environment) as session:
        url = urlsplit(session.until_ready().url)
        path = url.path + (f"?cursor={cursor}" if cursor else "")
        address = Address(str(url.hostname), int(url.port or 0), path)
        websocket = connect(address, deflate=environment.get("COMPRESSION") == "deflate")
        try:
            if greeted:
                websocket.receive()
            yield session, websocket
        finally:
            websocket.close()
