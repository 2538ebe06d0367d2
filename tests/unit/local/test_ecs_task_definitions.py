"""Valid task definitions, and names and lookup of revisions."""

from typing import Any

import pytest

from local.aws.ecs.errors import EcsApiError
from tests.unit.local.fakes import World

MAIN = {"name": "main", "image": "image", "memory": 128}


@pytest.fixture
def world():
    with World() as world:
        yield world


def refused(world: World, action: str, **parameters: Any) -> EcsApiError:
    with pytest.raises(EcsApiError) as caught:
        world.api.call(action, parameters)
    assert caught.value.code in ("ClientException", "InvalidParameterException")
    return caught.value


def test_revisions_count_up_and_a_family_means_its_latest_active_one(world: World) -> None:
    arns = [world.register("f") for _ in range(3)]
    assert [arn.rpartition("/")[2] for arn in arns] == ["f:1", "f:2", "f:3"]
    gone = world.api.call("DeregisterTaskDefinition", {"taskDefinition": "f:3"})["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    assert gone["deregisteredAt"] >= gone["registeredAt"]
    found = world.api.call("DescribeTaskDefinition", {"taskDefinition": "f"})["taskDefinition"]
    assert found["revision"] == 2
    old = world.api.call("DescribeTaskDefinition", {"taskDefinition": arns[2]})["taskDefinition"]
    assert old["status"] == "INACTIVE"
    assert refused(world, "RunTask", taskDefinition="f:3").message == "TaskDefinition is inactive"
    assert world.register("f").endswith("f:4"), "a number is not used twice"


def test_lists_of_definitions_and_families(world: World) -> None:
    for family in ("alpha", "alpine", "beta"):
        world.register(family)
    world.register("alpha")
    world.api.call("DeregisterTaskDefinition", {"taskDefinition": "beta:1"})

    def names(**filters: Any) -> list[str]:
        arns = world.api.call("ListTaskDefinitions", filters)["taskDefinitionArns"]
        return [arn.rpartition("/")[2] for arn in arns]

    assert names() == ["alpha:1", "alpha:2", "alpine:1"]
    assert names(sort="DESC") == ["alpine:1", "alpha:2", "alpha:1"]
    assert names(familyPrefix="alpha") == ["alpha:1", "alpha:2"]
    assert names(status="INACTIVE") == ["beta:1"]
    first = world.api.call("ListTaskDefinitions", {"sort": "DESC", "maxResults": 2})
    assert names(sort="DESC", nextToken=first["nextToken"]) == ["alpha:1"]

    def families(**filters: Any) -> list[str]:
        return world.api.call("ListTaskDefinitionFamilies", filters)["families"]

    assert families(familyPrefix="alp") == ["alpha", "alpine"]
    assert families(status="ACTIVE") == ["alpha", "alpine"]
    assert families(status="INACTIVE") == ["beta"]


def test_defaults_are_filled_in(world: World) -> None:
    reply = world.api.call(
        "RegisterTaskDefinition",
        {
            "family": "f",
            "containerDefinitions": [MAIN | {"portMappings": [{"containerPort": 80}]}],
            "tags": [{"key": "k", "value": "v"}],
        },
    )
    definition = reply["taskDefinition"]
    assert definition["networkMode"] == "bridge"
    assert definition["compatibilities"] == ["EC2"]
    (container,) = definition["containerDefinitions"]
    assert (container["essential"], container["cpu"]) == (True, 0)
    assert container["portMappings"] == [{"containerPort": 80, "hostPort": 0, "protocol": "tcp"}]
    assert reply["tags"] == [{"key": "k", "value": "v"}]


@pytest.mark.parametrize(
    ("task", "container"),
    [
        ({"family": "no spaces"}, {}),
        ({"family": ""}, {}),
        ({"family": "x" * 256}, {}),
        ({"networkMode": "carrier pigeon"}, {}),
        ({"cpu": "half"}, {}),
        ({"memory": "64"}, {"memory": 128}),
        ({"containerDefinitions": []}, {}),
        ({"containerDefinitions": [MAIN, MAIN]}, {}),
        ({}, {"name": "no spaces"}),
        ({}, {"image": ""}),
        ({}, {"memory": None}),
        ({}, {"memory": 5}),
        ({}, {"memoryReservation": 256}),
        ({}, {"essential": False}),
        ({}, {"stopTimeout": -1}),
        ({}, {"portMappings": [{"containerPort": 0}]}),
        ({}, {"portMappings": [{"containerPort": 80, "protocol": "icmp"}]}),
        ({"networkMode": "none"}, {"portMappings": [{"containerPort": 80}]}),
        ({"networkMode": "host"}, {"portMappings": [{"containerPort": 80, "hostPort": 81}]}),
        ({}, {"healthCheck": {"command": ["true"]}}),
        ({}, {"healthCheck": {"command": ["CMD", "true"], "retries": 11}}),
        ({}, {"dependsOn": [{"containerName": "main", "condition": "HEALTHY"}]}),
    ],
)
def test_what_ecs_refuses_is_refused(
    world: World, task: dict[str, Any], container: dict[str, Any]
) -> None:
    body = {"family": "f", "containerDefinitions": [MAIN | container]} | task
    refused(world, "RegisterTaskDefinition", **body)
    assert world.api.call("ListTaskDefinitions", {})["taskDefinitionArns"] == []


@pytest.mark.parametrize("name", ["nothing", "nothing:1", "f:x", "f:9"])
def test_what_is_not_there(world: World, name: str) -> None:
    world.register("f")
    refused(world, "DescribeTaskDefinition", taskDefinition=name)


def test_a_task_keeps_its_definition_when_that_is_deregistered(world: World) -> None:
    arn = world.run_one(world.register())
    world.api.call("DeregisterTaskDefinition", {"taskDefinition": "family:1"})
    assert world.wait_status(arn, "RUNNING")["taskDefinitionArn"].endswith("family:1")
