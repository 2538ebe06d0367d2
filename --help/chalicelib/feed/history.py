"""Reads the records that a Kinesis stream still has, to refill a feed that lost its entries."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from chalicelib.contract.fanout import Position
from chalicelib.feed.records import Arrival, arrivals_of_answer, parents_first


class History:
    """A stream, through a boto3 client. Methods raise botocore's ClientError and BotoCoreError; the
    client retries throttled calls.
    """

    def __init__(self, kinesis: Any, stream: str) -> None:
        self._kinesis = kinesis
        self._stream = stream

    def shards(self) -> list[str]:
        """Ids of all shards with records, parents before their children."""
        found: list[dict[str, Any]] = []
        where: dict[str, Any] = {"StreamName": self._stream}
        while True:
            answer = self._kinesis.list_shards(**where)
            found += answer["Shards"]
            if not answer.get("NextToken"):
                return parents_first(found)
            where = {"NextToken": answer["NextToken"]}

    def read(self, shard_id: str, after: Position | None, since: int) -> Iterator[list[Arrival]]:
        """The shard's records up to now, in order: from `after` on, which is included because a
        part of it may be missing, or since a time (epoch milliseconds). Yields one list for each
        read, also empty ones.
        """
        iterator = self._iterator(shard_id, after, since)
        while iterator:
            answer = self._kinesis.get_records(ShardIterator=iterator)
            yield arrivals_of_answer(shard_id, answer["Records"])
            iterator = answer.get("NextShardIterator")
            if answer["MillisBehindLatest"] == 0:
                return

    def _iterator(self, shard_id: str, after: Position | None, since: int) -> str:
        from botocore.exceptions import ClientError

        shard = {"StreamName": self._stream, "ShardId": shard_id}
        if after is not None:
            try:
                answer = self._kinesis.get_shard_iterator(
                    **shard,
                    ShardIteratorType="AT_SEQUENCE_NUMBER",
                    StartingSequenceNumber=str(after.sequence),
                )
                return str(answer["ShardIterator"])
            except ClientError as error:
                # The position belongs to another stream of this name, or is older than all records.
                if error.response["Error"]["Code"] != "InvalidArgumentException":
                    raise
        answer = self._kinesis.get_shard_iterator(
            **shard,
            ShardIteratorType="AT_TIMESTAMP",
            Timestamp=datetime.fromtimestamp(since / 1000, UTC),
        )
        return str(answer["ShardIterator"])
