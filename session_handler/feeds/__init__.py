"""Feeds: sources of a session's records, chosen by FEED_URL."""

import re
import time
from dataclasses import replace
from urllib.parse import urlsplit

from chalicelib.contract.fanout import FanoutError, FanoutUrl, is_fanout
from session_handler.feeds.feed import Feed, FeedError
from session_handler.settings import Settings

_STREAM_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def open_feed(settings: Settings) -> Feed | None:
    """The feed in FEED_URL; None for a session without one. Raises FeedError.

    Connects to nothing: `prepare` does. A session imports one feed only.
    """
    if settings.feed_url is None:
        return None
    if is_fanout(settings.feed_url):
        return _open_redis(settings.feed_url, settings.feed_password)
    return _open_kinesis(settings, settings.feed_url)


def _open_redis(feed_url: str, password: str | None) -> Feed:
    from session_handler.feeds.redis import RedisFeed
    from session_handler.redis_client import RedisClient

    try:
        url = FanoutUrl.parse(feed_url)
        if url.password is None:
            url = replace(url, password=password)
    except FanoutError as exc:
        raise FeedError(str(exc)) from exc
    return RedisFeed(url.stream, RedisClient(url), now=time.time)


def _open_kinesis(settings: Settings, feed_url: str) -> Feed:
    from session_handler.credentials import CredentialCache
    from session_handler.feeds.kinesis import KinesisFeed
    from session_handler.feeds.kinesis_client import KinesisClient, endpoint_for

    parts = urlsplit(feed_url)
    if parts.scheme != "kinesis":
        raise FeedError("FEED_URL must be kinesis://STREAM or redis://HOST:PORT/STREAM")
    if not _STREAM_NAME.fullmatch(parts.netloc) or parts.path not in {"", "/"}:
        raise FeedError("FEED_URL names no stream: it must be kinesis://STREAM")
    client = KinesisClient(
        endpoint_url=settings.aws_endpoint_url or endpoint_for(settings.aws_region),
        region=settings.aws_region,
        credentials=CredentialCache(settings.credentials, time.time),
        now=time.time,
    )
    return KinesisFeed(parts.netloc, client)
