"""Lambda's event source for Kinesis: one reader a shard, batches in order, the same one again
until its function takes it. The children of a shard begin when the shard has been read.
"""

import base64
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.dispatcher_process import UnreachableError
from local.triggers.delivery import Invoker

POLL_SECONDS = 0.25
"""AWS polls each shard once a second."""

LOOK_FOR_SHARDS_SECONDS = 2.0
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
    known = {shard["ShardId"] for shard in shards}
    return [
        shard
        for shard in shards
        if shard["ShardId"] not in started
        and all(
            parent not in known or parent in finished
            for parent in (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
            if parent
        )
    ]


class StreamReaders:
    """The readers of one stream for one function."""

    def __init__(
        self,
        kinesis: Callable[[], Any],
        invoker: Invoker,
        function: str,
        settings: Mapping[str, Any],
    ) -> None:
        """`kinesis()` gives a boto3 client; `settings` are as in `local.functions`."""
        self._kinesis = kinesis
        self._invoker = invoker
        self._function = function
        self._stream: str = settings["stream"]
        self._batch: int = settings["batch_size"]
        self._position: str = settings["starting_position"]
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._started: set[str] = set()
        self._finished: set[str] = set()
        self._positioned = threading.Event()
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

    def _find_shards(self) -> None:
        kinesis = self._kinesis()
        # The shards that are there at the start begin where the source says; those that appear
        # later, by splitting or merging, are read whole.
        position = self._position
        while not self._closed.is_set():
            try:
                shards = kinesis.list_shards(StreamName=self._stream)["Shards"]
                with self._lock:
                    new = readable_shards(shards, self._started, self._finished)
                    self._started |= {shard["ShardId"] for shard in new}
                for shard in new:
                    self._begin(kinesis, shard, position)
                position = "TRIM_HORIZON"
                self._positioned.set()
            except (BotoCoreError, ClientError) as error:
                log.warning("stream %s: %s", self._stream, error)
            self._closed.wait(LOOK_FOR_SHARDS_SECONDS)

    def _begin(self, kinesis: Any, shard: Mapping[str, Any], position: str) -> None:
        shard_id = shard["ShardId"]
        iterator = kinesis.get_shard_iterator(
            StreamName=self._stream, ShardId=shard_id, ShardIteratorType=position
        )["ShardIterator"]
        arn = kinesis.describe_stream_summary(StreamName=self._stream)
        threading.Thread(
            target=self._read,
            args=(shard_id, iterator, arn["StreamDescriptionSummary"]["StreamARN"]),
            name=f"shard-{shard_id}",
            daemon=True,
        ).start()

    def _read(self, shard_id: str, iterator: str, arn: str) -> None:
        kinesis = self._kinesis()
        while not self._closed.is_set():
            try:
                answer = kinesis.get_records(ShardIterator=iterator, Limit=self._batch)
                if answer["Records"]:
                    self._deliver(stream_event(answer["Records"], shard_id, arn))
                elif self._is_over(kinesis, shard_id, answer):
                    with self._lock:
                        self._finished.add(shard_id)
                    return
                iterator = answer.get("NextShardIterator") or iterator
            except (BotoCoreError, ClientError) as error:
                if not self._closed.is_set():
                    log.warning("shard %s of %s: %s", shard_id, self._stream, error)
            self._closed.wait(POLL_SECONDS)

    def _is_over(self, kinesis: Any, shard_id: str, answer: Mapping[str, Any]) -> bool:
        """Whether a shard without new records is closed. moto never ends the iterator of one."""
        if not answer.get("NextShardIterator"):
            return True
        shards = kinesis.list_shards(StreamName=self._stream)["Shards"]
        return any(
            shard["ShardId"] == shard_id and "EndingSequenceNumber" in shard["SequenceNumberRange"]
            for shard in shards
        )

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
