"""The product on emulators of AWS that others wrote: DynamoDB and SQS of ministack, kinesalite.

What each of them does unlike AWS is listed in docs/verified.md.
"""

import json

import pytest

from tests.emulators import serve_ministack, serve_npm
from tests.integration.conftest import finish, launch, wait_until
from tests.integration.light_job import DESCRIPTION, Runs, make_light_job
from tests.integration.sessions import client_of, dispatch, no_tasks, wait_for
from tests.integration.test_feed_end_to_end import by_shard, stored_records
from tests.needs import needs_kinesalite, needs_ministack

APPS = """
default = "cold"

[limits]
total = 100

[apps.cold]
image = "usher-session"
cpu = 64
memory = 64

[apps.warm]
image = "usher-session"
cpu = 64
memory = 64
pool = {minimum = 1, maximum = 1}
"""
OURS = ("ecs.", "ec2.", "kinesis.", "logs.", "scheduler.")
"""Calls that the other emulator does not get."""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A cloud whose tables and queues are ministack's."""
    apps = tmp_path_factory.mktemp("apps") / "apps.toml"
    apps.write_text(APPS)
    with serve_ministack("dynamodb", "sqs") as url:
        services = [f"dynamodb={url}", f"sqs={url}"]
        folder = tmp_path_factory.mktemp("runs")
        running = launch(folder, apps=apps, aws_service=services, feed_engine="direct")
        yield running
        finish(running)


@needs_ministack
def test_a_cold_session_from_the_request_to_its_end(cloud):
    session = dispatch(cloud, "?wait=25")
    assert (session["app"], session["warm"]) == ("cold", False)
    with client_of(session) as (_, hello):
        assert hello["session"] == session["id"]
        wait_for(cloud, session["id"], "ACTIVE")
    assert wait_for(cloud, session["id"], "ENDED")["reason"] == "disconnected"


@needs_ministack
def test_a_warm_claim_is_two_calls_and_the_pool_is_filled_again(cloud):
    wait_until(lambda: len(warm_ones(cloud)) == 1, 30, "the pool")
    before = cloud.state()["calls"]
    session = dispatch(cloud, "?app=warm&wait=0")
    assert session["warm"] is True
    after = cloud.state()["calls"]
    for call in ("dynamodb.Query", "dynamodb.TransactWriteItems"):
        assert after[call] > before.get(call, 0)
    with client_of(session):
        wait_for(cloud, session["id"], "ACTIVE")
        wait_until(
            lambda: session["id"] not in warm_ones(cloud) and warm_ones(cloud), 30, "another"
        )
    assert wait_for(cloud, session["id"], "ENDED")["reason"] == "disconnected"


def warm_ones(cloud):
    answer = cloud.client("dynamodb").scan(TableName="usher-local-sessions", ConsistentRead=True)
    return {
        item["id"]["S"]
        for item in answer["Items"]
        if item.get("state", {}).get("S") == "WARM" and item["app"]["S"] == "warm"
    }


@needs_ministack
def test_one_key_is_one_session_and_a_deleted_one_ends(cloud):
    key = {"Idempotency-Key": "the-same"}
    status, first = cloud.http("GET", "/session?wait=25", headers=key)
    assert status == 200
    assert cloud.http("GET", "/session?wait=25", headers=key)[1]["id"] == first["id"]
    assert cloud.http("DELETE", f"/sessions/{first['id']}")[0] == 200
    assert wait_for(cloud, first["id"], "ENDED")["reason"] == "stopped"
    assert cloud.http("GET", "/session?wait=25", headers=key)[1]["id"] != first["id"]


@pytest.fixture(scope="module")
def job(cloud, tmp_path_factory):
    """A job's invocation with parameters: `job(seconds=…)` gives its id."""
    runs = Runs()
    image = make_light_job(tmp_path_factory.mktemp("job") / "light")
    told = cloud.http("PUT", "/jobs/light", {"image": image, "description": DESCRIPTION})
    assert told[0] == 200, told

    def parameters(seconds):
        return {"port": runs.port, "seconds": seconds}

    yield parameters
    runs.close()


def invoke(cloud, parameters, **more):
    body = {"parameters": parameters, **more}
    status, made = cloud.http("POST", "/jobs/light/invocations", body)
    assert status == 201, made
    return made["id"]


def end_of(cloud, invocation_id):
    def ended():
        _, found = cloud.http("GET", f"/invocations/{invocation_id}")
        return found if found["finishedAt"] else None

    return wait_until(ended, 90, "the end of the invocation", every=0.1)


@needs_ministack
@pytest.mark.parametrize("priority", ["critical", "normal", "low"])
def test_a_job_runs_at_each_priority(cloud, job, priority):
    invocation = end_of(cloud, invoke(cloud, job(0.1), priority=priority))
    assert (invocation["state"], invocation["reason"]) == ("FINISHED", "succeeded")


@needs_ministack
def test_a_running_job_is_killed(cloud, job):
    made = invoke(cloud, job(60))
    wait_until(
        lambda: cloud.http("GET", f"/invocations/{made}")[1]["state"] == "STARTED", 60, "the start"
    )
    assert cloud.http("POST", f"/invocations/{made}/kill")[0] in {200, 202}
    assert end_of(cloud, made)["reason"] == "killed"


@needs_ministack
def test_a_schedule_fires_at_its_minute(cloud, job):
    body = {"job": "light", "expression": "cron(* * * * ? *)", "parameters": job(0.1)}
    assert cloud.http("PUT", "/schedules/tick", body)[0] in {200, 201}

    def fired():
        _, page = cloud.http("GET", "/invocations")
        return [made for made in page["invocations"] if made.get("schedule") == "tick"]

    made = wait_until(fired, 90, "the tick", every=0.2)
    assert end_of(cloud, made[0]["id"])["reason"] == "succeeded"
    assert cloud.http("DELETE", "/schedules/tick")[0] in {200, 204}


@needs_ministack
def test_nothing_is_left_nothing_failed_and_the_sweep_agrees(cloud):
    assert cloud.fire("sweep")["error"] is None
    wait_until(lambda: len(cloud.tasks()) == 1, 30, "the end of all tasks but the pool's")
    state = cloud.state()
    assert state["given_up"] == 0
    assert state["rights"]["refused"] == {}
    theirs = {call for call in state["calls"] if not call.startswith(OURS)}
    assert {call.partition(".")[0] for call in theirs} == {"dynamodb", "sqs"}


SHARDS = 2
BATCH = 60


@needs_kinesalite
def test_kinesalite_feeds_a_session_directly_over_a_split_and_a_resume(start_cloud):
    with serve_npm("kinesalite") as url:
        cloud = start_cloud(feed_engine="direct", aws_service=f"kinesis={url}")
        put(cloud, 0)
        first = dispatch(cloud, "?wait=25")
        with client_of(first) as (websocket, hello):
            put(cloud, 1)
            records, cursor = take(websocket, BATCH, hello["cursor"])
        wait_for(cloud, first["id"], "ENDED")
        put(cloud, 2)
        split_first_shard(cloud)
        put(cloud, 3)
        second = dispatch(cloud, "?wait=25")
        with client_of(second, cursor) as (websocket, _):
            more, _ = take(websocket, 2 * BATCH, cursor)
            put(cloud, 4)
            last, _ = take(websocket, BATCH, cursor)
        wait_for(cloud, second["id"], "ENDED")
        received = records + more + last
        stored = {
            shard: [(number, data) for number, data in kept if data["batch"] > 0]
            for shard, kept in stored_records(cloud).items()
        }
        assert len(stored) == SHARDS + 2
        assert len(received) == 4 * BATCH
        assert by_shard(received, stored) == stored
        no_tasks(cloud)


def put(cloud, batch):
    """Wait for this many records over all shards."""
    records = [
        {"Data": json.dumps({"batch": batch, "n": n}).encode(), "PartitionKey": f"key-{n}"}
        for n in range(BATCH)
    ]
    answer = cloud.client("kinesis").put_records(StreamName=cloud.stream, Records=records)
    assert answer["FailedRecordCount"] == 0


def take(websocket, count, cursor):
    """The next so many records, and the cursor behind them."""
    records = []
    while len(records) < count:
        message = json.loads(websocket.recv(timeout=30))
        assert message["type"] == "records", message
        records += message["records"]
        cursor = message["cursor"]
    assert len(records) == count
    return records, cursor


def split_first_shard(cloud):
    kinesis = cloud.client("kinesis")
    shard = kinesis.list_shards(StreamName=cloud.stream)["Shards"][0]
    keys = shard["HashKeyRange"]
    middle = (int(keys["StartingHashKey"]) + int(keys["EndingHashKey"])) // 2
    kinesis.split_shard(
        StreamName=cloud.stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle)
    )

    def is_active():
        summary = kinesis.describe_stream_summary(StreamName=cloud.stream)
        return summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"

    wait_until(is_active, 30, "the split")
