"""The rules for events of ECS choose the same events here and in an EventBridge by others."""

import json
from itertools import product

import boto3
import pytest

from chalicelib.api.tasks import HOST_CHANGES, OWN_CLUSTERS, TASK_CHANGES
from local.functions.triggers.events import rule_for
from tests.emulators import serve_ministack
from tests.needs import needs_ministack

OWN = "arn:aws:ecs:us-east-1:123456789012" + OWN_CLUSTERS[0]["suffix"]
CONTAINERS = [[], [{}], [{"exitCode": 0}], [{"exitCode": 3}], [{"exitCode": 0}, {"exitCode": 137}]]
TASKS = [
    {"clusterArn": cluster, "lastStatus": status, "startedBy": owner, "containers": containers}
    for cluster, status, owner, containers in product(
        (OWN, OWN + "-other"),
        ("PENDING", "RUNNING", "STOPPED"),
        ("session/1", "job/1/1", "somebody"),
        CONTAINERS,
    )
]
HOSTS = [
    {"clusterArn": OWN, "status": status, "agentConnected": is_connected}
    for status, is_connected in product(("ACTIVE", "DRAINING", "INACTIVE"), (True, False))
]


@pytest.fixture(scope="module")
def event_bridge():
    with serve_ministack("events") as url:
        yield boto3.client(
            "events",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@needs_ministack
@pytest.mark.parametrize(
    ("pattern", "details"), [(TASK_CHANGES, TASKS), (HOST_CHANGES, HOSTS)], ids=["tasks", "hosts"]
)
def test_another_event_bridge_chooses_the_same_events(event_bridge, pattern, details):
    rule = rule_for("f", pattern)
    chosen = {True: 0, False: 0}
    for detail in details:
        event = {
            "id": "1",
            "account": "123456789012",
            "source": "aws.ecs",
            "time": "2026-11-29T00:00:00Z",
            "region": "us-east-1",
            "resources": [],
            "detail-type": pattern["detail-type"][0],
            "detail": detail,
        }
        theirs = event_bridge.test_event_pattern(
            EventPattern=json.dumps(pattern), Event=json.dumps(event)
        )
        ours = rule.matches(event)
        assert ours is theirs["Result"], detail
        chosen[ours] += 1
    assert all(chosen.values()), "events of both kinds were tried"
