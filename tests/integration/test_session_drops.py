"""A thousand drops through resharding, and a thousand sessions on one shard."""

import asyncio
import base64
import json
import random
from contextlib import AsyncExitStack, nullcontext
from itertools import islice

import pytest
from websockets.asyncio.client import connect

from chalicelib.contract.fanout import Entry, Position
from local.feed.listings import demo_records
from session_handler.credentials import CredentialCache, CredentialSource
from session_handler.feeds.kinesis import KinesisFeed
from session_handler.feeds.kinesis_client import KinesisClient
from tests.kinesis_server import FakeKinesis
from tests.needs import needs_redis
from tests.redis_feed import FeedWriter, RedisProcess
from tests.session_process import ROOT
from tests.sessions_inside import inside

REAL_LISTINGS = ROOT.parent / "shared" / "data" / "listings.jsonl"
SECONDS = 120


def listings(count):
    """The real records where they are at hand, else invented ones."""
    if REAL_LISTINGS.exists():
        with REAL_LISTINGS.open() as file:
            return [json.loads(line) for line in islice(file, count)]
    return list(islice(demo_records(count, seed=1), count))


class Copier:
    """Relays by the rules: each shard in its order, children after their parents."""

    def __init__(self, kinesis, writer):
        self.kinesis, self.writer = kinesis, writer
        self.copied = {}

    def copy(self):
        entries = []
        with self.kinesis.lock:
            for shard_id, shard in self.kinesis.shards.items():  # parents come before children
                done = self.copied.get(shard_id, 0)
                entries += [self.entry(shard_id, *item) for item in shard.records[done:]]
                self.copied[shard_id] = len(shard.records)
        if entries:
            self.writer.append(entries)

    @staticmethod
    def entry(shard_id, sequence, record):
        arrived_at = round(record["ApproximateArrivalTimestamp"] * 1000)
        data = base64.b64decode(record["Data"])
        return Entry(shard_id, sequence, 0, None, record["PartitionKey"], arrived_at, data)


def reshard(kinesis, dice):
    open_shards = [s.shard_id for s in kinesis.shards.values() if not s.is_closed]
    if len(open_shards) > 2:
        kinesis.merge(*dice.sample(open_shards, 2))
    else:
        kinesis.split(dice.choice(open_shards))


async def take_some(websocket, seen, messages):
    """Take up to so many messages; returns the cursor of the last one."""
    cursor = None
    for _ in range(messages):
        message = json.loads(await websocket.recv())
        assert message["type"] in {"hello", "records"}, message
        cursor = message["cursor"]
        seen += [(r["partitionKey"], r["data"]["serial"]) for r in message.get("records", ())]
    return cursor


async def drop_often(kinesis, copier, feeds, records, dice, drops):
    """One client, a container for each drop; returns what was put and what it saw."""
    put, seen, cursor = [], [], None
    for drop in range(drops):
        feed_url = feeds[drop % len(feeds)]
        async with inside(feed_url, AWS_ENDPOINT_URL=kinesis.url) as url:
            address = f"{url}?cursor={cursor}" if cursor else url
            websocket = await connect(address, max_size=None, compression=None, ping_interval=None)
            try:
                # Not before hello does a first visit begin.
                cursor = await take_some(websocket, seen, 1)
                for _ in range(dice.randrange(6)):
                    record = records[len(put) % len(records)] | {"serial": len(put)}
                    key = f"key-{len(put) % 11}"
                    kinesis.put(record, key)
                    put.append((key, len(put)))
                if drop % 25 == 24:
                    reshard(kinesis, dice)
                if copier:
                    copier.copy()
                if len(put) - len(seen) > 60 or (len(put) > len(seen) and dice.random() < 0.3):
                    cursor = await take_some(websocket, seen, 1)
            finally:
                websocket.transport.abort()
    async with (
        inside(feeds[0], AWS_ENDPOINT_URL=kinesis.url) as url,
        connect(f"{url}?cursor={cursor}", max_size=None) as websocket,
    ):
        while len(seen) < len(put):
            await take_some(websocket, seen, 1)
    return put, seen


@pytest.mark.listings
@pytest.mark.parametrize(
    ("names", "drops"),
    [
        pytest.param(["kinesis"], 1_000, id="direct"),
        needs_redis.parameter(["redis"], 1_000, id="fan-out"),
        needs_redis.parameter(["kinesis", "redis"], 300, id="in turn"),
    ],
)
def test_a_thousand_drops_lose_and_double_nothing(names, drops):
    dice = random.Random(11)
    with (
        FakeKinesis(shards=2) as kinesis,
        RedisProcess() if "redis" in names else nullcontext() as server,
    ):
        copier = Copier(kinesis, FeedWriter(server, kinesis.stream)) if server else None
        urls = {
            "kinesis": f"kinesis://{kinesis.stream}",
            "redis": server.url(kinesis.stream) if server else "",
        }
        feeds = [urls[name] for name in names]
        playing = drop_often(kinesis, copier, feeds, listings(5_000), dice, drops)
        put, seen = asyncio.run(asyncio.wait_for(playing, SECONDS))
    assert len(put) > 2 * drops
    assert len(kinesis.shards) > drops // 25
    assert sorted(seen) == sorted(put)
    for key in {key for key, _ in put}:
        serials = [serial for of, serial in seen if of == key]
        assert serials == sorted(serials)


async def relay(kinesis, writer):
    """The only reader of the stream."""
    client = KinesisClient(
        endpoint_url=kinesis.url,
        region="us-east-1",
        credentials=CredentialCache(CredentialSource(), lambda: 0.0),
        now=lambda: 0.0,
    )
    feed = KinesisFeed(kinesis.stream, client)
    await feed.prepare()
    await feed.start(None)

    async def deliver(records, passed):
        for record in records:
            position = Position(int(record.sequence_number), record.subsequence)
            data = json.dumps(record.data).encode()
            shard = next(iter(kinesis.shards))
            entry = Entry(shard, *position, None, record.partition_key, record.arrived_at, data)
            writer.append([entry])
            passed(record)

    async def tell_gap(shards):
        raise AssertionError(shards)

    try:
        await feed.run(deliver, tell_gap)
    finally:
        feed.close()


@needs_redis
def test_a_thousand_sessions_read_kinesis_as_often_as_one():
    sessions, records = 1_000, 20

    async def serve(kinesis, writer, url):
        relaying = asyncio.create_task(relay(kinesis, writer))
        async with AsyncExitStack() as stack:
            urls = await asyncio.gather(
                *(stack.enter_async_context(inside(url)) for _ in range(sessions))
            )
            websockets = await asyncio.gather(
                *(connect(url, compression=None, ping_interval=None) for url in urls)
            )
            try:
                await asyncio.gather(*(websocket.recv() for websocket in websockets))
                loop = asyncio.get_running_loop()
                reads, began = kinesis.calls["GetRecords"], loop.time()
                for number in range(records):
                    kinesis.put({"serial": number})
                for websocket in websockets:
                    seen = []
                    while len(seen) < records:
                        await take_some(websocket, seen, 1)
                    assert [serial for _, serial in seen] == list(range(records))
                return kinesis.calls["GetRecords"] - reads, loop.time() - began
            finally:
                for websocket in websockets:
                    websocket.transport.abort()
                relaying.cancel()

    with FakeKinesis() as kinesis, RedisProcess("maxclients 4000") as server:
        writer = FeedWriter(server, kinesis.stream)
        serving = serve(kinesis, writer, server.url(kinesis.stream))
        reads, seconds = asyncio.run(asyncio.wait_for(serving, SECONDS))
    assert reads <= 5 * seconds + 5
