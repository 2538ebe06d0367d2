"""Lambda's event source for Kinesis: one reader a shard, batches in order, the same one again
until its function takes it, however often that fails. The children of a shard begin when all its
parents have been read to their end and taken.
"""

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.kinesis.arrivals import Arrivals
from local.functions.dispatcher_process import UnreachableError
from local.functions.triggers.delivery import Invoker

POLL_SECONDS = 0.1
"""AWS polls each shard once a second, or pushes to consumers of enhanced fan-out in 70 ms."""

IDLE_SECONDS = 1.0
"""Time for which a reader waits for `Arrivals` before it reads a shard again."""

SHARD_POLL_SECONDS = 2.0
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

log = logging.getLogger(__name__)


def stream_event(
    records: Sequence[Mapping[str, Any]], shard_id: str, stream_arn: str
) -> dict[str, Any]:
    """The event of one batch, as Lambda's Kinesis event source writes it."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record["PartitionKey"],
                    "sequenceNumber": record["SequenceNumber"],
                    "data": base64.b64encode(record["Data"]).decode("ascii"),
                    "approximateArrivalTimestamp": (
                        record["ApproximateArrivalTimestamp"].timestamp()
                    ),
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard_id}:{record['SequenceNumber']}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "",
                "awsRegion": stream_arn.split(":")[3],
                "eventSourceARN": stream_arn,
            }
            for record in records
        ]
    }


def readable_shards(
    shards: Sequence[Mapping[str, Any]], started: set[str], finished: set[str]
) -> list[Mapping[str, Any]]:
    """The shards to begin now: not begun yet, and no parent of theirs is still to be read."""
    ahead = {shard["ShardId"] for shard in shards} | started
    return [
        shard
        for shard in shards
        if shard["ShardId"] not in started
        and all(
            parent not in ahead or parent in finished
            for parent in (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
            if parent
        )
    ]


def is_closed(shard: Mapping[str, Any]) -> bool:
    """Whether a shard, as ListShards describes it, takes no more records."""
    return "EndingSequenceNumber" in shard["SequenceNumberRange"]


class StreamReaders:
    """The readers of one stream for one function."""

    def __init__(
        self,
        kinesis: Callable[[], Any],
        invoker: Invoker,
        function: str,
        settings: Mapping[str, Any],
        poll_seconds: float = POLL_SECONDS,
        *,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`kinesis()` returns a boto3 client; `settings` as in `local.functions.registry`.

        An idle shard is read again when there is something new in `arrivals`, or after
        IDLE_SECONDS; without it, every `poll_seconds`.
        """
        self._kinesis = kinesis
        self._invoker = invoker
        self._function = function
        self._stream: str = settings["stream"]
        self._batch: int = settings["batch_size"]
        self._position: str = settings["starting_position"]
        self._poll_seconds = poll_seconds
        self._arrivals = arrivals
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._started: set[str] = set()
        self._finished: set[str] = set()
        self._positioned = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(
            target=self._find_shards, name=f"stream-{self._stream}", daemon=True
        )

    def start(self) -> None:
        """Read from now on; returns when records put afterwards are sure to be seen."""
        self._thread.start()
        self._positioned.wait(5.0)

    def close(self) -> None:
        """Read no more."""
        self._closed.set()
        self._wake.set()

    def _find_shards(self) -> None:
        kinesis = self._kinesis()
        # Shards that exist at the start begin at the source's position; later ones, from splits or
        # merges, are read completely.
        position = self._position
        while not self._closed.is_set():
            self._wake.clear()
            try:
                shards = self._list_shards(kinesis)
                if position == "LATEST":
                    self._pass_over(shard["ShardId"] for shard in shards if is_closed(shard))
                with self._lock:
                    new = readable_shards(shards, self._started, self._finished)
                for shard in new:
                    self._begin(kinesis, shard["ShardId"], position)
                if shards:
                    position = "TRIM_HORIZON"
                self._positioned.set()
            except (BotoCoreError, ClientError) as error:
                if not self._closed.is_set():
                    log.warning("stream %s: %s", self._stream, error)
            self._wake.wait(SHARD_POLL_SECONDS)

    def _list_shards(self, kinesis: Any) -> list[Mapping[str, Any]]:
        pages = kinesis.get_paginator("list_shards").paginate(StreamName=self._stream)
        return [shard for page in pages for shard in page["Shards"]]

    def _pass_over(self, shard_ids: Iterable[str]) -> None:
        """Skip shards that closed before the start, if the position is LATEST."""
        with self._lock:
            passed = set(shard_ids) - self._started
            self._started |= passed
            self._finished |= passed

    def _begin(self, kinesis: Any, shard_id: str, position: str) -> None:
        arn = kinesis.describe_stream_summary(StreamName=self._stream)
        reader = ShardReader(kinesis, self._stream, shard_id, position)
        reader.open()
        with self._lock:
            self._started.add(shard_id)
        threading.Thread(
            target=self._read,
            args=(reader, arn["StreamDescriptionSummary"]["StreamARN"]),
            name=f"shard-{shard_id}",
            daemon=True,
        ).start()

    def _read(self, reader: "ShardReader", arn: str) -> None:
        while not self._closed.is_set():
            seen = self._arrivals.count if self._arrivals else 0
            try:
                records = reader.read(self._batch)
            except (BotoCoreError, ClientError) as error:
                if not self._closed.is_set():
                    log.warning("shard %s of %s: %s", reader.shard_id, self._stream, error)
                self._closed.wait(self._poll_seconds)
                continue
            if records:
                self._deliver(stream_event(records, reader.shard_id, arn))
            if reader.is_at_end:
                break
            if not reader.is_behind:
                self._closed.wait(self._poll_seconds)
                if self._arrivals and not self._closed.is_set():
                    self._arrivals.wait_beyond(seen, IDLE_SECONDS)
        if not self._closed.is_set():
            with self._lock:
                self._finished.add(reader.shard_id)
            self._wake.set()

    def _deliver(self, event: dict[str, Any]) -> None:
        """Hand a batch over until the function takes it: what follows must not overtake it."""
        tries = 0
        while not self._closed.is_set():
            try:
                if self._invoker.invoke(self._function, event).error is None:
                    return
            except UnreachableError as error:
                log.warning("%s; the batch is tried again", error)
            self._closed.wait(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1


class ShardReader:
    """Reads one shard from a position to its end, renewing expired iterators.

    Methods raise botocore's ClientError and BotoCoreError; the next call continues at the same
    position.
    """

    def __init__(self, kinesis: Any, stream: str, shard_id: str, position: str) -> None:
        """`position` is TRIM_HORIZON, or LATEST for records that arrive after `open`."""
        self.shard_id = shard_id
        self.is_at_end = False
        self.is_behind = True
        self._kinesis = kinesis
        self._shard = {"StreamName": stream, "ShardId": shard_id}
        self._start: dict[str, Any] = {"ShardIteratorType": position}
        self._iterator: str | None = None

    def open(self) -> None:
        """Get an iterator for the position."""
        opened_at = datetime.fromtimestamp(time.time(), UTC)
        answer = self._kinesis.get_shard_iterator(**self._shard, **self._start)
        self._iterator = answer["ShardIterator"]
        if self._start["ShardIteratorType"] == "LATEST":
            # If the iterator expires before a record arrives, LATEST would skip records that
            # arrived meanwhile.
            self._start = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": opened_at}

    def read(self, limit: int) -> list[Mapping[str, Any]]:
        """The next records, at most `limit`; empty if there are none yet."""
        if self._iterator is None:
            self.open()
        try:
            answer = self._kinesis.get_records(ShardIterator=self._iterator, Limit=limit)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExpiredIteratorException":
                self._iterator = None
                return []
            raise
        records: list[Mapping[str, Any]] = answer["Records"]
        if records:
            self._start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": records[-1]["SequenceNumber"],
            }
        self._iterator = answer.get("NextShardIterator")
        self.is_at_end = self._iterator is None
        self.is_behind = answer.get("MillisBehindLatest", 0) > 0
        return records
