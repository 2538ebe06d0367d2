"""The direct feed of a session container, on a fake Kinesis."""

import json
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from tests.kinesis_server import FakeKinesis
from tests.kpl import aggregate
from tests.session_client import hello_of, take, take_bye
from tests.session_process import SessionProcess, until


def test_aggregated_records_come_apart_and_are_resumed_inside(kinesis):
    pairs = [(f"key-{n % 3}", json.dumps({"n": n, "x": "y" * 9_000}).encode()) for n in range(30)]
    first, last = aggregate(pairs[:20]), aggregate(pairs[20:])
    cursor, seen = "1~h.shardId-000000000000", []
    kinesis.put(first)
    kinesis.put(last)
    while len(seen) < 30:
        with SessionProcess(kinesis) as session:
            url = f"{session.until_ready().url}?cursor={cursor}"
            with connect(url, max_size=None) as websocket:
                hello_of(websocket)
                message = json.loads(websocket.recv(20))
                seen += message["records"]
                cursor = message["cursor"]
    assert [record["data"]["n"] for record in seen] == list(range(30))
    assert [record["partitionKey"] for record in seen] == [key for key, _ in pairs]


def test_answers_too_large_to_take_are_asked_for_in_parts(kinesis, session):
    kinesis.answer_bytes = float("inf")
    for _ in range(60):
        kinesis.put({"x": "y" * 1_000_000})
    url = f"{session.url}?cursor=1~h.shardId-000000000000"
    with connect(url, max_size=None) as websocket:
        hello_of(websocket)
        take(websocket, 60)


def test_resharding_keeps_the_order_of_every_key(kinesis, session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        number = 0
        for step in range(6):
            for _ in range(50):
                kinesis.put({"n": number}, f"key-{number % 5}")
                number += 1
            open_shards = [s.shard_id for s in kinesis.shards.values() if not s.is_closed]
            if step % 3 == 2:
                kinesis.merge(*open_shards[:2])
            else:
                kinesis.split(open_shards[0])
        records, cursor = take(websocket, number)
    numbers = [record["data"]["n"] for record in records]
    for key in range(5):
        of_key = [n for n in numbers if n % 5 == key]
        assert of_key == sorted(of_key)
    assert sorted(numbers) == list(range(number))
    assert len(cursor) < 1_000


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ProvisionedThroughputExceededException", 400),
        ("InternalFailure", 500),
        ("ExpiredTokenException", 400),
        ("hang up", 0),
    ],
)
def test_errors_of_kinesis_show_as_lag_and_pass(kinesis, session, code, status):
    with connect(session.url) as websocket:
        hello_of(websocket)
        kinesis.fail("GetRecords", code, times=3, status=status)
        until(lambda: session.health()[1]["feed"]["errors"], "the error in /healthz")
        kinesis.put({"n": 1})
        records, _ = take(websocket, 1)
        until(lambda: not session.health()[1]["feed"]["errors"], "recovery in /healthz")
    assert records[0]["data"] == {"n": 1}


def test_expired_iterators_are_renewed_where_reading_was(kinesis, session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        for number in range(4):
            kinesis.put({"n": number})
            records, _ = take(websocket, 1)
            assert records[0]["data"] == {"n": number}
            kinesis.expire_iterators()


def test_a_deleted_stream_ends_the_session_with_the_reason(kinesis, callbacks, session):
    with connect(session.url) as websocket:
        hello_of(websocket)
        kinesis.delete()
        bye, code = take_bye(websocket)
    assert (bye["reason"], code) == ("feed_failed", 1011)
    assert session.exit_code() == 1
    assert callbacks.accepted[-1]["reason"] == "feed_failed"


def test_history_that_is_gone_is_told(kinesis):
    kinesis.split("shardId-000000000000")
    with SessionProcess(kinesis) as session:
        cursor = "1~5-0.shardId-000000000000"
        kinesis.put({"n": 1})
        kinesis.expire_shard("shardId-000000000000")
        with connect(f"{session.until_ready().url}?cursor={cursor}") as websocket:
            hello_of(websocket)
            gap = json.loads(websocket.recv(10))
            records, _ = take(websocket, 1)
    assert (gap["type"], gap["shards"]) == ("gap", ["shardId-000000000000"])
    assert records[0]["data"] == {"n": 1}


def test_throttled_sessions_share_a_shard_and_miss_nothing():
    with FakeKinesis(reads_per_second=5) as kinesis:
        sessions = [SessionProcess(kinesis) for _ in range(6)]
        try:
            with ExitStack() as stack:
                urls = [session.until_ready().url for session in sessions]
                sockets = [stack.enter_context(connect(url)) for url in urls]
                for websocket in sockets:
                    hello_of(websocket)
                for number in range(30):
                    kinesis.put({"n": number})
                for websocket in sockets:
                    records, _ = take(websocket, 30)
                    assert [r["data"]["n"] for r in records] == list(range(30))
            for session in sessions:
                assert session.exit_code() == 0
        finally:
            for session in sessions:
                session.__exit__()
