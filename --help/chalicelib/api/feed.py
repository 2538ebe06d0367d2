"""Writes the records of the stream into the fan-out feed.

Without FEED_URL nothing is registered here: no function and no reader of the stream.
"""

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, KinesisEvent, Rate

from chalicelib.config import feed_url, load_config, stage, updates_stream
from chalicelib.contract.fanout import is_fanout
from chalicelib.metrics import EmbeddedMetrics
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.feed.relay import Relay

BATCH_SIZE = 1_000
"""Maximum number of records in an invocation. Lambda does not wait until a batch is full."""

routes = Blueprint(__name__)

_building = threading.Lock()


def relay() -> "Relay":
    """The relay of this process, built by the first call."""
    with _building:
        return _built_relay()


@cache
def _built_relay() -> "Relay":
    from chalicelib.feed.wiring import build

    config = load_config()
    # On a laptop all functions share one process, and their metrics are shown together.
    metrics = services().metrics if config.metrics_here else EmbeddedMetrics(config.stage)
    return build(config, metrics)


def relay_records(event: KinesisEvent) -> None:
    """Write a batch of one shard into the feed; raises unless all records are in it."""
    from chalicelib.feed.records import arrivals_of_event

    relay().relay(arrivals_of_event(event.to_dict()["Records"]))


def keep_feed_whole(_event: Any) -> None:
    """Refill a feed whose server lost entries, even while the stream has no new records."""
    relay().keep_whole()


if is_fanout(feed_url()):
    # Lambda calls the attributes of this module with the functions' names: they must be the
    # registered handlers, which take event and context. LATEST may skip records that arrive while
    # the event source is created; the feed is therefore first filled from the stream's recent past.
    relay_records = routes.on_kinesis_record(
        stream=updates_stream(stage()),
        batch_size=BATCH_SIZE,
        starting_position="LATEST",
        name="relay_records",
        maximum_batching_window_in_seconds=0,
    )(relay_records)
    keep_feed_whole = routes.schedule(Rate(1, unit=Rate.MINUTES), name="keep_feed_whole")(
        keep_feed_whole
    )
