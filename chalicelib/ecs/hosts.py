"""What ECS says of a host: events of container instances. Pure."""

from collections.abc import Mapping
from typing import Any


def is_leaving(instance: Mapping[str, Any]) -> bool:
    """Whether a host takes no more tasks: draining, deregistered, or its agent out of reach."""
    return instance.get("status") != "ACTIVE" or instance.get("agentConnected") is False
