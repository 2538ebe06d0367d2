"""Shard iterators: opaque to clients, and good for some minutes only. Pure."""

import base64
import json
from dataclasses import astuple, dataclass

from local.aws.kinesis.errors import KinesisError, invalid


@dataclass(frozen=True)
class ShardIterator:
    """A place in a shard, and when it was given out. `made_at` is that of the stream, so that
    iterators of an earlier stream of the same name are known as such.
    """

    stream: str
    made_at: float
    shard_id: str
    index: int
    issued_at: float

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(astuple(self)).encode()).decode()

    @classmethod
    def parse(cls, text: str) -> "ShardIterator":
        """Raises KinesisError."""
        try:
            return cls(*json.loads(base64.urlsafe_b64decode(text)))
        except (ValueError, TypeError):
            raise invalid("Invalid ShardIterator.") from None

    def check(self, now: float, seconds: float) -> None:
        """Raises KinesisError when it is older than `seconds`."""
        if now - self.issued_at >= seconds:
            raise KinesisError(
                "ExpiredIteratorException",
                f"Iterator expired. The iterator was created at {self.issued_at} while right now "
                f"it is {now}, which is further in the future than the tolerated delay of "
                f"{seconds:.0f} seconds.",
            )
