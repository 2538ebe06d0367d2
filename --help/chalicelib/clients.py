"""The AWS clients of this process.

Each is created when it is first used, and so is the import of botocore, because they add to a
function's cold start. A client takes 15 to 60 ms; boto3 takes another 20.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chalicelib.config import Config

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
"""With all retries below API Gateway's limit of 29 seconds."""


@dataclass(frozen=True)
class Clients:
    """The clients that services share."""

    dynamodb: Any
    sqs: Any
    ecs: Any
    ec2: Any
    create: Callable[[str], Any]
    """Creates the client of a service that few calls use, when it is first used."""


class LazyClient:
    """A client that is created when one of its attributes is first read. Thread-safe."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._client: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._client is None:
            with self._lock:
                self._client = self._client or self._build()
        return getattr(self._client, name)


ONCE = ":once"
"""Suffix of a service name: its client makes no retries."""
S3_SETTINGS: Mapping[str, Any] = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "virtual"},
}
"""Without these botocore presigns URLs for the global endpoint, which redirects requests for
buckets of other regions, and the signature does not fit the redirect (boto3's guide to presigned
URLs)."""


def clients_for(config: Config) -> Clients:
    """The clients for this deployment. Creates none and opens no connection."""
    building = threading.Lock()  # a boto3 session is not thread-safe while it creates a client

    @cache
    def session() -> Any:
        import botocore.session

        return botocore.session.get_session()

    def build(service: str) -> Any:
        from botocore.config import Config as ClientConfig

        once, service = service.endswith(ONCE), service.removesuffix(ONCE)
        settings = ClientConfig(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            **(S3_SETTINGS if service == "s3" else {}),
            retries={"mode": "standard", "total_max_attempts": 1 if once else 3},
            max_pool_connections=64,
            parameter_validation=False,
            # botocore would compose it for each call, which takes a tenth of the call's time
            user_agent="usher",
        )
        with building:
            return session().create_client(service, region_name=config.region, config=settings)

    @cache
    def client(service: str) -> Any:
        return LazyClient(lambda: build(service))

    return Clients(client("dynamodb"), client("sqs"), client("ecs"), client("ec2"), create=client)
