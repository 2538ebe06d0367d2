"""A role and a network of an app's own, and the tags of its tasks."""

from dataclasses import replace

import pytest

from chalicelib.apps import App, parse_app
from chalicelib.config import load_config
from chalicelib.ecs.requests import run_task_for
from chalicelib.ecs.task_definitions import task_definition_for
from chalicelib.errors import ConfigurationError
from chalicelib.sessions.launching import task_request_for
from chalicelib.sessions.model import Session

ROLE = "arn:aws:iam::123456789012:role/usher-prod-session"
SUBNETS, GROUPS = ("subnet-01234567", "subnet-0123456789abcdef0"), ("sg-0123456789abcdef0",)
FARGATE = {"image": "i", "cpu": 256, "memory": 512} | {
    "launch_type": "FARGATE",
    "network_mode": "awsvpc",
}
CONFIG = replace(
    load_config({"STAGE": "local", "AWS_REGION": "us-east-1"}),
    task_subnets=("subnet-of-the-stage",),
    task_security_groups=("sg-of-the-stage",),
)
SESSION = Session(
    id="s", uuid="u", key="k", app="own", owner=None, callback_url="http://d/sessions/s/events",
    created_at=0.0, not_after=1.0, task_definition="arn:aws:ecs:us-east-1:1:task-definition/own:1",
)  # fmt: skip


def network_of(table):
    request = task_request_for(SESSION, parse_app("own", table), CONFIG)
    found = run_task_for(request, "c").get("networkConfiguration", {}).get("awsvpcConfiguration")
    return found and (found["subnets"], found["securityGroups"])


def test_an_app_has_its_own_network_or_that_of_the_stage():
    own = {"subnets": list(SUBNETS), "security_groups": list(GROUPS)}
    assert network_of(FARGATE | own) == (list(SUBNETS), list(GROUPS))
    assert network_of(FARGATE) == (["subnet-of-the-stage"], ["sg-of-the-stage"])
    only = {"security_groups": list(GROUPS)}
    assert network_of(FARGATE | only) == (["subnet-of-the-stage"], list(GROUPS))
    assert network_of({"image": "i"}) is None


def test_an_app_has_its_own_role_whatever_its_feed():
    app = App(name="own", image="i", task_role="files")
    for feed in ("kinesis://updates", "redis://feed/updates"):
        request = task_definition_for(app, stage="prod", task_role_arn=ROLE, feed_url=feed)
        assert request["taskRoleArn"] == "arn:aws:iam::123456789012:role/usher-prod-task-files"
    other = replace(app, task_role=None)
    request = task_definition_for(other, stage="prod", task_role_arn=ROLE, feed_url="redis://f/u")
    assert "taskRoleArn" not in request


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"image": "i", "subnets": list(SUBNETS)}, "subnets: of tasks with a network interface"),
        ({"image": "i", "security_groups": list(GROUPS)}, "security_groups: of tasks with"),
        (FARGATE | {"subnets": []}, "1 to 16 different ids subnet-"),
        (FARGATE | {"subnets": ["subnet-1"]}, "1 to 16 different ids subnet-"),
        (FARGATE | {"subnets": [SUBNETS[0]] * 2}, "1 to 16 different ids subnet-"),
        (FARGATE | {"security_groups": ["subnet-01234567"]}, "1 to 5 different ids sg-"),
        (FARGATE | {"security_groups": [f"sg-0123456{n}" for n in range(6)]}, "1 to 5 different"),
        (FARGATE | {"security_groups": "sg-01234567"}, "1 to 5 different"),
        ({"image": "i", "task_role": "../admin"}, "task_role: must be"),
        ({"image": "i", "task_role": "a", "writes_feed": True}, "writes_feed: by a role"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_read(table, words):
    with pytest.raises(ConfigurationError, match=words):
        parse_app("own", table)


def tags_of(session, app):
    run = run_task_for(task_request_for(session, app, CONFIG), "c")
    assert run["enableECSManagedTags"] is True
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def test_tasks_are_tagged_by_app_group_and_owner():
    app = App(name="own", image="i", group="lab")
    anns = replace(SESSION, owner="jwt:ann|Zoë")
    expected = {"usher-app": "own", "usher-group": "lab", "usher-owner": "jwt:ann=7CZo=C3=AB"}
    assert tags_of(anns, app) == expected
    assert tags_of(SESSION, App(name="own", image="i")) == {"usher-app": "own"}


def test_what_waits_ahead_has_the_same_tags_before_and_after_its_claim():
    """ECS refuses a repeated request that differs."""
    app = App(name="own", image="i")
    waiting = replace(SESSION, pooled=True)
    assert tags_of(waiting, app) == tags_of(replace(waiting, owner="jwt:ann"), app)
