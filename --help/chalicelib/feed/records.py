"""Converts Kinesis records to entries of the fan-out feed, in chunks of limited size. Pure."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib.contract.fanout import Entry
from chalicelib.contract.json_text import is_json
from chalicelib.contract.kpl import take_apart

MAX_CHUNK_ENTRIES = 500
MAX_CHUNK_BYTES = 1_048_576
"""Maximum data of a chunk, so that no script blocks Redis for long. A larger record is a chunk of
its own."""


class Arrival(NamedTuple):
    """One record of Kinesis."""

    shard_id: str
    sequence: int
    partition_key: str
    arrived_at: int
    """Epoch milliseconds."""
    data: bytes


def arrivals_of_event(records: Iterable[Mapping[str, Any]]) -> list[Arrival]:
    """Records of a Lambda event."""
    return [
        Arrival(
            shard_id=record["eventID"].partition(":")[0],
            sequence=int(record["kinesis"]["sequenceNumber"]),
            partition_key=record["kinesis"]["partitionKey"],
            arrived_at=round(record["kinesis"]["approximateArrivalTimestamp"] * 1000),
            data=base64.b64decode(record["kinesis"]["data"]),
        )
        for record in records
    ]


def arrivals_of_answer(shard_id: str, records: Iterable[Mapping[str, Any]]) -> list[Arrival]:
    """Records of a GetRecords answer of boto3."""
    return [
        Arrival(
            shard_id=shard_id,
            sequence=int(record["SequenceNumber"]),
            partition_key=record["PartitionKey"],
            arrived_at=round(record["ApproximateArrivalTimestamp"].timestamp() * 1000),
            data=record["Data"],
        )
        for record in records
    ]


def entries_of(arrival: Arrival) -> Iterator[Entry]:
    """The entries of one record: one, or one for each part of an aggregated record.

    The script that appends them adds the previous position. The data is not interpreted: a
    malformed record must not stop those after it.
    """
    parts = take_apart(arrival.data)
    if parts is None:
        yield _entry(arrival, 0, arrival.partition_key, arrival.data)
        return
    for number, part in enumerate(parts, 1):
        yield _entry(arrival, number, part.partition_key, part.data)


def _entry(arrival: Arrival, subsequence: int, partition_key: str, data: bytes) -> Entry:
    return Entry(
        shard_id=arrival.shard_id,
        sequence=arrival.sequence,
        subsequence=subsequence,
        previous=None,
        partition_key=partition_key,
        arrived_at=arrival.arrived_at,
        data=data,
        is_json=is_json(data),
    )


def chunks(
    entries: Iterable[Entry],
    max_entries: int = MAX_CHUNK_ENTRIES,
    max_bytes: int = MAX_CHUNK_BYTES,
) -> Iterator[list[Entry]]:
    """The entries in order, in chunks that one script may append."""
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        if chunk and (len(chunk) == max_entries or size + len(entry.data) > max_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += len(entry.data)
    if chunk:
        yield chunk


def parents_first(shards: Iterable[Mapping[str, Any]]) -> list[str]:
    """Shard ids of a ListShards answer, each after its parents."""
    listed = {shard["ShardId"]: shard for shard in shards}
    ordered: dict[str, None] = {}
    pending = sorted(listed, reverse=True)
    while pending:
        shard = listed[pending[-1]]
        parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
        missing = [p for p in parents if p in listed and p not in ordered]
        if missing:
            pending += missing
        else:
            ordered[pending.pop()] = None
    return list(ordered)
