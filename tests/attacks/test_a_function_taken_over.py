"""A function of the dispatcher, taken over, calls resources of other stages of the account and of
hosts.

Goal: run code of its own with the rights of another stage, of the sessions or of a host. Reach: the
AWS APIs, with the policy that its role has. The embedded cloud's code decides which rights a call
needs and whether the policy gives them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.aws.iam.accesses import Asked, accesses
from local.aws.iam.policy import Decision, decide, parse_policy

CHALICE = Path(__file__).parents[2] / ".chalice"
REGION, ACCOUNT = "eu-west-1", "123456789012"
STAGES = ("dev", "prod")
OTHER = {"dev": "prod", "prod": "dev"}


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{'' if service == 'iam' else REGION}:{ACCOUNT}:{resource}"


def policies(stage: str) -> dict[str, Any]:
    """Function to its statements."""
    found = {
        path.stem.removeprefix(f"policy-{stage}-"): parse_policy(json.loads(path.read_text()))
        for path in sorted(CHALICE.glob(f"policy-{stage}-*.json"))
    }
    assert "api-handler" in found
    return found


def who_may(stage: str, service: str, action: str, **parameters: Any) -> set[str]:
    """Returns the functions of a stage whose policies allow a call with all rights it needs."""

    def definition(name: str) -> Mapping[str, Any]:
        return {"taskDefinitionArn": name, "executionRoleArn": None}

    asked = Asked(action, parameters, REGION, ACCOUNT, definition)
    return {
        function
        for function, statements in policies(stage).items()
        if all(
            decide(statements, need.action, need.resource, need.context).decision
            is Decision.ALLOWED
            for need in accesses(service, asked)
        )
    }


def role(stage: str, name: str) -> str:
    return arn("iam", f"role/usher-{stage}-{name}")


def register(stage: str, family: str, *, execution: str | None = None, **container: Any) -> set:
    containers = [{"name": "main", "image": "the attacker's", **container}]
    roles = {"executionRoleArn": execution} if execution else {}
    return who_may(
        stage,
        "ecs",
        "RegisterTaskDefinition",
        family=family,
        containerDefinitions=containers,
        **roles,
    )


@pytest.mark.parametrize("stage", STAGES)
def test_its_own_jobs_and_apps_it_may_register(stage):
    """Otherwise what the other tests find refused would show nothing."""
    for family in (f"usher-{stage}-job-tally", f"usher-{stage}-app-chat"):
        execution = role(stage, "execution")
        assert "api-handler" in register(stage, family, execution=execution)


@pytest.mark.parametrize("stage", STAGES)
def test_no_definition_that_somebody_else_runs_is_registered(stage):
    families = [
        f"usher-{OTHER[stage]}-job-tally",
        f"usher-{OTHER[stage]}-app-chat",
        f"usher-{stage}-listings",  # of the template: registered by the deployment alone
        f"usher-{stage}2-job-tally",
        "payroll",
    ]
    assert [family for family in families if register(stage, family)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_no_privileged_container_is_registered(stage):
    assert register(stage, f"usher-{stage}-job-tally", privileged=True) == set()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("of", ["other stage", "host", "administrator"])
def test_no_other_role_is_given_to_a_task(stage, of):
    taken = {
        "other stage": role(OTHER[stage], "session-writer"),
        "host": role(stage, "host"),
        "administrator": arn("iam", "role/Admin"),
    }[of]
    assert register(stage, f"usher-{stage}-job-tally", execution=taken) == set()
    run = {"cluster": f"usher-{stage}", "taskDefinition": arn("ecs", f"task-definition/{stage}:1")}
    overrides = {"taskRoleArn": taken}
    assert who_may(stage, "ecs", "RunTask", **run, overrides=overrides) == set()


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_started_or_stopped_in_another_cluster(stage):
    own, other = (
        {
            "cluster": arn("ecs", f"cluster/usher-{name}"),
            "taskDefinition": arn("ecs", f"task-definition/usher-{stage}-job-tally:1"),
        }
        for name in (stage, OTHER[stage])
    )
    assert who_may(stage, "ecs", "RunTask", **own)
    assert who_may(stage, "ecs", "RunTask", **other) == set()
    task = arn("ecs", f"task/usher-{OTHER[stage]}/abc")
    for cluster in (own["cluster"], other["cluster"]):
        assert who_may(stage, "ecs", "StopTask", cluster=cluster, task=task) == set()
