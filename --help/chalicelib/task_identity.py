"""A role and a network of an app's or a job's own: what may name them, and what is meant. Pure."""

import re
from collections.abc import Callable
from typing import Any

MOST_SUBNETS, MOST_SECURITY_GROUPS = 16, 5
"""ECS's bounds: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html"""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, or None."""


def role(prefix: str) -> Check:
    """The part of a role's name after `prefix`."""

    def check(value: Any) -> str | None:
        is_name = isinstance(value, str) and _NAME.fullmatch(value)
        return None if is_name else f"what follows {prefix}, up to 32 of a-z0-9-"

    return check


def subnets(value: Any) -> str | None:
    """Ids of subnets."""
    return _ids(value, "subnet", MOST_SUBNETS)


def security_groups(value: Any) -> str | None:
    """Ids of security groups."""
    return _ids(value, "sg", MOST_SECURITY_GROUPS)


def role_arn(name: str, kind: str, *, stage: str, beside: str) -> str:
    """The ARN of the role `usher-STAGE-KIND-NAME`, in the account and path of `beside`, another
    role of the deployment.
    """
    return f"{beside.rpartition('/')[0]}/usher-{stage}-{kind}-{name}"


def _ids(value: Any, kind: str, most: int) -> str | None:
    """Ids of EC2, like `sg-0123456789abcdef0`."""
    ids = isinstance(value, list) and all(
        isinstance(one, str) and _ID.fullmatch(one) and one.startswith(f"{kind}-") for one in value
    )
    fits = ids and 0 < len(value) <= most and len(set(value)) == len(value)
    return None if fits else f"a list of 1 to {most} different ids {kind}-…"


_ID = re.compile(r"[a-z]+-([0-9a-f]{8}|[0-9a-f]{17})")
