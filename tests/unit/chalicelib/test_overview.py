"""Data of the console's first page: the trend, waits for addresses, hosts and alarms."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.overview import alarms_of, count_of_live
from chalicelib.ecs.hosts import Host, Resource, parse_host
from chalicelib.instants import instant
from chalicelib.metrics import ProcessMetrics
from chalicelib.sessions.model import Change, Session, State
from chalicelib.sessions.waits import bucket_of
from chalicelib.tasks.alarms import Alarm, Alarms
from chalicelib.tasks.percentiles import GROWTH, percentile
from chalicelib.tasks.sweep_state import Finished
from chalicelib.tasks.trend import ADDRESS, FIGURES, SLOT_SECONDS, SLOTS, point_of, with_point

NOW = 1_800_000_000.0
INSTANCE = {
    "containerInstanceArn": "arn:aws:ecs:eu-west-1:1:container-instance/usher-dev/0a",
    "ec2InstanceId": "i-1",
    "status": "ACTIVE",
    "agentConnected": True,
    "runningTasksCount": 3,
    "pendingTasksCount": 1,
    "registeredAt": datetime.fromtimestamp(NOW, UTC),
    "registeredResources": [
        {"name": "CPU", "integerValue": 4096},
        {"name": "MEMORY", "integerValue": 7680},
    ],
    "remainingResources": [
        {"name": "CPU", "integerValue": 2560},
        {"name": "MEMORY", "integerValue": 6144},
    ],
    "attributes": [
        {"name": "ecs.availability-zone", "value": "eu-west-1a"},
        {"name": "ecs.instance-type", "value": "c7g.xlarge"},
        {"name": "ecs.capability.something"},
    ],
}


def test_a_point_adds_up_what_the_sweep_counted():
    counts = {
        "session/chat/ACTIVE": 3,
        "session/listings/ACTIVE": 2,
        "session/chat/WARM": 4,
        "session/chat/QUEUED": 1,
        "session/chat/STARTING": 1,
        "invocation/STARTED/low": 5,
        "invocation/LAUNCHED/critical": 1,
        "invocation/QUEUED/normal": 7,
        "invocation/SCHEDULED/normal": 9,
        "started": 6,
        "records": 100,
    }
    assert point_of(counts, NOW) == {
        "at": NOW, "active": 5, "warm": 4, "coming": 2, "jobsRunning": 6, "jobsWaiting": 7,
        "starts": 6,
    }  # fmt: skip
    assert point_of({}, NOW) == {"at": NOW, **dict.fromkeys(FIGURES, 0)}


@given(st.lists(st.floats(1.0, 4_000.0), max_size=200))
def test_a_trend_has_one_point_of_each_five_minutes_and_six_hours_of_them(pauses):
    trend, at = (), NOW
    for pause in pauses:
        at += pause
        trend = with_point(trend, {"at": at})
    slots = [point["at"] // SLOT_SECONDS for point in trend]
    assert slots == sorted(set(slots))
    assert len(trend) <= SLOTS
    assert not trend or (trend[-1]["at"] == at and slots[-1] - slots[0] < SLOTS)


def cold(seconds: float, *, ago: float = 60.0) -> Session:
    at = NOW - ago
    return Session(
        id="1", uuid="2", key="3", app="chat", owner="ann", callback_url="", not_after=at,
        created_at=at - seconds, history=(Change(at, State.RESERVED, "ready"),),
    )  # fmt: skip


@given(st.lists(st.floats(0.01, 600.0), min_size=1, max_size=50))
def test_percentiles_of_waits_are_at_most_a_bucket_too_high(waits):
    counts: dict[str, int] = {}
    for seconds in waits:
        bucket = bucket_of(cold(seconds), NOW)
        counts[bucket] = counts.get(bucket, 0) + 1
    waits.sort()
    for share in (0.5, 0.99):
        exact = waits[max(0, -int(-share * len(waits) // 1) - 1)]
        found = percentile(counts, ADDRESS, share)
        assert exact * 0.999 - 0.001 <= found <= exact * GROWTH * 1.001 + 0.001


def test_warm_sessions_count_from_their_request_and_are_in_the_trend():
    created = replace(cold(900.0), pooled=True)
    warm = replace(created, asked_at=created.history[0].at - 0.04)
    counts = {bucket_of(warm, NOW): 3}
    point = point_of(counts, NOW)
    assert 0.04 <= point["addressP50"] <= 0.04 * GROWTH * 1.001
    assert point["addressP50"] == point["addressP99"] == percentile(counts, ADDRESS, 0.5)
    assert "addressP50" not in point_of({}, NOW)


def test_waits_of_old_and_waiting_sessions_and_of_unknown_begin_do_not_count():
    assert bucket_of(replace(cold(1.0), pooled=True), NOW) is None
    assert bucket_of(cold(1.0, ago=3_601), NOW) is None
    assert bucket_of(replace(cold(1.0), history=()), NOW) is None
    assert percentile({"session/chat/ACTIVE": 3}, ADDRESS, 0.5) is None


def test_a_judges_error_is_an_open_alarm_on_a_laptop_for_five_minutes():
    metrics = ProcessMetrics()
    assert alarms_of(metrics, time.time()) == []
    metrics.count("grading_internal_errors")
    (alarm,) = alarms_of(metrics, time.time())
    assert alarm["name"] == "grading-internal-errors"
    assert alarm["since"] == instant(metrics.counted_at("grading_internal_errors"))
    assert alarms_of(metrics, time.time() + 301) == []


def test_a_host_is_read_as_ecs_describes_it():
    assert parse_host(INSTANCE) == Host(
        arn=INSTANCE["containerInstanceArn"],
        ec2_instance_id="i-1",
        status="ACTIVE",
        is_connected=True,
        running_tasks=3,
        pending_tasks=1,
        registered_at=NOW,
        cpu=Resource(4096, 2560),
        memory=Resource(7680, 6144),
        zone="eu-west-1a",
        instance_type="c7g.xlarge",
        attributes={
            "ecs.availability-zone": "eu-west-1a",
            "ecs.instance-type": "c7g.xlarge",
            "ecs.capability.something": "",
        },
    )


@pytest.mark.parametrize(
    ("changed", "is_leaving"),
    [({}, False), ({"status": "DRAINING"}, True), ({"agentConnected": False}, True)],
)
def test_a_host_that_drains_or_is_silent_leaves(changed, is_leaving):
    assert parse_host(INSTANCE | changed).is_leaving is is_leaving


def test_the_open_alarms_of_this_stage_are_asked_for():
    client = boto3.client(
        "cloudwatch", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    alarm = {
        "AlarmName": "usher-dev-jobs-dead",
        "StateUpdatedTimestamp": datetime.fromtimestamp(NOW, UTC),
        "StateReason": "Threshold crossed",
    }
    asked = {"AlarmNamePrefix": "usher-dev-", "StateValue": "ALARM", "MaxRecords": 100}
    with Stubber(client) as stubber:
        stubber.add_response("describe_alarms", {"MetricAlarms": [alarm]}, asked)
        assert Alarms(client, "dev").open() == [
            Alarm("usher-dev-jobs-dead", NOW, "Threshold crossed")
        ]


def test_many_live_sessions_are_those_that_the_sweep_counted():
    swept = Finished(
        at=NOW - 60, seconds=1.0, records=9, tasks=9, skipped=0,
        counts={"session/chat/ACTIVE": 7, "session/map/WARM": 2, "started": 5},
    )  # fmt: skip
    now, then = instant(NOW), instant(NOW - 60)
    assert count_of_live(4, True, swept, NOW) == {"live": 4, "liveAt": now, "liveWhole": True}
    assert count_of_live(4, False, swept, NOW) == {"live": 9, "liveAt": then, "liveWhole": True}
    assert count_of_live(50, False, swept, NOW)["live"] == 50
    assert count_of_live(50, False, None, NOW) == {"live": 50, "liveAt": now, "liveWhole": False}
