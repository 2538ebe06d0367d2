"""Feeds: where a session's records come from, chosen by FEED_URL."""

import re
import time
from urllib.parse import urlsplit

from session_handler.credentials import CredentialCache
from session_handler.feeds.kinesis import FeedError, KinesisFeed
from session_handler.feeds.kinesis_client import KinesisClient, endpoint_for
from session_handler.settings import Settings

_STREAM_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def open_feed(settings: Settings) -> KinesisFeed | None:
    """The feed that FEED_URL names; None for a session without one. Raises FeedError.

    Nothing is connected yet: `prepare` does that.
    """
    if settings.feed_url is None:
        return None
    parts = urlsplit(settings.feed_url)
    if parts.scheme in {"redis", "rediss"}:
        raise FeedError(f"{parts.scheme}:// feeds are not supported by this image yet")
    if parts.scheme != "kinesis":
        raise FeedError("FEED_URL must be kinesis://STREAM")
    if not _STREAM_NAME.fullmatch(parts.netloc) or parts.path not in {"", "/"}:
        raise FeedError("FEED_URL names no stream: it must be kinesis://STREAM")
    client = KinesisClient(
        endpoint_url=settings.aws_endpoint_url or endpoint_for(settings.aws_region),
        region=settings.aws_region,
        credentials=CredentialCache(settings.credentials, time.time),
        now=time.time,
    )
    return KinesisFeed(parts.netloc, client)
