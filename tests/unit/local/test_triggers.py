import base64
import json
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from chalice.app import KinesisEvent, SQSEvent
from hypothesis import given
from hypothesis import strategies as st
from moto.events.models import EventPattern, EventPatternParser

from chalicelib.api.tasks import HOST_CHANGES, TASK_CHANGES
from chalicelib.ecs.hosts import is_leaving
from chalicelib.jobs.model import PREFIX as JOB
from chalicelib.sessions.model import started_by as session_mark
from local.functions.dispatcher_process import Invocation, UnreachableError
from local.functions.triggers.delivery import MAX_UNREACHABLE, Deliveries
from local.functions.triggers.events import EventBus, put_events, rule_for
from local.functions.triggers.queues import QueuePollers, failed_messages, queue_event
from local.functions.triggers.streams import readable_shards, stream_event

TASK_STOPPED = {
    "source": "aws.ecs",
    "detail-type": "ECS Task State Change",
    "detail": {"clusterArn": "arn:c", "lastStatus": "STOPPED", "version": 4},
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"source": ["aws.ecs"]}, True),
        ({"source": ["aws.ec2", "aws.ecs"]}, True),
        ({"source": ["aws.ec2"]}, False),
        ({"detail": {"lastStatus": ["STOPPED"]}}, True),
        ({"detail": {"lastStatus": [{"prefix": "STO"}]}}, True),
        ({"detail": {"lastStatus": [{"anything-but": "STOPPED"}]}}, False),
        ({"detail": {"version": [{"numeric": [">", 3]}]}}, True),
        ({"detail": {"stoppedReason": [{"exists": False}]}}, True),
        ({"source": ["aws.ecs"], "detail": {"clusterArn": ["arn:other"]}}, False),
    ],
)
def test_patterns_match_as_event_bridge_matches(pattern, matches):
    assert rule_for("f", pattern).matches(TASK_STOPPED) is matches


@pytest.mark.parametrize("pattern", [{"source": "aws.ecs"}, {"source": []}])
def test_a_pattern_that_event_bridge_would_refuse_is_refused(pattern):
    with pytest.raises(ValueError, match="event pattern of f"):
        rule_for("f", pattern)


WORDS = st.sampled_from(["aws.ecs", "RUNNING", "STOPPED", "", "x"])
DOCUMENTS = st.recursive(
    st.one_of(WORDS, st.booleans(), st.integers(0, 2), st.lists(WORDS, max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from(["source", "detail", "a"]), inner, max_size=3),
    max_leaves=6,
)
WANTED = st.lists(
    st.one_of(WORDS, st.integers(0, 2), st.sampled_from([{"prefix": "R"}, {"exists": False}])),
    min_size=1,
    max_size=2,
)
PATTERNS = st.recursive(
    WANTED,
    lambda inner: st.dictionaries(
        st.sampled_from(["source", "detail", "a"]), inner, min_size=1, max_size=3
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["source", "detail"]), PATTERNS, min_size=1),
    st.dictionaries(st.sampled_from(["source", "detail"]), DOCUMENTS),
)
def test_what_is_ruled_out_at_once_would_not_have_matched(pattern, event):
    text = json.dumps(pattern)
    whole = EventPattern(text, EventPatternParser(text).parse())
    assert rule_for("f", pattern).matches(event) is bool(whole.matches_event(event))


@pytest.mark.parametrize(
    ("detail", "wanted"),
    [
        ({"status": "ACTIVE", "agentConnected": True}, False),
        ({"status": "DRAINING", "agentConnected": True}, True),
        ({"status": "ACTIVE", "agentConnected": False}, True),
        ({"status": "INACTIVE", "agentConnected": False}, True),
    ],
)
def test_only_hosts_that_leave_are_news(detail, wanted):
    event = {"source": "aws.ecs", "detail-type": "ECS Container Instance State Change"}
    own = {"clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/usher-local"}
    assert rule_for("f", HOST_CHANGES).matches(event | {"detail": detail | own}) is wanted
    assert is_leaving(detail) is wanted


def test_the_bus_hands_over_one_copy_for_each_delay_and_function():
    delivered = []
    bus = EventBus(lambda *delivery: delivered.append(delivery), lambda: (0.0, 0.3))
    bus.set_rules([rule_for("a", {"source": ["aws.ecs"]}), rule_for("b", {"source": ["x"]})])
    bus.publish(TASK_STOPPED)
    assert delivered == [("a", TASK_STOPPED, 0.0), ("a", TASK_STOPPED, 0.3)]


def test_put_events_publishes_what_was_taken():
    entry = {"Source": "s", "DetailType": "t", "Detail": '{"a": 1}', "Time": 0}
    request = json.dumps({"Entries": [entry, entry, entry | {"EventBusName": "other"}]}).encode()
    answer = json.dumps({"Entries": [{"EventId": "1"}, {"ErrorCode": "x"}, {"EventId": "2"}]})
    (event,) = put_events(request, answer.encode(), "us-east-1", "123456789012")
    assert event["detail"] == {"a": 1}
    assert event["time"] == "1970-01-01T00:00:00Z"


class Scripted:
    """An invoker with given outcomes; records its calls."""

    def __init__(self, *outcomes):
        self._outcomes = list(outcomes)
        self.asked = []
        self.done = threading.Event()

    def invoke(self, function, event):
        self.asked.append((function, event))
        outcome = self._outcomes.pop(0)
        if not self._outcomes:
            self.done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_an_event_that_nobody_took_is_delivered_again():
    invoker = Scripted(UnreachableError("dead"), UnreachableError("dead"), Invocation(None))
    deliveries = Deliveries(invoker, workers=2)
    deliveries.start()
    deliveries.add("f", {"n": 1})
    assert invoker.done.wait(10)
    deliveries.close()
    assert invoker.asked == [("f", {"n": 1})] * 3
    assert deliveries.given_up == 0


def test_an_event_that_kills_whoever_takes_it_is_given_up_in_the_end():
    invoker = Scripted(*[UnreachableError("dead")] * (MAX_UNREACHABLE + 1))
    deliveries = Deliveries(invoker, workers=1, unreachable_seconds=0.0)
    deliveries.start()
    deliveries.add("f", {})
    assert invoker.done.wait(10)
    deliveries.close()
    for thread in threading.enumerate():
        if thread.name.startswith("delivery-"):
            thread.join(10)
    assert deliveries.given_up == 1


def test_an_event_after_the_end_is_not_kept():
    deliveries = Deliveries(Scripted())
    deliveries.close()
    deliveries.add("f", {})
    assert deliveries.pending == 0


def test_a_batch_of_messages_is_what_chalice_parses():
    message = {
        "MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "5",
        "Attributes": {"ApproximateReceiveCount": "1"},
        "MessageAttributes": {"k": {"StringValue": "v", "DataType": "String"}},
    }  # fmt: skip
    event = queue_event([message], "arn:aws:sqs:eu-west-1:123456789012:q")
    (record,) = SQSEvent(event, None)
    assert (record.body, record.receipt_handle) == ("b", "r")
    raw = event["Records"][0]
    assert raw["awsRegion"] == "eu-west-1"
    assert raw["messageAttributes"] == {"k": {"stringValue": "v", "dataType": "String"}}


WHOLE = {"a", "b"}


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, WHOLE),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, WHOLE),
        ({"batchItemFailures": [{"id": "a"}]}, WHOLE),
        ({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "of another"}]}, WHOLE),
        ({"batchItemFailures": ["a"]}, WHOLE),
        ({"other": []}, WHOLE),
        ("done", WHOLE),
    ],
)
def test_which_messages_of_a_batch_failed_is_read_off_the_answer(answer, failed):
    assert failed_messages(answer, WHOLE) == failed


@pytest.mark.parametrize(
    ("reports", "deleted"),
    [(True, ["of b"]), (False, ["of a", "of b"])],
    ids=["reports", "ignored"],
)
def test_messages_that_are_named_as_failed_are_not_deleted(reports, deleted):
    """Lambda ignores the answer of an event source without ReportBatchItemFailures."""
    sqs, invoker = Mock(), Mock()
    messages = [
        {"MessageId": name, "ReceiptHandle": f"of {name}", "Body": "", "MD5OfBody": ""}
        for name in ("a", "b")
    ]
    sqs.receive_message.return_value = {"Messages": messages}
    answer = {"batchItemFailures": [{"itemIdentifier": "a"}]}
    invoker.invoke.return_value = SimpleNamespace(error=None, payload=answer)
    settings = {"queue": "q", "batch_size": 10, "reports_failures": reports}
    pollers = QueuePollers(lambda: sqs, invoker, "f", settings)
    pollers._poll(sqs, "url", "arn:aws:sqs:eu-west-1:123456789012:q")
    entries = sqs.delete_message_batch.call_args.kwargs["Entries"]
    assert [entry["ReceiptHandle"] for entry in entries] == deleted


def test_a_batch_of_records_is_what_chalice_parses():
    record = {
        "PartitionKey": "p", "SequenceNumber": "7", "Data": b"\x00\xff",
        "ApproximateArrivalTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    event = stream_event([record], "shardId-1", "arn:aws:kinesis:eu-west-1:123456789012:stream/s")
    (parsed,) = KinesisEvent(event, None)
    assert parsed.data == b"\x00\xff"
    assert parsed.sequence_number == "7"
    assert event["Records"][0]["eventID"] == "shardId-1:7"
    assert base64.b64decode(event["Records"][0]["kinesis"]["data"]) == b"\x00\xff"


def test_a_child_shard_begins_when_its_parents_have_been_read():
    shards = [
        {"ShardId": "a"},
        {"ShardId": "b"},
        {"ShardId": "ab", "ParentShardId": "a", "AdjacentParentShardId": "b"},
        {"ShardId": "z", "ParentShardId": "expired"},
    ]

    def ready(started, finished):
        return [shard["ShardId"] for shard in readable_shards(shards, started, finished)]

    assert ready(set(), set()) == ["a", "b", "z"]
    assert ready({"a", "b", "z"}, {"a"}) == []
    assert ready({"a", "b", "z"}, {"a", "b"}) == ["ab"]


@pytest.mark.parametrize(
    ("status", "started_by", "codes", "wanted"),
    [
        ("RUNNING", session_mark("a"), (), True),
        ("RUNNING", f"{JOB}a/1", (), False),
        ("PENDING", session_mark("a"), (), False),
        ("STOPPED", session_mark("a"), (), True),
        ("STOPPED", f"{JOB}a/1", (), True),
        ("STOPPED", session_mark("a"), (0,), True),
        ("STOPPED", f"{JOB}a/1", (1,), True),
        ("STOPPED", f"{JOB}a/1", (0, 137), True),
        ("STOPPED", f"{JOB}a/1", (0,), False),
    ],
)
def test_of_a_jobs_task_only_an_end_that_it_may_not_have_reported_is_news(
    status, started_by, codes, wanted
):
    cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/usher-local"
    detail = {"clusterArn": cluster, "lastStatus": status, "startedBy": started_by}
    detail["containers"] = [{"name": "job", "exitCode": code} for code in codes] or [
        {"name": "job", "networkBindings": [{"hostPort": 1}, {"hostPort": 2}]}
    ]
    event = {"source": "aws.ecs", "detail-type": "ECS Task State Change", "detail": detail}
    assert rule_for("f", TASK_CHANGES).matches(event) is wanted
