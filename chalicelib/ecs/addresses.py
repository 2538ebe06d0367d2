"""The address of a task: which host it runs on, and what the world calls that host.

Or what the network it is in calls it, where clients come by a router inside that network.
"""

from collections.abc import Callable
from typing import Any

from chalicelib.ecs.task_changes import TaskChange

CACHE_SECONDS = 300
"""A host keeps its public IP while it runs; a recycled one is another container instance."""


class Addresses:
    """Finds IPs, two calls for a host and none for a host seen lately."""

    def __init__(
        self,
        ecs: Any,
        ec2: Any,
        cluster: str,
        now: Callable[[], float],
        *,
        private: bool = False,
    ) -> None:
        self._ecs = ecs
        self._ec2 = ec2
        self._cluster = cluster
        self._now = now
        self._private = private
        self._cache: dict[str, tuple[str, float]] = {}

    def ip(self, change: TaskChange) -> str | None:
        """The IP of a running task, or None where it has none (yet)."""
        if change.network_interface_id is not None:  # the task's own: seen once, never again
            return self._of_interface(change.network_interface_id)
        host = change.container_instance_arn
        if host is None:
            return None
        cached = self._cache.get(host)
        if cached and cached[1] > self._now():
            return cached[0]
        ip = self._of_instance(host)
        if ip is not None:
            self._cache[host] = (ip, self._now() + CACHE_SECONDS)
        return ip

    def _of_instance(self, container_instance_arn: str) -> str | None:
        answer = self._ecs.describe_container_instances(
            cluster=self._cluster, containerInstances=[container_instance_arn]
        )
        if not answer["containerInstances"]:
            return None
        instance_id = answer["containerInstances"][0]["ec2InstanceId"]
        reservations = self._ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        instances = [i for reservation in reservations for i in reservation["Instances"]]
        name = "PrivateIpAddress" if self._private else "PublicIpAddress"
        return instances[0].get(name) if instances else None

    def _of_interface(self, network_interface_id: str) -> str | None:
        answer = self._ec2.describe_network_interfaces(NetworkInterfaceIds=[network_interface_id])
        interfaces = answer["NetworkInterfaces"]
        if not interfaces:
            return None
        if self._private:
            return str(interfaces[0]["PrivateIpAddress"])
        ip = interfaces[0].get("Association", {}).get("PublicIp")
        return str(ip) if ip else None
