"""Records of `python -m local feed` reach three session containers at once, complete and in
order.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from local.feed.listings import demo_records
from tests.integration.conftest import ROOT, RunningCloud, wait_until

REAL_LISTINGS = ROOT.parent / "shared" / "data" / "listings.jsonl"
CLIENTS = 3
PATIENCE_SECONDS = 120


@pytest.fixture
def listings(tmp_path: Path) -> Path:
    """The real records where they are at hand, else invented ones."""
    if REAL_LISTINGS.exists():
        return REAL_LISTINGS
    file = tmp_path / "listings.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in demo_records(2000, seed=1)))
    return file


def stored_records(cloud: RunningCloud) -> dict[str, list[tuple[str, Any]]]:
    """Returns the stream's records: for each shard, (sequence number, data) in its order."""
    kinesis = cloud.client("kinesis")
    stored: dict[str, list[tuple[str, Any]]] = {}
    for shard in kinesis.list_shards(StreamName=cloud.stream)["Shards"]:
        shard_id = shard["ShardId"]
        iterator = kinesis.get_shard_iterator(
            StreamName=cloud.stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[tuple[str, Any]] = []
        while True:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            found += [
                (record["SequenceNumber"], json.loads(record["Data"]))
                for record in answer["Records"]
            ]
            iterator = answer.get("NextShardIterator")
            if iterator is None or not answer["MillisBehindLatest"]:
                break
        stored[shard_id] = found
    return stored


async def receive(url: str, wanted: int, hello: asyncio.Event) -> list[dict[str, Any]]:
    """Connect as a client does, and return the first `wanted` records."""
    received: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS), connect(url, max_size=None) as websocket:
        async for frame in websocket:
            message = json.loads(frame)
            if message["type"] == "hello":
                hello.set()
            elif message["type"] == "records":
                received += message["records"]
            if len(received) >= wanted:
                break
    return received


async def feed_and_receive(
    cloud: RunningCloud, urls: list[str], file: Path, wanted: int
) -> list[list[dict[str, Any]]]:
    greeted = [asyncio.Event() for _ in urls]
    clients = [
        asyncio.create_task(receive(url, wanted, hello))
        for url, hello in zip(urls, greeted, strict=True)
    ]
    async with asyncio.timeout(30):
        await asyncio.gather(*(hello.wait() for hello in greeted))
    feeding = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local", "feed", str(file), "--endpoint", cloud.aws, cwd=ROOT
    )
    assert await asyncio.wait_for(feeding.wait(), PATIENCE_SECONDS) == 0
    return await asyncio.gather(*clients)


@pytest.mark.listings
def test_three_clients_get_every_record_in_the_order_of_its_shard(
    cloud: RunningCloud, listings: Path
) -> None:
    lines = [json.loads(line) for line in listings.read_text("utf-8").splitlines()]
    sessions = [cloud.http("GET", "/session?wait=20") for _ in range(CLIENTS)]
    assert [status for status, _ in sessions] == [200] * CLIENTS
    urls = [session["url"] for _, session in sessions]
    assert len(set(urls)) == CLIENTS

    received = asyncio.run(feed_and_receive(cloud, urls, listings, len(lines)))

    stored = stored_records(cloud)
    assert sum(len(records) for records in stored.values()) == len(lines)
    in_order = {record["id"]: record for records in stored.values() for _, record in records}
    assert in_order == {line["id"]: line for line in lines}
    for records in received:
        assert len(records) == len(lines)
        assert by_shard(records, stored) == stored
    wait_until(lambda: cloud.tasks() == [], 30, "the end of all three tasks")


def by_shard(
    received: list[dict[str, Any]], stored: dict[str, list[tuple[str, Any]]]
) -> dict[str, list[tuple[str, Any]]]:
    """Returns the received records by shard, each in the order of its arrival."""
    home = {
        (number, json.dumps(data)): shard_id
        for shard_id, records in stored.items()
        for number, data in records
    }
    sorted_out: dict[str, list[tuple[str, Any]]] = {shard_id: [] for shard_id in stored}
    for record in received:
        number, data = record["sequenceNumber"], record["data"]
        sorted_out[home[number, json.dumps(data)]].append((number, data))
    return sorted_out


def test_updates_of_one_listing_stay_in_order(cloud: RunningCloud, tmp_path: Path) -> None:
    """Listings change several times; each client receives the changes in the order of the feed."""
    updates = demo_records(1500, seed=9)
    file = tmp_path / "updates.jsonl"
    file.write_text("".join(json.dumps(update) + "\n" for update in updates))
    status, session = cloud.http("GET", "/session?wait=20")
    assert status == 200
    [received] = asyncio.run(feed_and_receive(cloud, [session["url"]], file, len(updates)))
    assert histories(record["data"] for record in received) == histories(updates)


def histories(updates: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for update in updates:
        found.setdefault(update["id"], []).append(update)
    return found


def test_lines_come_through_a_pipe_as_they_are_written(cloud: RunningCloud) -> None:
    status, session = cloud.http("GET", "/session?wait=20")
    assert status == 200

    async def pipe() -> list[dict[str, Any]]:
        hello = asyncio.Event()
        client = asyncio.create_task(receive(session["url"], 2, hello))
        await asyncio.wait_for(hello.wait(), 30)
        feeding = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local", "feed", "-", "--endpoint", cloud.aws),
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        feeding.stdin.write(b'{"id": "a"}\n{"id": "b"}\n')
        await feeding.stdin.drain()
        received = await client  # the pipe is still open
        feeding.stdin.close()
        assert await asyncio.wait_for(feeding.wait(), 30) == 0
        return received

    received = asyncio.run(pipe())
    assert sorted(record["data"]["id"] for record in received) == ["a", "b"]
    assert all(record["partitionKey"] == record["data"]["id"] for record in received)
