"""The judge's task: the only one with the engine of its host, in a cluster of its own."""

from dataclasses import replace

import pytest

from chalicelib.config import load_config
from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.ecs.requests import run_task_for
from chalicelib.ecs.task_definitions import Deployment
from chalicelib.errors import ConfigurationError
from chalicelib.jobs.description import DeployedJob, JobDescription
from chalicelib.jobs.judge import ENGINE_SOCKET, JudgeRoles, judge_task_definition
from chalicelib.jobs.task_definitions import family_of, family_prefix, job_task_definition
from chalicelib.jobs.task_requests import cluster_of, provider_of, task_request_for
from tests.unit.chalicelib.jobs.examples import claimed

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/usher-prod/usher-judge@sha256:" + "0" * 64
ROLES = JudgeRoles("arn:task", Deployment("eu-west-1", "/usher/prod/jobs", "arn:exec", "arm64"))
PLACE = {"stage": "prod", "region": "eu-west-1", "log_group": "/usher/prod/jobs"}
OWN = {
    "JUDGES_CLUSTER": "usher-prod-graders",
    "JUDGES_CAPACITY_PROVIDER": "graders",
    "JUDGES_CALLBACK_URL": "https://private/api",
    "CAPACITY_PROVIDER": "sessions",
}


def config(**environ):
    return load_config({"STAGE": "prod", "AWS_REGION": "eu-west-1", "AUTH_MODE": "iam", **environ})


def request(job, settings):
    description = JobDescription(job, launch_type="EC2")
    deployed = DeployedJob(description, f"arn:aws:ecs:r:a:task-definition/{job}:1", "image")
    invocation = replace(claimed(), job=job, callback_base_url="https://public/api")
    asked = task_request_for(invocation, deployed, settings)
    return run_task_for(asked, cluster_of(job, settings))


def test_it_has_the_engine_and_nothing_else_of_its_host():
    definition = judge_task_definition(IMAGE, **PLACE, roles=ROLES)
    assert definition["volumes"] == [{"name": "engine", "host": {"sourcePath": ENGINE_SOCKET}}]
    (container,) = definition["containerDefinitions"]
    mounted = {"sourceVolume": "engine", "containerPath": ENGINE_SOCKET}
    assert container["mountPoints"] == [mounted]
    assert container["user"] == "0:0"
    assert container["privileged"] is False
    assert container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert container["dockerSecurityOptions"] == ["no-new-privileges"]
    assert (definition["taskRoleArn"], definition["executionRoleArn"]) == ("arn:task", "arn:exec")
    environment = {pair["name"]: pair["value"] for pair in container["environment"]}
    assert environment["USHER_BASE_IMAGE"] == IMAGE


def test_no_other_job_gets_the_engine():
    definition = job_task_definition(
        JobDescription("report"), IMAGE, **PLACE, launch_type="EC2", deployment=ROLES.deployment
    )
    assert "docker.sock" not in str(definition)
    assert "taskRoleArn" not in definition


def test_its_family_is_none_that_a_right_on_apps_or_jobs_covers():
    family = family_of(JUDGE_JOB, "prod")
    assert not family.startswith(("usher-prod-", family_prefix("prod")))
    assert judge_task_definition(IMAGE, **PLACE)["family"] == family


def test_fargate_is_refused_with_the_reason():
    with pytest.raises(ConfigurationError, match="no container engine"):
        judge_task_definition(IMAGE, **PLACE, launch_type="FARGATE")


def test_it_runs_in_the_cluster_and_by_the_provider_of_graders_and_calls_back_from_inside():
    asked = request(JUDGE_JOB, config(**OWN))
    assert asked["cluster"] == "usher-prod-graders"
    assert asked["capacityProviderStrategy"] == [{"capacityProvider": "graders", "weight": 1}]
    (override,) = asked["overrides"]["containerOverrides"]
    environment = {pair["name"]: pair["value"] for pair in override["environment"]}
    assert environment["INVOCATION_URL"].startswith("https://private/api/invocations/")


def test_other_jobs_stay_where_they_are():
    asked = request("report", config(**OWN))
    assert asked["cluster"] == "usher-prod"
    assert asked["capacityProviderStrategy"][0]["capacityProvider"] == "sessions"
    assert "https://public/api/invocations/" in str(asked["overrides"])


def test_without_settings_of_its_own_it_runs_as_other_jobs_do():
    plain = config(CAPACITY_PROVIDER="sessions")
    assert (cluster_of(JUDGE_JOB, plain), provider_of(JUDGE_JOB, plain)) == (
        "usher-prod",
        "sessions",
    )
    assert plain.clusters == ("usher-prod",)
    assert config(**OWN).clusters == ("usher-prod", "usher-prod-graders")
