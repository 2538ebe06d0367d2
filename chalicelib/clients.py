"""The boto3 clients of this process, with the settings of this deployment.

boto3 is imported when they are built and nowhere earlier: importing app.py stays cheap, which is
what a cold start pays for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from chalicelib.config import Config

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
"""Below API Gateway's 29 seconds even when everything is tried again."""


@dataclass(frozen=True)
class Clients:
    """The boto3 clients that services share."""

    dynamodb: Any
    sqs: Any
    ecs: Any
    ec2: Any
    rare: Callable[[str], Any]
    """Gives the client of a service that few calls need, made when it is first needed."""


def clients_for(config: Config) -> Clients:
    """boto3's clients with the settings of this deployment. Opens no connection yet."""
    import boto3
    from botocore.config import Config as ClientConfig

    settings = ClientConfig(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=64,
        parameter_validation=False,
        user_agent="usher",  # botocore composes its own anew for each call, a tenth of its time
    )
    session = boto3.session.Session(region_name=config.region)

    @cache
    def client(service: str) -> Any:
        return session.client(service, config=settings)

    return Clients(client("dynamodb"), client("sqs"), client("ecs"), client("ec2"), rare=client)
