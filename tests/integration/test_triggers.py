"""Events, queues, streams, schedules and direct invocations reach the functions of an app."""

import json
import os
import signal
import time
import uuid

from local.functions.triggers.expiry import delete_expired
from tests.integration.conftest import wait_until


def arrivals(cloud, source):
    """Returns how often each event of a source arrived: {text: count}."""
    found = cloud.client("dynamodb").query(
        TableName="notes",
        KeyConditionExpression="#source = :source",
        ExpressionAttributeNames={"#source": "source"},
        ExpressionAttributeValues={":source": {"S": source}},
        ConsistentRead=True,
    )["Items"]
    return {item["text"]["S"]: int(item["arrivals"]["N"]) for item in found}


def put_event(cloud, text, **detail):
    answer = cloud.client("events").put_events(
        Entries=[
            {
                "Source": "test.events",
                "DetailType": "Test",
                "Detail": json.dumps({"kind": "wanted", "text": text} | detail),
            }
        ]
    )
    assert answer["FailedEntryCount"] == 0


def send(cloud, text, **body):
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="work")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"text": text} | body))


def unique():
    return uuid.uuid4().hex


def test_an_event_that_matches_reaches_its_function_and_no_other_does(fixture_cloud):
    wanted, other = unique(), unique()
    put_event(fixture_cloud, other, kind="other")
    put_event(fixture_cloud, wanted)
    wait_until(lambda: wanted in arrivals(fixture_cloud, "event"))
    assert other not in arrivals(fixture_cloud, "event")


def test_a_function_that_fails_gets_its_event_three_times(fixture_cloud):
    text = unique()
    put_event(fixture_cloud, text, fail=True)
    wait_until(lambda: arrivals(fixture_cloud, "event").get(text) == 3)
    wait_until(lambda: fixture_cloud.state()["pending"] == 0)
    assert arrivals(fixture_cloud, "event")[text] == 3
    assert fixture_cloud.state()["given_up"] >= 1
    wait_until(lambda: warned(fixture_cloud, "on_event failed: RuntimeError: asked to fail"))


def warned(cloud, words):
    """Whether `local up` printed the words to its user, with the path of the traceback."""
    where = f"; its traceback is in {cloud.folder / cloud.run_id / 'logs' / 'dispatcher.log'}"
    return any(words in line and where in line for line in cloud.errors)


def test_events_are_doubled_dropped_and_late_as_the_switches_say(fixture_cloud):
    before = fixture_cloud.state()["injected"]
    doubled, dropped = unique(), unique()
    fixture_cloud.faults(duplicate_events=1.0, late_events={"probability": 1, "seconds": 0.2})
    put_event(fixture_cloud, doubled)
    fixture_cloud.faults(drop_events=1.0)
    put_event(fixture_cloud, dropped)
    fixture_cloud.faults()
    wait_until(lambda: arrivals(fixture_cloud, "event").get(doubled) == 2)
    assert dropped not in arrivals(fixture_cloud, "event")
    after = fixture_cloud.state()["injected"]
    for name in ("duplicate_events", "late_events", "drop_events"):
        assert after[name] == before.get(name, 0) + 1


def test_events_of_the_engine_arrive(fixture_cloud):
    ecs = fixture_cloud.client("ecs")
    ecs.register_task_definition(
        family="brief",
        containerDefinitions=[
            {
                "name": "c",
                "image": "usher-session",
                "memory": 64,
                "entryPoint": ["python", "-c", "1"],
            }
        ],
    )
    ecs.run_task(cluster="usher-local", taskDefinition="brief")
    wait_until(
        lambda: (
            {text.partition("-")[0] for text in arrivals(fixture_cloud, "task")}
            >= {"PROVISIONING", "PENDING", "STOPPED"}
        )
    )


def test_a_message_is_handled_once_and_deleted(fixture_cloud):
    texts = [unique() for _ in range(12)]
    for text in texts:
        send(fixture_cloud, text)
    wait_until(lambda: set(texts) <= set(arrivals(fixture_cloud, "queue")))
    assert {arrivals(fixture_cloud, "queue")[text] for text in texts} == {1}


def test_a_message_whose_function_fails_comes_back_and_ends_in_the_dead_letters(fixture_cloud):
    text = unique()
    send(fixture_cloud, text, fail=True)
    sqs = fixture_cloud.client("sqs")
    dead = sqs.get_queue_url(QueueName="dead")["QueueUrl"]

    def dead_texts():
        messages = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"])["text"] for message in messages]

    wait_until(lambda: text in dead_texts(), seconds=30)
    assert arrivals(fixture_cloud, "queue")[text] == 2


def test_records_of_a_key_arrive_once_and_in_order(fixture_cloud):
    kinesis = fixture_cloud.client("kinesis")
    key, texts = unique(), [unique() for _ in range(25)]
    for text in texts:
        kinesis.put_record(StreamName="records", Data=text.encode(), PartitionKey=key)

    def order():
        item = fixture_cloud.client("dynamodb").get_item(
            TableName="notes", Key={"source": {"S": "order"}, "text": {"S": key}}
        )
        return [text["S"] for text in item.get("Item", {}).get("texts", {}).get("L", [])]

    wait_until(lambda: len(order()) >= len(texts))
    assert order() == texts


def test_what_expired_is_deleted_and_nothing_else(fixture_cloud):
    dynamodb = fixture_cloud.client("dynamodb")
    now = int(time.time()) + 10**8  # far ahead, so that the cloud's own clock spares all three
    keys = {}
    for text, expires in (("gone", now - 1), ("stays", now + 60), ("forever", None)):
        keys[text] = {"source": {"S": "expiry"}, "text": {"S": f"{text}-{unique()}"}}
        expiry = {} if expires is None else {"expire_at": {"N": str(expires)}}
        dynamodb.put_item(TableName="notes", Item=keys[text] | expiry)
    assert delete_expired(dynamodb, now) == 1
    left = {
        text
        for text, key in keys.items()
        if "Item" in dynamodb.get_item(TableName="notes", Key=key)
    }
    assert left == {"stays", "forever"}


def test_a_schedule_fires_when_told_and_the_answer_is_the_result(fixture_cloud):
    outcome = fixture_cloud.fire("on_schedule")
    assert outcome == {
        "function": "on_schedule", "error": None, "payload": {"noted": "aws.events"},
    }  # fmt: skip
    assert arrivals(fixture_cloud, "schedule")["aws.events"] >= 1


def test_a_function_is_called_by_name(fixture_cloud):
    outcome = fixture_cloud.fire("add", {"a": 2, "b": 3})
    assert outcome["payload"] == {"sum": 5, "name": "add"}


def test_a_function_that_raises_answers_with_its_error(fixture_cloud):
    outcome = fixture_cloud.fire("add", {})
    assert outcome["error"] == "Unhandled"
    assert outcome["payload"]["errorType"] == "KeyError"


def test_the_sources_are_those_of_the_app(fixture_cloud):
    functions = {f["name"]: f for f in fixture_cloud.state()["functions"]}
    assert {name: f["source"] for name, f in functions.items()} == {
        "on_event": "event", "on_task": "event", "on_message": "queue", "on_record": "stream",
        "on_schedule": "schedule", "add": "none",
        "keep_ticking": "none", "count_calls": "none", "misbehave": "none",
    }  # fmt: skip
    assert functions["on_schedule"]["settings"] == {"expression": "rate(1 minute)"}


def test_a_dispatcher_that_is_killed_is_replaced_on_the_same_port(fixture_cloud):
    restarts = fixture_cloud.state()["dispatcher"]["restarts"]
    old = fixture_cloud.state()["dispatcher"]["pid"]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: fixture_cloud.state()["dispatcher"]["pid"] not in {None, old})
    status, health = fixture_cloud.http("GET", "/health")
    assert status == 200
    assert health["pid"] != old
    assert fixture_cloud.state()["dispatcher"]["restarts"] == restarts + 1


def test_an_event_that_meets_a_dead_dispatcher_is_delivered_to_the_next_one(fixture_cloud):
    text = unique()
    fixture_cloud.control("POST", "dispatcher/kill")
    put_event(fixture_cloud, text)
    wait_until(lambda: text in arrivals(fixture_cloud, "event"), seconds=30)


def test_a_message_that_kills_the_dispatcher_comes_back(fixture_cloud):
    text = unique()
    send(fixture_cloud, text, crash=True)
    wait_until(lambda: arrivals(fixture_cloud, "queue").get(text) == 2, seconds=40)
    wait_until(lambda: fixture_cloud.http("GET", "/health")[0] == 200)
