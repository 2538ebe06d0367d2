"""The fan-out feed on a server in cluster mode, as Valkey serverless is one: MOVED, hash tags."""

import asyncio
import time
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
from redis.exceptions import TryAgainError

from chalicelib.contract.fanout import FanoutUrl, keys_of
from chalicelib.feed.relay import Relay
from chalicelib.feed.stream import RedisStream
from chalicelib.feed.wiring import redis_client
from chalicelib.metrics import ProcessMetrics
from session_handler.redis_client import RedisClient
from tests.fanout_model import FakeHistory
from tests.integration.conftest import wait_until
from tests.needs import needs_redis
from tests.redis_feed import RedisProcess, free_port

STREAM = "updates"
SLOTS = 16_384


@pytest.fixture(params=[1, 3], ids=["one node", "three nodes"])
def cluster(request, tmp_path):
    """Nodes of one cluster that share the slots evenly."""
    with ExitStack() as stack:
        nodes = []
        for number in range(request.param):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = ("cluster-enabled yes", f"dir {folder}", "cluster-node-timeout 2000")
            bus = f"cluster-port {free_port()}"
            nodes.append(stack.enter_context(RedisProcess(*settings, bus)))
        first, *others = [stack.enter_context(closing(node.connect())) for node in nodes]
        for number, connection in enumerate([first, *others]):
            begin, end = (SLOTS * n // len(nodes) for n in (number, number + 1))
            connection.call("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
            connection.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            first.call("CLUSTER", "MEET", "127.0.0.1", node.port, node.settings[-1].split()[1])
        for connection in [first, *others]:
            wait_until(lambda c=connection: b"cluster_state:ok" in c.call("CLUSTER", "INFO"), 30)
        yield nodes


def stream_at(node):
    url = FanoutUrl.parse(node.url(STREAM))

    def client_at(host, port):
        # All nodes of these tests have one password.
        return redis_client(replace(url, host=host, port=port))

    return RedisStream(redis_client(url), STREAM, 100_000, client_at)


def relay_at(node, history):
    return Relay(
        stream=stream_at(node),
        history=history,
        metrics=ProcessMetrics(),
        backfill_seconds=10**9,
        random_id=iter(map(str, range(10**6))).__next__,
        now=time.time,
        sleep=time.sleep,
    )


@needs_redis
def test_records_go_through_every_node_and_are_read_through_every_node(cluster):
    history = FakeHistory(2)
    sent = []
    for number in range(30):
        shard_id = list(history.by_id)[number % 2]
        arrival = history.put(shard_id, b"%d" % number)
        sent.append(arrival.data)
        relay_at(cluster[number % len(cluster)], history).relay([arrival])
    records = keys_of(STREAM).records

    async def read(node):
        client = RedisClient(FanoutUrl.parse(node.url(STREAM)))
        try:
            *_, found = await client.call(
                ("MULTI",), ("XRANGE", records, "-", "+"), ("TIME",), ("EXEC",)
            )
            again = await client.call(
                ("XREAD", "BLOCK", 100, "STREAMS", records, "$"), wait_seconds=1.0
            )
            return len(found[0]), again
        finally:
            client.close()

    for node in cluster:
        assert asyncio.run(read(node)) == (30, [None])
    origins = {stream_at(node).begin("new", 0, "me", 1).origin for node in cluster}
    assert len(origins) == 1, "one origin, so no refill after the first"
    assert len(sent) == 30


@needs_redis
def test_a_server_that_hides_its_run_id_is_not_filled_for_ever(cluster):
    """INFO of Valkey serverless may lack run_id: it counts as the same server while it has data."""
    stream = stream_at(cluster[0])
    begun = stream.begin("first", 0, "me", 30)
    relay_key = keys_of(STREAM).relay
    stream._client.hset(relay_key, "server", "")
    for name, text in list(stream._texts.items()):
        stream._texts[name] = text.replace("'run_id:(%w+)'", "'no_such_line:(%w+)'")
    assert stream.end(begun.origin, "me", is_whole=True)
    assert stream.begin("second", 0, "you", 30).state == "whole"
    stream._client.delete(keys_of(STREAM).origin)
    again = stream.begin("third", 0, "you", 30)
    assert (again.state, again.origin) == ("yours", "third"), "lost data shows by its origin"


def migrate(source, target, node, keys):
    """Begin to migrate their slot, and move the keys; the slot stays the source's."""
    slot = source.call("CLUSTER", "KEYSLOT", keys[0])
    node_ids = [source.call("CLUSTER", "MYID"), target.call("CLUSTER", "MYID")]
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", node_ids[0])
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", node_ids[1])
    moved = [key for key in keys if source.call("EXISTS", key)]
    to = ("127.0.0.1", node.port, "", 0, 5000, "AUTH", node.password)
    source.call("MIGRATE", *to, "KEYS", *moved)
    return slot, node_ids[1]


@needs_redis
@pytest.mark.parametrize("cluster", [2], indirect=True, ids=["two nodes"])
def test_a_slot_that_migrates_loses_no_record_and_is_read_meanwhile(cluster):
    importer, owner = cluster
    history = FakeHistory(1)
    (shard_id,) = history.by_id
    keys = keys_of(STREAM)

    def relay(number):
        relay_at(owner, history).relay([history.put(shard_id, b"%d" % number)])

    async def read():
        """All entries, in a transaction and by a read that would wait."""
        client = RedisClient(FanoutUrl.parse(owner.url(STREAM)))
        try:
            range_command = ("XRANGE", keys.records, "-", "+")
            *_, found = await client.call(("MULTI",), range_command, ("TIME",), ("EXEC",))
            [[[_, again]]] = await client.call(("XREAD", "STREAMS", keys.records, "0"))
            assert again == found[0]
            return len(again)
        finally:
            client.close()

    with closing(owner.connect()) as one, closing(importer.connect()) as other:
        assert one.call("CLUSTER", "KEYSLOT", keys.records) >= SLOTS // 2, "the second one's"
        relay(1)
        last = stream_at(owner).last()
        slot, target_id = migrate(one, other, importer, keys)
        assert asyncio.run(read()) == 1
        assert stream_at(owner).last() == last
        try:
            relay(2)
            was_relayed = True
        except TryAgainError:  # a script's keys are at two nodes: Lambda repeats the batch
            was_relayed = False
        for connection in (other, one):
            connection.call("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        assert asyncio.run(read()) == 1 + was_relayed
        relay(3)
        assert asyncio.run(read()) == 3, "the second is filled in from Kinesis if it is missing"
