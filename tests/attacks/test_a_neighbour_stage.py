"""Another stage in the same account makes events of its own tasks and hosts.

Goal: make this stage act on them, stop them or count them. Reach: EventBridge, which delivers the
events of all clusters of an account. No call, no failure, no metric.
"""

import pytest
from chalice.test import Client

import app
from chalicelib import wiring
from chalicelib.api.tasks import HOST_CHANGES, TASK_CHANGES
from chalicelib.config import load_config
from local.functions.triggers.events import rule_for

OWN = "arn:aws:ecs:eu-west-1:123456789012:cluster/usher-local"
FOREIGN = [
    "arn:aws:ecs:eu-west-1:123456789012:cluster/usher-prod",
    "arn:aws:ecs:eu-west-1:123456789012:cluster/other-usher-local",
    "arn:aws:ecs:eu-west-1:123456789012:cluster/usher-local2",
]


class Recorder:
    """Replaces the services; records the calls of the handlers."""

    def __init__(self):
        self.calls = []
        self.config = load_config({"STAGE": "local", "AWS_REGION": "eu-west-1"})
        self.sessions = self
        self.service = self

    def on_task_change(self, change):
        self.calls.append(change.task_arn)

    def on_host_leaving(self, arn):
        self.calls.append(arn)


def task_detail(cluster, status):
    return {
        "clusterArn": cluster,
        "taskArn": "arn:task",
        "lastStatus": status,
        "desiredStatus": status,
        "startedBy": "session/6d6cf8ce-3f6c-4d5a-9a43-0123456789ab",
        "version": 3,
    }


def host_detail(cluster):
    return {"clusterArn": cluster, "containerInstanceArn": "arn:host", "status": "DRAINING"}


def deliver(monkeypatch, function, detail):
    recorder = Recorder()
    monkeypatch.setattr(wiring, "_services", recorder)
    with Client(app.app) as client:
        event = client.events.generate_cw_event("aws.ecs", "x", detail, [])
        client.lambda_.invoke(function, event)
    return recorder.calls


@pytest.mark.parametrize("cluster", [*FOREIGN, ""])
@pytest.mark.parametrize("status", ["RUNNING", "STOPPED"])
def test_a_task_of_another_stage_is_ignored(monkeypatch, cluster, status):
    assert deliver(monkeypatch, "task_changed", task_detail(cluster, status)) == []


@pytest.mark.parametrize("cluster", FOREIGN)
def test_a_host_of_another_stage_is_ignored(monkeypatch, cluster):
    assert deliver(monkeypatch, "host_changed", host_detail(cluster)) == []


def test_tasks_and_hosts_of_this_stage_are_handled(monkeypatch):
    assert deliver(monkeypatch, "task_changed", task_detail(OWN, "STOPPED")) == ["arn:task"]
    assert deliver(monkeypatch, "host_changed", host_detail(OWN)) == ["arn:host"]


@pytest.mark.parametrize(
    ("pattern", "kind", "detail"),
    [
        (TASK_CHANGES, "ECS Task State Change", lambda c: task_detail(c, "STOPPED")),
        (HOST_CHANGES, "ECS Container Instance State Change", host_detail),
    ],
)
def test_the_rule_lets_only_this_stages_cluster_through(pattern, kind, detail):
    rule = rule_for("f", pattern)
    event = {"source": "aws.ecs", "detail-type": kind}
    assert rule.matches(event | {"detail": detail(OWN)})
    assert not [c for c in FOREIGN if rule.matches(event | {"detail": detail(c)})]
