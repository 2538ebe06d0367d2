"""A role and a network of a job's own, and the tags of its tasks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from chalicelib.config import load_config
from chalicelib.ecs.requests import run_task_for
from chalicelib.errors import BadRequestError, ConfigurationError
from chalicelib.jobs.catalog import Catalog
from chalicelib.jobs.description import DeployedJob, parse_description
from chalicelib.jobs.task_definitions import job_task_definition
from chalicelib.jobs.task_requests import task_request_for
from chalicelib.tasks.deployed import Revisions
from tests.unit.chalicelib.jobs.examples import queued
from usher import Job
from usher.description import describe

ROLE = "arn:aws:iam::123456789012:role/usher-prod-session"
SUBNETS, GROUPS = ["subnet-01234567", "subnet-0123456789abcdef0"], ["sg-0123456789abcdef0"]
FARGATE: Mapping[str, Any] = {"name": "report", "launchType": "FARGATE", "memory": 512}
CONFIG = replace(
    load_config({"STAGE": "local", "AWS_REGION": "us-east-1"}),
    task_subnets=("subnet-of-the-stage",),
    task_security_groups=("sg-of-the-stage",),
)


class Report(Job):
    launch_type = "FARGATE"
    memory = 512
    task_role = "files"
    subnets = tuple(SUBNETS)
    security_groups: ClassVar[list[str]] = GROUPS


def definition(document, **more):
    return job_task_definition(
        parse_description(document), "registry/report:1", stage="prod", region="us-east-1",
        log_group="/usher/prod/jobs", launch_type="EC2", **more,
    )  # fmt: skip


def network_of(document, **changes):
    job = DeployedJob(
        parse_description(document), "arn:aws:ecs:us-east-1:1:task-definition/r:1", "i"
    )
    run = run_task_for(task_request_for(queued(), job, replace(CONFIG, **changes)), "c")
    found = run.get("networkConfiguration", {}).get("awsvpcConfiguration")
    return found and (found["subnets"], found["securityGroups"])


def test_a_job_class_says_its_role_and_its_network():
    read = parse_description(describe(Report))
    assert (read.task_role, read.subnets, read.security_groups) == (
        "files",
        tuple(SUBNETS),
        tuple(GROUPS),
    )
    assert parse_description(read.to_json()) == read


def test_a_job_has_its_own_role_or_none_and_no_app_has_it():
    request = definition({"name": "report", "taskRole": "files"}, session_role_arn=ROLE)
    assert request["taskRoleArn"] == "arn:aws:iam::123456789012:role/usher-prod-job-files"
    assert "taskRoleArn" not in definition({"name": "report"}, session_role_arn=ROLE)
    with pytest.raises(ConfigurationError, match="no roles"):
        definition({"name": "report", "taskRole": "files"})


def test_a_job_has_its_own_network_or_that_of_the_stage():
    own = {"subnets": SUBNETS, "securityGroups": GROUPS}
    assert network_of({**FARGATE, **own}) == (SUBNETS, GROUPS)
    assert network_of(FARGATE) == (["subnet-of-the-stage"], ["sg-of-the-stage"])
    assert network_of({**FARGATE, "securityGroups": GROUPS}) == (["subnet-of-the-stage"], GROUPS)
    by_default = {"name": "report", "memory": 512, **own}
    assert network_of(by_default, jobs_launch_type="FARGATE") == (SUBNETS, GROUPS)
    assert network_of({"name": "report"}) is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"launchType": "EC2", "subnets": SUBNETS}, "only on Fargate"),
        ({"launchType": "EC2", "securityGroups": GROUPS}, "only on Fargate"),
        ({"subnets": []}, "1 to 16 different ids subnet-"),
        ({"subnets": [SUBNETS[0]] * 2}, "1 to 16 different ids subnet-"),
        ({"securityGroups": ["subnet-01234567"]}, "1 to 5 different ids sg-"),
        ({"securityGroups": {"sg-01234567": 1}}, "1 to 5 different ids sg-"),
        ({"taskRole": "../admin"}, "taskRole: must be what follows usher-STAGE-job-"),
        ({"taskRole": ["files"]}, "taskRole: must be"),
    ],
)
def test_what_cannot_be_is_refused(facts, words):
    with pytest.raises(BadRequestError, match=words):
        parse_description({**FARGATE, **facts})


@pytest.mark.parametrize(
    ("facts", "words"),
    [({"subnets": SUBNETS}, "only on Fargate"), ({"taskRole": "files"}, "no roles")],
)
def test_what_this_deployment_cannot_give_is_refused_when_it_is_registered(facts, words):
    catalog = Catalog(None, Revisions(None, lambda: 0.0), replace(CONFIG, session_role_arn=None))
    with pytest.raises(BadRequestError, match=words):
        catalog.register("report", "registry/report:1", {"name": "report", **facts})


def test_tasks_are_tagged_by_job_group_and_owner():
    job = DeployedJob(
        parse_description({"name": "report", "group": "batch"}),
        "arn:aws:ecs:us-east-1:1:task-definition/r:1",
        "i",
    )
    invocation = replace(queued(), job="report", owner="jwt:ann|Zoë")
    run = run_task_for(task_request_for(invocation, job, CONFIG), "c")
    assert run["enableECSManagedTags"] is True
    assert {tag["key"]: tag["value"] for tag in run["tags"]} == {
        "usher-job": "report",
        "usher-group": "batch",
        "usher-owner": "jwt:ann=7CZo=C3=AB",
    }
