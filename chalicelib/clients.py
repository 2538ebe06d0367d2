"""The AWS clients of this process, with the settings of this deployment.

Each is built when it is first used, and botocore is imported then and nowhere earlier: a function's
cold start pays for what its first event needs. A client costs 15 to 60 ms; boto3, whose clients are
these, another 20.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chalicelib.config import Config

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
"""Below API Gateway's 29 seconds even when everything is tried again."""


@dataclass(frozen=True)
class Clients:
    """The clients that services share."""

    dynamodb: Any
    sqs: Any
    ecs: Any
    ec2: Any
    create: Callable[[str], Any]
    """Gives the client of a service that few calls need, made when it is first needed."""


class LazyClient:
    """A client that is built when one of its attributes is first read. Thread-safe."""

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
"""Behind the name of a service: its client repeats no call by itself."""
S3_SETTINGS: Mapping[str, Any] = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "virtual"},
}
"""Without these botocore presigns for the global endpoint, which answers a bucket of another region
with a redirect that the signature does not fit (boto3's guide to presigned URLs).
"""


def clients_for(config: Config) -> Clients:
    """The clients with the settings of this deployment. Builds none and opens no connection."""
    building = threading.Lock()  # a session builds one client at a time

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
            user_agent="usher",  # botocore composes its own anew for each call, a tenth of its time
        )
        with building:
            return session().create_client(service, region_name=config.region, config=settings)

    @cache
    def client(service: str) -> Any:
        return LazyClient(lambda: build(service))

    return Clients(client("dynamodb"), client("sqs"), client("ecs"), client("ec2"), create=client)
