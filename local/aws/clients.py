"""boto3 clients for the local cloud's own use: its calls are neither counted nor disturbed."""

import threading
from typing import Any

from local.aws.endpoint import OBSERVER


class Clients:
    """Clients of one endpoint, made when first needed. Thread-safe, and so are boto3's clients."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint = endpoint
        self._region = region
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._session: Any = None

    def get(self, service: str) -> Any:
        """The client of a service."""
        import boto3
        from botocore.config import Config

        with self._lock:
            if service not in self._clients:
                self._session = self._session or boto3.session.Session(
                    aws_access_key_id="local",
                    aws_secret_access_key="local",
                    region_name=self._region,
                )
                self._clients[service] = self._session.client(
                    service,
                    endpoint_url=self._endpoint,
                    config=Config(
                        user_agent=OBSERVER,
                        max_pool_connections=32,
                        connect_timeout=5,
                        retries={"mode": "standard", "max_attempts": 3},
                    ),
                )
            return self._clients[service]
