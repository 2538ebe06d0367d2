"""Builds the relay. redis-py is imported here only, because no other function needs it."""

import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalicelib.config import Config
from chalicelib.contract.fanout import FanoutUrl
from chalicelib.metrics import Metrics

if TYPE_CHECKING:
    from chalicelib.feed.relay import Relay

TIMEOUT_SECONDS = 5.0
"""Timeout of one Redis answer. Two retries follow; then the event source repeats the batch."""

RETRIES = 2


def build(config: Config, metrics: Metrics) -> "Relay":
    """Build the relay for `config`, whose FEED_URL is a fan-out feed's. Opens no connection.

    Raises FanoutError, and botocore's errors if a secret cannot be read.
    """
    import boto3
    from botocore.config import Config as ClientConfig

    from chalicelib.feed.history import History
    from chalicelib.feed.relay import Relay
    from chalicelib.feed.stream import RedisStream

    url = FanoutUrl.parse(config.feed_relay_url or config.feed_url)
    session = boto3.session.Session(region_name=config.region)
    kinesis = session.client(
        "kinesis", config=ClientConfig(retries={"mode": "standard", "total_max_attempts": 6})
    )
    password = _password(session, config.feed_password_secret)
    return Relay(
        stream=RedisStream(
            redis_client(url, password),
            url.stream,
            config.feed_max_records,
            lambda host, port: redis_client(
                replace(url, host=host or url.host, port=port), password
            ),
        ),
        history=History(kinesis, config.stream),
        metrics=metrics,
        backfill_seconds=config.feed_backfill_seconds,
        random_id=lambda: str(uuid.uuid4()),
        now=time.time,
        sleep=time.sleep,
    )


def redis_client(url: FanoutUrl, password: str | None = None) -> Any:
    """A redis-py client for the server of `url`; `password` overrides the URL's."""
    import redis
    from redis.backoff import ExponentialWithJitterBackoff
    from redis.retry import Retry

    return redis.Redis(
        host=url.host,
        port=url.port,
        username=url.username,
        password=password or url.password,
        ssl=url.tls,
        protocol=2,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), RETRIES),
    )


def _password(session: Any, secret: str | None) -> str | None:
    if secret is None:
        return None
    found = session.client("secretsmanager").get_secret_value(SecretId=secret)
    return str(found["SecretString"])
