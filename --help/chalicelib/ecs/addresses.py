"""Finds the address of a task: the IP of its host or network interface.

It is the private IP if clients connect through a router in the same network.
"""

from collections.abc import Callable
from typing import Any

from chalicelib.ecs.task_changes import TaskChange

CACHE_SECONDS = 300
"""A host keeps its public IP while it runs; a recycled host is another container instance."""


class Addresses:
    """Finds IPs, with two calls for a new host and none for a cached one."""

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
        """The IP of a running task; None if it has none (yet)."""
        # the task's own interface, which is not worth caching
        if change.network_interface_id is not None:
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
