"""The event source of streams: every record to the function, in order, through all that happens."""

import base64
import os
import random
import threading
import time
from types import SimpleNamespace

import pytest

from chalicelib.feed.history import History
from chalicelib.feed.records import arrivals_of_event
from chalicelib.feed.relay import NotRelayedError, Relay
from chalicelib.feed.stream import RedisStream
from chalicelib.metrics import ProcessMetrics
from local.feed.redis_server import RedisServer
from local.functions.dispatcher_process import UnreachableError
from local.functions.triggers import streams
from local.functions.triggers.streams import StreamReaders
from tests.fanout_model import Reader
from tests.integration.conftest import wait_until
from tests.kinesis_service import serve_kinesis
from tests.needs import needs_redis

STREAM = "updates"


@pytest.fixture
def service():
    with serve_kinesis() as service:
        service.client().create_stream(StreamName=STREAM, ShardCount=2)
        yield service


class Function:
    """Accepts events as the dispatcher's Invoke API does; raises what `fails(event)` returns."""

    def __init__(self, fails=lambda event: None):
        self.taken = []
        self.failed = 0
        self._fails = fails
        self._lock = threading.Lock()

    def invoke(self, function, event):
        with self._lock:
            outcome = self._fails(event)
            if outcome == "unreachable":
                self.failed += 1
                raise UnreachableError(function)
            if outcome is not None:
                self.failed += 1
                return SimpleNamespace(error="Unhandled")
            self.taken += event["Records"]
            return SimpleNamespace(error=None)

    @property
    def datas(self):
        return [base64.b64decode(record["kinesis"]["data"]).decode() for record in self.taken]


@pytest.fixture
def read_with(service):
    """Start readers that hand over to a function; they end with the test."""
    started = []

    def start(function, position="TRIM_HORIZON"):
        readers = StreamReaders(
            service.client,
            function,
            "f",
            {"stream": STREAM, "batch_size": 7, "starting_position": position},
            poll_seconds=0.01,
            arrivals=service.api.arrivals,
        )
        started.append(readers)
        readers.start()
        return readers

    yield start
    for readers in started:
        readers.close()


def reshard(kinesis, dice):
    """Split or merge something."""
    open_shards = sorted(
        kinesis.list_shards(StreamName=STREAM, ShardFilter={"Type": "AT_LATEST"})["Shards"],
        key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]),
    )
    at = dice.randrange(len(open_shards))
    if len(open_shards) > 3 and at + 1 < len(open_shards):
        kinesis.merge_shards(
            StreamName=STREAM,
            ShardToMerge=open_shards[at]["ShardId"],
            AdjacentShardToMerge=open_shards[at + 1]["ShardId"],
        )
        return
    bounds = [int(bound) for bound in open_shards[at]["HashKeyRange"].values()]
    kinesis.split_shard(
        StreamName=STREAM,
        ShardToSplit=open_shards[at]["ShardId"],
        NewStartingHashKey=str(sum(bounds) // 2),
    )


def put_all(service, count=400, reshardings=12):
    """Numbered records of ten keys, while the stream is split and merged."""
    kinesis, dice = service.client(observer=True), random.Random(7)  # spared by fault switches
    for n in range(count):
        kinesis.put_record(
            StreamName=STREAM, Data=f"{n % 10}:{n}".encode(), PartitionKey=f"{n % 10}"
        )
        if n % (count // reshardings) == 5:
            reshard(kinesis, dice)
    return [f"{n % 10}:{n}" for n in range(count)]


def by_key(datas):
    """Returns each key's records in order of arrival, without repetitions."""
    found = {}
    for data in dict.fromkeys(datas):
        found.setdefault(data.partition(":")[0], []).append(data)
    return found


def test_every_record_comes_in_the_order_of_its_key_through_splits_and_merges(service, read_with):
    function = Function()
    read_with(function)
    expected = put_all(service)
    wait_until(lambda: len(function.datas) >= len(expected), 30)
    assert by_key(function.datas) == by_key(expected)
    assert len(function.datas) == len(expected)


def test_a_batch_is_repeated_until_it_is_taken_and_nothing_overtakes_it(service, read_with):
    dice = random.Random(3)
    outcomes = [None, None, None, None, None, "error", "unreachable"]
    function = Function(lambda _: dice.choice(outcomes))
    read_with(function)
    expected = put_all(service, count=150, reshardings=6)
    wait_until(lambda: len(function.datas) >= len(expected), 60)
    assert function.failed > 0
    assert by_key(function.datas) == by_key(expected)


def test_expired_iterators_throttling_and_lost_replies_lose_nothing(service, read_with):
    service.api.switches = service.api.switches.with_changes({"iterator_seconds": 0.03})
    service.faults.set(
        {
            "calls": {
                "kinesis.GetRecords": {
                    "fail_before": {
                        "probability": 0.2,
                        "error": "ProvisionedThroughputExceededException",
                    },
                    "lose_reply": {"probability": 0.1},
                },
                "kinesis.GetShardIterator": {"fail_before": {"probability": 0.3}},
                "kinesis.ListShards": {"fail_before": {"probability": 0.3}},
            }
        }
    )
    function = Function()
    read_with(function)
    expected = put_all(service, count=150, reshardings=4)
    wait_until(lambda: len(set(function.datas)) >= len(expected), 60)
    assert by_key(function.datas) == by_key(expected)


def test_latest_begins_with_what_comes_afterwards(service, read_with):
    put_all(service, count=60, reshardings=5)
    function = Function()
    read_with(function, "LATEST")
    kinesis = service.client()
    texts = [f"{n}:new" for n in range(20)]
    for text in texts:
        kinesis.put_record(StreamName=STREAM, Data=text.encode(), PartitionKey=text)
    wait_until(lambda: len(function.datas) >= len(texts))
    assert sorted(function.datas) == sorted(texts)


def test_an_idle_shard_is_not_polled_and_a_record_is_read_when_it_is_put(
    service, read_with, monkeypatch
):
    monkeypatch.setattr(streams, "IDLE_SECONDS", 60.0)
    function = Function()
    read_with(function, position="LATEST")
    time.sleep(0.5)
    before = service.calls()["kinesis.GetRecords"]
    time.sleep(0.5)
    assert service.calls()["kinesis.GetRecords"] == before
    kinesis = service.client()
    for number in range(3):
        kinesis.put_record(StreamName=STREAM, PartitionKey=str(number), Data=str(number).encode())
        wait_until(lambda n=number: str(n) in function.datas, 20, "the record")


@needs_redis
def test_stream_relay_and_redis_together_lose_and_double_nothing(service, read_with, tmp_path):
    """Splits and merges, a Redis that is killed and one restored from an older state, failed
    calls.
    """
    from tests.integration.test_relay_redis import View, client_of

    server = RedisServer(tmp_path, {})
    server.start()
    try:
        relay = Relay(
            stream=RedisStream(client_of(server), STREAM, 100_000),
            history=History(service.client(), STREAM),
            metrics=ProcessMetrics(),
            backfill_seconds=600,
            random_id=lambda: os.urandom(8).hex(),
            now=time.time,
            sleep=time.sleep,
        )
        read_with(RelayFunction(relay))
        reader, view = Reader(), View(server)
        kinesis, dice, expected = service.client(), random.Random(5), []
        for n in range(600):
            expected.append(f"{n % 10}:{n}")
            kinesis.put_record(
                StreamName=STREAM, Data=expected[-1].encode(), PartitionKey=f"{n % 10}"
            )
            if n % 40 == 5:
                reshard(kinesis, dice)
            if n == 200:
                client_of(server).save()
            if n % 150 == 100:
                server.kill()
            if n % 50 == 49:
                wait_until(lambda: read_whole(reader, view), what="reading")
        wait_until(lambda: read_whole(reader, view) and len(reader.received) >= len(expected), 60)
        assert reader.gaps == []
        assert by_key(e.data.decode() for e in reader.received) == by_key(expected)
        assert len(reader.received) == len(expected)
        assert server.restarts >= 3
    finally:
        server.stop()


def read_whole(reader, view):
    """Read all there is; False when the server is away in this moment."""
    import redis

    try:
        reader.read(view)
    except redis.RedisError:
        return False
    return True


class RelayFunction:
    """The relay as the function of an event source."""

    def __init__(self, relay):
        self._relay = relay

    def invoke(self, function, event):
        import redis

        try:
            self._relay.relay(arrivals_of_event(event["Records"]))
        except (redis.RedisError, NotRelayedError):
            return SimpleNamespace(error="Unhandled")
        return SimpleNamespace(error=None)
