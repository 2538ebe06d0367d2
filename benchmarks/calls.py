"""Calls of the AWS emulation through its endpoint, one boto3 client, one at a time."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.bare import bare_server
from benchmarks.cloud import Cloud, running_cloud
from benchmarks.run import Run
from chalicelib.sessions import lifecycle
from chalicelib.sessions.creation import new_session
from chalicelib.sessions.items import to_item
from chalicelib.sessions.model import Reason, Session, State

GROUP = "calls"
TABLE = "usher-local-sessions"
ENDED = (0, 500, 5_000)
FLOOR = "floor: boto3 and a server that does nothing"
BATCH = 25
"""Maximum of BatchWriteItem."""


class IdGenerator:
    """Random values of a record; see `chalicelib.sessions.creation`."""

    def uuid(self) -> str:
        return str(uuid.uuid4())

    def key(self) -> str:
        return uuid.uuid4().hex

    def part(self) -> float:
        return 0.5


def measure_calls(run: Run) -> None:
    """The calls a dispatch is made of, with more and more ended sessions in the table."""
    count = run.many(200, 20)
    with bare_server(run) as bare, running_cloud(run, "process") as cloud:
        nothing = _client("dynamodb", bare.url)
        key = {"id": {"S": "1"}}
        _time(run, FLOOR, count, lambda _: nothing.get_item(TableName=TABLE, Key=key))
        there = 0
        for ended in ENDED if not run.quick else ENDED[:2]:
            run.say(f"calls: with {ended} ended sessions")
            _add_ended(cloud, ended - there)
            there = ended
            _measure_dynamodb(run, cloud, ended, count)
        _measure_kinesis(run, cloud, count)


def _measure_dynamodb(run: Run, cloud: Cloud, ended: int, count: int) -> None:
    dynamodb = cloud.client("dynamodb")
    sessions = [_session() for _ in range(count)]
    prefix = f"{ended} ended: "

    def get(number: int) -> None:
        dynamodb.get_item(
            TableName=TABLE, Key={"id": {"S": sessions[number].id}}, ConsistentRead=True
        )

    def put(number: int) -> None:
        dynamodb.put_item(
            TableName=TABLE,
            Item=to_item(sessions[number]),
            ConditionExpression="attribute_not_exists(id)",
        )

    def claim(number: int) -> None:
        """As the dispatcher claims where there are limits: the session and a counter."""
        owned = replace(sessions[number], owner="somebody", version=2)
        put = {
            "TableName": TABLE,
            "Item": to_item(owned),
            "ConditionExpression": "version = :expected",
            "ExpressionAttributeValues": {":expected": {"N": "1"}},
        }
        update = {
            "TableName": TABLE,
            "Key": {"id": {"S": "limit#benchmark"}},
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        dynamodb.transact_write_items(TransactItems=[{"Put": put}, {"Update": update}])

    def look(_: int) -> None:
        dynamodb.query(
            TableName=TABLE,
            IndexName="pool",
            KeyConditionExpression="#pool = :app",
            ExpressionAttributeNames={"#pool": "pool"},
            ExpressionAttributeValues={":app": {"S": "benchmark"}},
            Limit=60,
        )

    _time(run, f"{prefix}PutItem on condition", count, put)
    _time(run, f"{prefix}GetItem", count, get)
    _time(run, f"{prefix}TransactWriteItems of two", count, claim)
    _time(run, f"{prefix}Query of an empty pool", count, look)
    for session in sessions:
        dynamodb.delete_item(TableName=TABLE, Key={"id": {"S": session.id}})


def _measure_kinesis(run: Run, cloud: Cloud, count: int) -> None:
    kinesis = cloud.client("kinesis")
    stream = cloud.ready["stream"]
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="LATEST"
    )["ShardIterator"]

    def read(_: int) -> None:
        nonlocal iterator
        iterator = kinesis.get_records(ShardIterator=iterator)["NextShardIterator"]

    _time(run, "GetRecords, none new", count, read)
    _time(run, "PutRecord", count, lambda _: cloud.put_record())


def _time(run: Run, what: str, count: int, call: Callable[[int], Any]) -> None:
    values = []
    for number in range(count):
        began = time.perf_counter()
        call(number)
        values.append((time.perf_counter() - began) * 1000)
    run.report.add(GROUP, what, "ms", values, None if what == FLOOR else FLOOR)


def _client(service: str, endpoint: str) -> Any:
    import boto3

    return boto3.session.Session().client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def _session() -> Session:
    return new_session(
        IdGenerator(),
        app_name="session",
        owner="somebody",
        callback_base_url="http://127.0.0.1:8000",
        task_definition="arn:aws:ecs:us-east-1:123456789012:task-definition/usher-local-session:1",
        now=time.time(),
        queue_seconds=120,
    )


def _add_ended(cloud: Cloud, count: int) -> None:
    """Write `count` ended sessions as the dispatcher keeps them."""
    now = time.time()
    ended = []
    for _ in range(count):
        session = _session()
        for state in (State.STARTING, State.RESERVED, State.ACTIVE):
            session = session.moved(state, now, "for the benchmark")
        ended.append(lifecycle.end(session, Reason.DISCONNECTED, "exit code 0", now=now))
    for start in range(0, count, BATCH):
        _write(cloud, ended[start : start + BATCH])


def _write(cloud: Cloud, sessions: Sequence[Session]) -> None:
    puts = [{"PutRequest": {"Item": to_item(session)}} for session in sessions]
    cloud.client("dynamodb").batch_write_item(RequestItems={TABLE: puts})
