"""Calls to the Auto Scaling group of a cluster's hosts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.errors import ConfigurationError

IN_SERVICE = "InService"


@dataclass(frozen=True)
class Group:
    """The present state of an Auto Scaling group."""

    name: str
    desired: int
    minimum: int
    maximum: int
    states: Mapping[str, str]
    """Instance ids and their lifecycle states."""

    def is_in_service(self, instance: str | None) -> bool:
        """Whether it is a running instance of the group that is not being terminated."""
        return self.states.get(instance or "") == IN_SERVICE


class AutoScaling:
    """Reads and changes one Auto Scaling group through a boto3 client."""

    def __init__(self, autoscaling: Any, name: str) -> None:
        self._autoscaling = autoscaling
        self._name = name

    def read(self) -> Group:
        """The group. Raises ConfigurationError if it does not exist."""
        answer = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])
        if not answer["AutoScalingGroups"]:
            raise ConfigurationError(f"HOSTS_GROUP: no Auto Scaling group is called {self._name}")
        group = answer["AutoScalingGroups"][0]
        return Group(
            name=self._name,
            desired=group["DesiredCapacity"],
            minimum=group["MinSize"],
            maximum=group["MaxSize"],
            states={one["InstanceId"]: one["LifecycleState"] for one in group["Instances"]},
        )

    def raise_desired(self, wanted: int) -> bool:
        """Raise the desired capacity to `wanted`, if it is lower; returns whether it was raised."""
        group = self.read()
        most = min(wanted, group.maximum)
        if most <= group.desired:
            return False
        self._autoscaling.set_desired_capacity(
            AutoScalingGroupName=self._name, DesiredCapacity=most, HonorCooldown=False
        )
        return True

    def end(self, instance: str) -> bool:
        """Terminate an instance and lower the desired capacity by one. False if it is being
        terminated or gone.

        The state is read first, because a second call for the same instance would lower the desired
        capacity again.
        """
        group = self.read()
        if not group.is_in_service(instance) or group.desired <= group.minimum:
            return False
        try:
            self._autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=instance, ShouldDecrementDesiredCapacity=True
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in {"ValidationError", "ScalingActivityInProgress"}:
                return False
            raise
        return True
