"""Kinesis of the embedded cloud through boto3: lineage, iterators, limits, errors."""

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError

from local.aws.kinesis.switches import Switches
from tests.kinesis_service import serve_kinesis

STREAM = "updates"


@pytest.fixture
def service():
    with serve_kinesis() as service:
        yield service


@pytest.fixture
def kinesis(service):
    client = service.client()
    client.create_stream(StreamName=STREAM, ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName=STREAM)
    return client


@contextmanager
def refused(code):
    with pytest.raises(ClientError) as refusal:
        yield
    assert refusal.value.response["Error"]["Code"] == code


def shards(kinesis, **more):
    return kinesis.list_shards(StreamName=STREAM, **more)["Shards"]


def iterator(kinesis, shard_id, kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(
        StreamName=STREAM, ShardId=shard_id, ShardIteratorType=kind, **more
    )["ShardIterator"]


def put(kinesis, data=b"data", key="key", **more):
    return kinesis.put_record(StreamName=STREAM, Data=data, PartitionKey=key, **more)


def read(kinesis, shard_id, kind="TRIM_HORIZON", **more):
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, shard_id, kind, **more))
    return [record["Data"] for record in answer["Records"]]


def split(kinesis, shard):
    bounds = [int(bound) for bound in shard["HashKeyRange"].values()]
    kinesis.split_shard(
        StreamName=STREAM,
        ShardToSplit=shard["ShardId"],
        NewStartingHashKey=str((min(bounds) + max(bounds)) // 2),
    )


def test_records_come_back_as_they_were_put(kinesis):
    datas = [b"", b"\xff\x00", b"x" * (1 << 20), "ü".encode()]
    places = [put(kinesis, data, "ü") for data in datas]
    assert len({place["ShardId"] for place in places}) == 1
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, places[0]["ShardId"]))
    assert [record["Data"] for record in answer["Records"]] == datas
    assert [r["SequenceNumber"] for r in answer["Records"]] == [
        place["SequenceNumber"] for place in places
    ]
    assert {record["PartitionKey"] for record in answer["Records"]} == {"ü"}
    arrived = answer["Records"][-1]["ApproximateArrivalTimestamp"]
    assert abs(arrived.timestamp() - time.time()) < 60
    assert answer["MillisBehindLatest"] == 0
    assert "ChildShards" not in answer


def test_sequence_numbers_are_large_and_grow_over_resharding(kinesis):
    numbers = [int(put(kinesis)["SequenceNumber"]) for _ in range(5)]
    for shard in shards(kinesis):
        split(kinesis, shard)
    numbers += [int(put(kinesis)["SequenceNumber"]) for _ in range(5)]
    assert numbers == sorted(set(numbers))
    assert {len(str(number)) for number in numbers} == {56}
    for shard in shards(kinesis)[:2]:
        bounds = shard["SequenceNumberRange"]
        assert numbers[0] > int(bounds["StartingSequenceNumber"]) or len(bounds) == 2
        assert int(bounds["EndingSequenceNumber"]) < numbers[5]


def test_a_closed_shard_ends_in_null_and_names_its_children(kinesis):
    first, second = shards(kinesis)
    put(kinesis, b"last", ExplicitHashKey="0")
    before = iterator(kinesis, first["ShardId"])
    split(kinesis, first)
    answer = kinesis.get_records(ShardIterator=before, Limit=1)
    assert [record["Data"] for record in answer["Records"]] == [b"last"]
    assert "NextShardIterator" not in answer
    children = [child["ShardId"] for child in answer["ChildShards"]]
    assert all(child["ParentShards"] == [first["ShardId"]] for child in answer["ChildShards"])
    listed = {shard["ShardId"]: shard for shard in shards(kinesis)}
    assert [listed[child]["ParentShardId"] for child in children] == [first["ShardId"]] * 2
    kinesis.merge_shards(
        StreamName=STREAM, ShardToMerge=children[1], AdjacentShardToMerge=second["ShardId"]
    )
    merged = shards(kinesis)[-1]
    assert merged["ParentShardId"] == children[1]
    assert merged["AdjacentParentShardId"] == second["ShardId"]
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, second["ShardId"], "LATEST"))
    assert answer["ChildShards"][0]["ParentShards"] == [children[1], second["ShardId"]]
    assert put(kinesis, ExplicitHashKey=str(2**128 - 1))["ShardId"] == merged["ShardId"]


def test_resharding_refuses_what_cannot_be(kinesis):
    first, second = shards(kinesis)
    with refused("InvalidArgumentException"):
        kinesis.split_shard(
            StreamName=STREAM, ShardToSplit=first["ShardId"], NewStartingHashKey="0"
        )
    split(kinesis, first)
    with refused("ResourceInUseException"):
        split(kinesis, first)
    low = next(s for s in shards(kinesis) if s.get("ParentShardId"))
    with refused("InvalidArgumentException"):
        kinesis.merge_shards(
            StreamName=STREAM,
            ShardToMerge=low["ShardId"],
            AdjacentShardToMerge=second["ShardId"],
        )


@pytest.mark.parametrize("target", [1, 3, 4])
def test_the_shard_count_is_changed_by_splits_and_merges(kinesis, target):
    kinesis.update_shard_count(
        StreamName=STREAM, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
    )
    summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == target
    ranges = sorted(
        (int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"]))
        for s in shards(kinesis, ShardFilter={"Type": "AT_LATEST"})
    )
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 2**128 - 1
    assert all(low[1] + 1 == high[0] for low, high in pairwise(ranges))


def test_iterators_begin_where_they_say(service, kinesis):
    shard_id = put(kinesis, b"a")["ShardId"]
    number = put(kinesis, b"b")["SequenceNumber"]
    service.clock.ahead += 100
    latest = iterator(kinesis, shard_id, "LATEST")
    instant = datetime.fromtimestamp(service.clock(), UTC)
    put(kinesis, b"c")
    assert read(kinesis, shard_id) == [b"a", b"b", b"c"]
    assert read(kinesis, shard_id, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=number) == [
        b"b",
        b"c",
    ]
    assert read(kinesis, shard_id, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number) == [b"c"]
    assert read(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=instant) == [b"c"]
    assert [r["Data"] for r in kinesis.get_records(ShardIterator=latest)["Records"]] == [b"c"]
    for wrong, code in (
        ("1", "InvalidArgumentException"),
        ("9" * 57, "InvalidArgumentException"),
        ("x", "ValidationException"),
    ):
        with refused(code):
            iterator(kinesis, shard_id, "AT_SEQUENCE_NUMBER", StartingSequenceNumber=wrong)


def test_an_iterator_expires_after_five_minutes_or_as_switched(service, kinesis):
    [first, _] = shards(kinesis)
    old = iterator(kinesis, first["ShardId"])
    service.clock.ahead += 299
    old = kinesis.get_records(ShardIterator=old)["NextShardIterator"]
    service.clock.ahead += 301
    with refused("ExpiredIteratorException"):
        kinesis.get_records(ShardIterator=old)
    service.api.switches = service.api.switches.with_changes({"iterator_seconds": 1})
    fresh = iterator(kinesis, first["ShardId"])
    service.clock.ahead += 1
    with refused("ExpiredIteratorException"):
        kinesis.get_records(ShardIterator=fresh)
    with refused("InvalidArgumentException"):
        kinesis.get_records(ShardIterator="nonsense")


def test_a_shard_gives_five_reads_a_second_to_all_readers_together(service, kinesis):
    service.clock.stop()
    service.api.switches = Switches()
    readers = [service.client(), service.client()]
    first, second = (iterator(kinesis, shard["ShardId"]) for shard in shards(kinesis))
    for n in range(5):
        readers[n % 2].get_records(ShardIterator=first)
    for reader in readers:
        with refused("ProvisionedThroughputExceededException"):
            reader.get_records(ShardIterator=first)
    kinesis.get_records(ShardIterator=second)
    observer = service.client(observer=True)
    for _ in range(10):
        observer.get_records(ShardIterator=first)
    service.clock.ahead += 1.01
    kinesis.get_records(ShardIterator=first)


def test_ten_mebibytes_at_once_block_the_next_five_seconds(service, kinesis):
    service.clock.stop()
    service.api.switches = Switches()
    for _ in range(12):
        place = put(kinesis, b"x" * 1_000_000)
    answer = kinesis.get_records(ShardIterator=iterator(kinesis, place["ShardId"]))
    assert len(answer["Records"]) == 10
    assert answer["MillisBehindLatest"] > 0
    service.clock.ahead += 4.7
    with refused("ProvisionedThroughputExceededException"):
        kinesis.get_records(ShardIterator=answer["NextShardIterator"])
    service.clock.ahead += 0.4
    rest = kinesis.get_records(ShardIterator=answer["NextShardIterator"])
    assert len(rest["Records"]) == 2


def test_writes_are_limited_where_that_is_switched_on(service, kinesis):
    service.clock.stop()
    service.api.switches = Switches(write_limits=True)
    records = [{"Data": b"x" * 100_000, "PartitionKey": "one"} for _ in range(20)]
    answer = kinesis.put_records(StreamName=STREAM, Records=records)
    taken = [record for record in answer["Records"] if "SequenceNumber" in record]
    assert answer["FailedRecordCount"] == 20 - len(taken)
    assert 10 <= len(taken) <= 11
    with refused("ProvisionedThroughputExceededException"):
        put(kinesis, key="one")


def test_some_records_of_a_batch_fail_as_switched(service, kinesis):
    service.api.switches = Switches(read_limits=False, put_failures=0.5, seed=1)
    records = [{"Data": b"%d" % n, "PartitionKey": "one"} for n in range(100)]
    answer = kinesis.put_records(StreamName=STREAM, Records=records)
    failed = [record for record in answer["Records"] if "ErrorCode" in record]
    assert answer["FailedRecordCount"] == len(failed)
    assert 20 < len(failed) < 80
    taken = [
        record["Data"]
        for record, result in zip(records, answer["Records"], strict=True)
        if "ErrorCode" not in result
    ]
    shard_id = next(r["ShardId"] for r in answer["Records"] if "ShardId" in r)
    assert read(kinesis, shard_id) == taken


def test_a_deleted_stream_is_gone_also_for_iterators_and_namesakes(service, kinesis):
    held = iterator(kinesis, shards(kinesis)[0]["ShardId"])
    kinesis.delete_stream(StreamName=STREAM)
    for _ in range(2):
        with refused("ResourceNotFoundException"):
            kinesis.get_records(ShardIterator=held)
        if not kinesis.list_streams()["StreamNames"]:
            with refused("ResourceNotFoundException"):
                put(kinesis)
            kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    with refused("ResourceInUseException"):
        kinesis.create_stream(StreamName=STREAM, ShardCount=1)


def test_what_is_older_than_the_retention_is_gone_and_closed_shards_with_it(service, kinesis):
    [first, _] = shards(kinesis)
    put(kinesis, b"old", ExplicitHashKey="0")
    split(kinesis, first)
    service.clock.ahead += 25 * 3600
    assert first["ShardId"] not in {shard["ShardId"] for shard in shards(kinesis)}
    with refused("ResourceNotFoundException"):
        iterator(kinesis, first["ShardId"])
    kinesis.increase_stream_retention_period(StreamName=STREAM, RetentionPeriodHours=48)
    put(kinesis, b"kept", ExplicitHashKey="0")
    service.clock.ahead += 47 * 3600
    assert read(kinesis, put(kinesis, ExplicitHashKey="0")["ShardId"])[0] == b"kept"


@pytest.mark.parametrize("micros", [0, 1, 499, 999])
def test_instants_are_compared_to_the_millisecond(service, kinesis, micros):
    """As on AWS: a record put in the same millisecond as the requested instant is found."""
    before = datetime.fromtimestamp(service.clock() + 10, UTC).replace(microsecond=394_999)
    service.clock.stop(before.timestamp())
    shard_id = put(kinesis, b"before")["ShardId"]
    instant = before.replace(microsecond=395_000 + micros)
    service.clock.stop(instant.timestamp())
    put(kinesis, b"then")
    assert read(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=instant) == [b"then"]
    (arrived,) = kinesis.get_records(
        ShardIterator=iterator(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=instant)
    )["Records"]
    arrived_at = arrived["ApproximateArrivalTimestamp"]
    assert read(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=arrived_at) == [b"then"]
    later = instant + timedelta(milliseconds=1)
    service.clock.stop(later.timestamp())
    assert read(kinesis, shard_id, "AT_TIMESTAMP", Timestamp=later) == []


def test_a_shard_that_was_closed_in_the_millisecond_asked_for_is_listed(service, kinesis):
    instant = datetime.fromtimestamp(service.clock(), UTC).replace(microsecond=395_400)
    service.clock.stop(instant.timestamp() + 1)
    split(kinesis, shards(kinesis)[0])
    asked = instant + timedelta(seconds=1, microseconds=300)
    for kind in ("FROM_TIMESTAMP", "AT_TIMESTAMP"):
        listed = shards(kinesis, ShardFilter={"Type": kind, "Timestamp": asked})
        assert len(listed) == len(shards(kinesis))


def test_listing_is_paged_and_filtered(service, kinesis):
    for shard in shards(kinesis):
        split(kinesis, shard)
    page = kinesis.list_shards(StreamName=STREAM, MaxResults=4)
    rest = kinesis.list_shards(NextToken=page["NextToken"])
    assert page["Shards"] + rest["Shards"] == shards(kinesis)
    assert len(shards(kinesis, ShardFilter={"Type": "AT_LATEST"})) == 4
    service.clock.ahead += 100
    now = datetime.fromtimestamp(service.clock(), UTC)
    assert len(shards(kinesis, ShardFilter={"Type": "FROM_TIMESTAMP", "Timestamp": now})) == 4
    described = kinesis.describe_stream(StreamName=STREAM, Limit=5)["StreamDescription"]
    assert described["HasMoreShards"] is True
    assert described["StreamARN"] == f"arn:aws:kinesis:eu-central-1:123456789012:stream/{STREAM}"
    assert kinesis.describe_stream_summary(StreamARN=described["StreamARN"])


@pytest.mark.parametrize(
    ("document", "words"),
    [({"nonsense": 1}, "unknown"), ({"read_limits": 1}, "true or false"), ({"seed": -1}, "number")],
)
def test_switches_are_checked(document, words):
    with pytest.raises(ValueError, match=words):
        Switches().with_changes(document)


def test_what_is_not_there_says_so(kinesis):
    with refused("NotImplemented"):
        kinesis.disable_enhanced_monitoring(StreamName=STREAM, ShardLevelMetrics=["ALL"])
    with refused("ValidationException"):
        put(kinesis, b"x" * ((1 << 20) + 1))
