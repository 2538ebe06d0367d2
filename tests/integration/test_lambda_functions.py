"""Functions in processes of their own: `local up --functions lambda`, as Lambda runs them."""

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.conftest import (
    FIXTURES_APP,
    finish,
    launch,
    processes_of,
    wait_until,
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """The app with one function for each event source, each in processes of its own."""
    running = launch(tmp_path_factory.mktemp("runs"), project_dir=FIXTURES_APP, functions="lambda")
    yield running
    finish(running)


def payload_of(cloud, function, event=None):
    outcome = cloud.fire(function, event or {})
    assert outcome["error"] is None, outcome
    return outcome["payload"]


def state_of(pid: int) -> str:
    """One letter of the kernel's: R running, S sleeping, T stopped."""
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]


def notes(cloud, source):
    items = cloud.client("dynamodb").scan(TableName="notes")["Items"]
    return {
        item["text"]["S"]: int(item["arrivals"]["N"])
        for item in items
        if item["source"]["S"] == source and "arrivals" in item
    }


def test_a_thread_stands_still_between_two_calls(cloud):
    pid = payload_of(cloud, "keep_ticking")["pid"]
    wait_until(lambda: state_of(pid) == "T", 5, "the freeze")
    threading.Event().wait(0.3)  # a pause in which the thread is frozen
    again = payload_of(cloud, "keep_ticking")
    assert again["pid"] == pid
    assert again["longest_pause"] >= 0.3


def test_functions_share_no_process_and_concurrent_calls_share_none_either(cloud):
    with ThreadPoolExecutor(2) as callers:
        pair = list(callers.map(lambda _: payload_of(cloud, "count_calls", {"seconds": 0.5}), "ab"))
    assert len({one["pid"] for one in pair}) == 2
    assert [one["calls"] for one in pair] == [1, 1]
    again = payload_of(cloud, "count_calls")
    assert again["pid"] in {one["pid"] for one in pair}
    assert again["calls"] == 2
    assert payload_of(cloud, "keep_ticking")["pid"] not in {one["pid"] for one in pair}


def test_a_function_knows_its_limits(cloud):
    told = payload_of(cloud, "count_calls")
    assert 0 < told["remaining"] <= 10_000
    assert told["memory"] == 256


def test_reserved_concurrency_refuses_further_calls(cloud):
    with ThreadPoolExecutor(2) as callers:
        busy = [callers.submit(payload_of, cloud, "count_calls", {"seconds": 3}) for _ in "ab"]
        wait_until(lambda: len(cloud.state()["environments"]["count_calls"]["busy"]) == 2)
        outcome = cloud.fire("count_calls", {})
        assert outcome["error"] == "Unreachable"
        assert "TooManyRequests" in outcome["payload"] or "Rate Exceeded" in outcome["payload"]
        assert {call.result()["memory"] for call in busy} == {256}


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("sleep", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("memory", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("exit", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("answer", "Function.ResponseSizeTooLarge", "exceeded maximum allowed payload size"),
        ("raise", "LookupError", "asked to fail"),
    ],
)
def test_what_goes_wrong_is_answered_in_the_words_of_lambda(cloud, how, kind, words):
    before = payload_of(cloud, "misbehave", {"how": "nothing"})["pid"]
    outcome = cloud.fire("misbehave", {"how": how})
    assert outcome["error"] == "Unhandled"
    assert outcome["payload"]["errorType"] == kind
    assert words in outcome["payload"]["errorMessage"]
    after = payload_of(cloud, "misbehave", {"how": "nothing"})["pid"]
    wait_until(lambda: any(f"misbehave failed: {kind}: " in line for line in cloud.errors))
    survives = how in {"answer", "raise"}
    assert (after == before) is survives
    assert Path(f"/proc/{before}").exists() is survives


def test_a_request_over_six_mebibytes_is_refused(cloud):
    outcome = cloud.fire("count_calls", {"text": "x" * (6 * 1024 * 1024)})
    assert outcome["error"] == "NotInvoked"
    assert "6291456" in outcome["payload"]["Message"]


def test_an_event_over_one_mebibyte_is_refused_asynchronously(cloud):
    """EventBridge itself accepts less; a deferred start of our own could be larger."""
    before = cloud.state()["given_up"]
    events = cloud.client("events")
    detail = '{"text": "large", "kind": "wanted", "more": "%s"}' % ("x" * 1_100_000)
    try:
        events.put_events(Entries=[{"Source": "test.events", "DetailType": "t", "Detail": detail}])
    except events.exceptions.ClientError:
        return  # refused at the door, which is as good
    wait_until(lambda: cloud.state()["given_up"] > before)
    assert "large" not in notes(cloud, "event")


def test_an_asynchronous_call_whose_process_dies_is_tried_twice_more(cloud):
    before = cloud.state()["given_up"]
    detail = '{"text": "deadly", "kind": "wanted", "crash": true}'
    cloud.client("events").put_events(
        Entries=[{"Source": "test.events", "DetailType": "t", "Detail": detail}]
    )
    wait_until(lambda: cloud.state()["given_up"] == before + 1, 30, "the third failure")
    assert notes(cloud, "event")["deadly"] == 3


def test_every_event_source_reaches_its_function(cloud):
    queue = cloud.client("sqs").get_queue_url(QueueName="work")["QueueUrl"]
    cloud.client("sqs").send_message(QueueUrl=queue, MessageBody='{"text": "hello"}')
    cloud.client("kinesis").put_record(StreamName="records", Data=b"one", PartitionKey="p")
    wait_until(lambda: notes(cloud, "queue").get("hello"), 30, "the message")
    wait_until(lambda: notes(cloud, "stream").get("one"), 30, "the record")
    wait_until(lambda: notes(cloud, "schedule"), 30, "the schedule")
    assert len(cloud.state()["environments"]) >= 8


def test_a_batch_whose_process_died_comes_back(cloud):
    queue = cloud.client("sqs").get_queue_url(QueueName="work")["QueueUrl"]
    body = '{"text": "crash", "crash": true}'
    cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    wait_until(lambda: notes(cloud, "queue").get("crash", 0) >= 2, 30, "the second delivery")


# API Gateway.


def test_http_reaches_the_handler_as_a_proxy_event(cloud):
    status, told = cloud.http("GET", "/health")
    assert (status, told["fixture"]) == (200, "from-file")
    assert told["pid"] != cloud.state()["dispatcher"]["pid"]
    assert cloud.http("GET", "/nothing")[0] == 403
    assert cloud.http("GET", "/fail/other?x=1") == (200, {"how": "other"})


@pytest.mark.parametrize("how", ["exit", "answer"])
def test_a_handler_without_an_answer_is_a_bad_gateway(cloud, how):
    assert cloud.http("GET", f"/fail/{how}") == (502, {"message": "Internal server error"})
    assert cloud.http("GET", "/health")[0] == 200


def post_text(cloud, body: bytes):
    headers = {"Content-Type": "text/plain"}
    return urllib.request.Request(f"{cloud.dispatcher}/echo", body, headers, method="POST")


def test_a_body_reaches_the_handler(cloud):
    with urllib.request.urlopen(post_text(cloud, "Zürich".encode() * 100_000)) as answer:
        assert json.loads(answer.read()) == {"length": 700_000}


@pytest.mark.parametrize("mebibytes", [7, 11])
def test_bodies_that_lambda_or_the_gateway_do_not_take(cloud, mebibytes):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(post_text(cloud, b"x" * (mebibytes * 1024 * 1024)))
    with refused.value as error:
        assert error.code == 413
        assert b"Request Too Long" in error.read()


def test_pages_of_other_origins_are_refused_here_too(cloud):
    status, _ = cloud.http("GET", "/health", None, {"Origin": "http://elsewhere.example"})
    assert status == 403
    assert cloud.http("GET", "/health", None, {"Host": "elsewhere.example"})[0] == 403


def test_idle_processes_are_ended(start_cloud):
    cloud = start_cloud(project_dir=FIXTURES_APP, functions="lambda", function_idle_seconds=1)
    pid = payload_of(cloud, "count_calls")["pid"]
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the end of the process")
    assert payload_of(cloud, "count_calls")["pid"] != pid


def test_a_full_api_is_a_failed_integration(start_cloud):
    cloud = start_cloud(project_dir=FIXTURES_APP, functions="lambda", function_concurrency=1)
    with ThreadPoolExecutor(1) as caller:
        slow = caller.submit(cloud.http, "GET", "/slow?seconds=3")
        wait_until(lambda: cloud.state()["environments"]["api_handler"]["busy"])
        assert cloud.http("GET", "/health") == (500, {"message": "Internal server error"})
        assert slow.result() == (200, {"slept": True})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_frozen_process_outlives_its_dispatcher(start_cloud, number):
    cloud = start_cloud(project_dir=FIXTURES_APP, functions="lambda")
    pid = payload_of(cloud, "count_calls")["pid"]
    wait_until(lambda: state_of(pid) == "T", 5, "the freeze")
    os.kill(cloud.state()["dispatcher"]["pid"], number)
    wait_until(lambda: pid not in processes_of(cloud.run_id), 10, "the end of the process")
    wait_until(lambda: payload_again(cloud), 20, "the next dispatcher")


def payload_again(cloud):
    outcome = cloud.fire("count_calls", {})
    return outcome["error"] is None
