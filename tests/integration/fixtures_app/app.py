"""A Chalice app with one of each event source; it notes what reached it in a table of its own."""

import itertools
import json
import os
import threading
import time
from functools import cache

import boto3
from chalice.app import Chalice, Rate

app = Chalice(app_name="fixture")
_lock = threading.Lock()


@cache
def client(service):
    return boto3.client(service)


def dynamodb():
    with _lock:  # making a client is not thread-safe
        return client("dynamodb")


def note(source, text):
    """Count one arrival of `text` from `source`."""
    dynamodb().update_item(
        TableName="notes",
        Key={"source": {"S": source}, "text": {"S": text}},
        UpdateExpression="ADD arrivals :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


@app.route("/health")
def health():
    return {"stage": os.environ["STAGE"], "fixture": os.environ["FIXTURE"], "pid": os.getpid()}


@app.route("/fail/{how}")
def fail(how):
    if how == "exit":
        os._exit(3)
    if how == "answer":
        return {"long": "x" * (7 * 1024 * 1024)}
    return {"how": how}


@app.route("/echo", methods=["POST"], content_types=["text/plain"])
def echo():
    return {"length": len(app.current_request.raw_body)}


@app.route("/slow")
def slow():
    note("http", "slow")
    time.sleep(float((app.current_request.query_params or {}).get("seconds", "1")))
    return {"slept": True}


@app.on_cw_event({"source": ["test.events"], "detail": {"kind": ["wanted"]}})
def on_event(event):
    note("event", event.detail["text"])
    if event.detail.get("crash"):
        os.kill(os.getpid(), 9)
    if event.detail.get("fail"):
        raise RuntimeError("asked to fail")


@app.on_cw_event({"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"]})
def on_task(event):
    note("task", f"{event.detail['lastStatus']}-{event.detail['version']}")


@app.on_sqs_message(queue="work", batch_size=5)
def on_message(event):
    for record in event:
        message = json.loads(record.body)
        note("queue", message["text"])
        if message.get("crash"):
            os.kill(os.getpid(), 9)
        if message.get("fail"):
            raise RuntimeError("asked to fail")


@app.on_kinesis_record(stream="records", batch_size=10, starting_position="TRIM_HORIZON")
def on_record(event):
    for record in event:
        note("stream", record.data.decode())
        dynamodb().update_item(
            TableName="notes",
            Key={"source": {"S": "order"}, "text": {"S": record.partition_key}},
            UpdateExpression="SET texts = list_append(if_not_exists(texts, :none), :text)",
            ExpressionAttributeValues={
                ":none": {"L": []},
                ":text": {"L": [{"S": record.data.decode()}]},
            },
        )


@app.schedule(Rate(1, unit=Rate.MINUTES))
def on_schedule(event):
    note("schedule", event.source)
    return {"noted": event.source}


@app.lambda_function()
def add(event, context):
    return {"sum": event["a"] + event["b"], "name": context.function_name}


ticks = []
calls = itertools.count(1)


def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.002)


@app.lambda_function()
def keep_ticking(event, context):
    """Starts a thread that ticks after the answer; returns the longest pause so far."""
    if not ticks:
        threading.Thread(target=tick, daemon=True).start()
        time.sleep(0.05)
    seen = list(ticks)
    pauses = [later - earlier for earlier, later in itertools.pairwise(seen)]
    return {"pid": os.getpid(), "longest_pause": max(pauses, default=0.0)}


@app.lambda_function()
def count_calls(event, context):
    number = next(calls)
    time.sleep(event.get("seconds", 0))
    return {
        "pid": os.getpid(),
        "calls": number,
        "remaining": context.get_remaining_time_in_millis(),
        "memory": context.memory_limit_in_mb,
    }


@app.lambda_function()
def misbehave(event, context):
    match event["how"]:
        case "sleep":
            time.sleep(60)
        case "memory":
            taken = bytearray(b"x" * (400 * 1024 * 1024))
            time.sleep(60)
            return len(taken)
        case "exit":
            os._exit(3)
        case "answer":
            return "x" * (7 * 1024 * 1024)
        case "raise":
            raise LookupError("asked to fail")
    return {"pid": os.getpid()}
