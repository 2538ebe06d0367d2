"""Calls of Auto Scaling and STS against moto's models, which are no part of this project.

moto's own EC2, Auto Scaling and STS answer here, not those of the embedded cloud.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from chalicelib.capacity.auto_scaling import AutoScaling
from chalicelib.errors import ConfigurationError
from chalicelib.sessions.user_role import assume_role_for, show_credentials
from tests.unit.chalicelib.test_user_role import APP, POLICY, SESSION

REGION = "us-east-1"
GROUP = "usher-dev-hosts"
MAXIMUM = 4


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes clients, by the name of a service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    with mock_aws():
        yield lambda service: boto3.client(service, region_name=REGION)


def test_a_group_is_read_grows_to_its_maximum_and_loses_one_instance_once(aws) -> None:
    image = aws("ec2").describe_images()["Images"][0]["ImageId"]
    client = aws("autoscaling")
    client.create_launch_configuration(
        LaunchConfigurationName="hosts", ImageId=image, InstanceType="t3.large"
    )
    client.create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        LaunchConfigurationName="hosts",
        MinSize=1,
        MaxSize=MAXIMUM,
        DesiredCapacity=2,
        AvailabilityZones=[f"{REGION}a", f"{REGION}b"],
        NewInstancesProtectedFromScaleIn=True,
    )
    group = AutoScaling(client, GROUP)
    found = group.read()
    assert (found.desired, found.minimum, found.maximum) == (2, 1, MAXIMUM)
    assert len(found.states) == 2
    assert all(map(found.is_in_service, found.states))
    assert group.raise_desired(9)
    assert group.read().desired == MAXIMUM
    assert not group.raise_desired(2), "the desired capacity is never lowered"
    instance = next(iter(found.states))
    assert group.end(instance)
    assert group.read().desired == MAXIMUM - 1
    assert not group.end(instance), "a repeated end lowers nothing"
    assert not group.end("i-00000000000000000")
    with pytest.raises(ConfigurationError, match="no Auto Scaling group is called other"):
        AutoScaling(client, "other").read()


def test_sts_takes_the_request_for_a_users_credentials_and_its_answer_is_read(aws) -> None:
    request = assume_role_for(SESSION, replace(APP, user_policy=POLICY), "prod")
    shown = show_credentials(aws("sts").assume_role(**request), request["RoleArn"])
    assert shown["RoleArn"].endswith(":role/usher-prod-user-files")
    assert all(shown[name] for name in ("AccessKeyId", "SecretAccessKey", "Token", "Expiration"))
