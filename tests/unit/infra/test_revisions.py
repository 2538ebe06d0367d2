"""Task definitions that a deployment registers with ECS, and when."""

import pytest
from botocore.exceptions import ClientError

from infra.deploy.plan import FAN_OUT
from infra.deploy.revisions import check_names, register
from infra.deploy.stacks import DeployError

ROLES = {"execution": "arn:execution", "session": "arn:session"}


class Ecs:
    """Keeps what was registered, and its tags, as ECS does."""

    def __init__(self):
        self.newest = {}
        self.registered_apps = []

    def get_paginator(self, name):
        assert name == "list_task_definition_families"
        return self

    def paginate(self, *, familyPrefix, status):  # noqa: N803 - ECS's names
        assert (familyPrefix, status) == ("usher-dev-app-", "ACTIVE")
        return [{"families": [f"usher-dev-app-{name}" for name in self.registered_apps]}]

    def register_task_definition(self, **request):
        self.newest[request["family"]] = request
        return {"taskDefinition": {"taskDefinitionArn": f"arn:{request['family']}"}}

    def describe_task_definition(self, **asked):
        if asked["taskDefinition"] not in self.newest:
            raise ClientError({"Error": {"Code": "ClientException"}}, "DescribeTaskDefinition")
        return {"tags": self.newest[asked["taskDefinition"]]["tags"]}


def deploy(ecs, feed_url=""):
    return register(
        ecs,
        stage="dev",
        region="r",
        architecture="x86_64",
        images={"usher-session": "registry/usher-session@sha256:0"},
        roles=ROLES,
        log_group="sessions",
        feed_url=feed_url,
    )


@pytest.mark.parametrize(("feed_url", "has_role"), [("", True), (FAN_OUT, False)])
def test_sessions_have_a_role_unless_the_deployments_feed_is_the_fan_out(feed_url, has_role):
    ecs = Ecs()
    deploy(ecs, feed_url)
    assert ("taskRoleArn" in ecs.newest["usher-dev-listings"]) is has_role


def test_what_did_not_change_is_not_registered_again_and_another_feed_is_a_change():
    ecs = Ecs()
    assert deploy(ecs) == ["arn:usher-dev-listings"]
    assert deploy(ecs) == []
    assert deploy(ecs, FAN_OUT) == ["arn:usher-dev-listings"]


def test_a_name_that_usher_deploy_registered_is_refused():
    ecs = Ecs()
    ecs.registered_apps = ["counter"]
    check_names(ecs, "dev")
    ecs.registered_apps = ["counter", "listings"]
    with pytest.raises(DeployError, match="listings: in the apps file, and registered by `usher d"):
        check_names(ecs, "dev")
