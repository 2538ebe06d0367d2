"""Capacity providers: what an Auto Scaling group adds hosts for, and the limits of waiting for one.

With managed scaling RunTask does not fail on a full cluster: the task waits in PROVISIONING, and
the group is scaled out. https://aws.amazon.com/blogs/containers/deep-dive-on-amazon-ecs-cluster-auto-scaling/
"""

from collections.abc import Callable
from dataclasses import dataclass

from local.aws.ecs.model import HostSlot

FARGATE = ("FARGATE", "FARGATE_SPOT")
"""Providers that every account has; a cluster has to be associated with them all the same."""
QUOTA = 500
"""Tasks in PROVISIONING state per cluster (quota L-B7718569), those of Auto Scaling groups only.

https://docs.aws.amazon.com/general/latest/gr/ecs-service.html
"""
TIMEOUT_SECONDS = 1_200.0
"""A task waits for 10 to 30 minutes before ECS stops it, according to the article above."""


def no_host() -> HostSlot | None:
    """A group that has reached its maximum size, or cannot get a machine."""
    return None


@dataclass(frozen=True)
class CapacityProvider:
    """A provider of an Auto Scaling group."""

    name: str
    managed_scaling: bool = True
    """Whether it has managed scaling. Without it RunTask refuses tasks without capacity at once."""
    bring: Callable[[], HostSlot | None] = no_host
    """Makes the next host, or None while the group has no more."""
    host_seconds: float = 180.0
    """Time from the first task that waits to the registered host."""


@dataclass(frozen=True)
class Waiting:
    """Limits of waiting in PROVISIONING."""

    quota: int = QUOTA
    timeout_seconds: float = TIMEOUT_SECONDS
