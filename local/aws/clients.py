"""boto3 clients for the embedded cloud's own use: their calls are neither counted nor hit by
faults.
"""

import threading
from typing import Any

from local.aws.endpoint import OBSERVER
from local.aws.iam.principals import DEVELOPER_KEY


class Clients:
    """Clients of one endpoint, made when first needed. Thread-safe, and so are boto3's clients."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint = endpoint
        self._region = region
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._session: Any = None

    def get(self, service: str, key: str = DEVELOPER_KEY) -> Any:
        """The client of a service, with this access key."""
        import boto3
        from botocore.config import Config

        with self._lock:
            if (service, key) not in self._clients:
                self._session = self._session or boto3.session.Session(region_name=self._region)
                self._clients[service, key] = self._session.client(
                    service,
                    aws_access_key_id=key,
                    aws_secret_access_key=key,
                    endpoint_url=self._endpoint,
                    config=Config(
                        user_agent=OBSERVER,
                        max_pool_connections=32,
                        connect_timeout=5,
                        retries={"mode": "standard", "max_attempts": 3},
                    ),
                )
            return self._clients[service, key]
