"""The rates of one shard ("Quotas and limits" in Kinesis's developer guide). Pure.

Reads: 5 calls and 2 MiB a second for all readers together; an answer of more than 2 MiB uses up the
following seconds, so 10 MiB block the next five. Writes: 1,000 records and 1 MiB a second.
"""

from collections import deque

MIB = 1 << 20
READ_BYTES_PER_SECOND = 2 * MIB
WRITE_BYTES_PER_SECOND = MIB


class CallRate:
    """A limit for the calls in any second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._calls: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Whether a call may be made now; a refused one does not count."""
        while self._calls and self._calls[0] <= now - 1.0:
            self._calls.popleft()
        if len(self._calls) >= self._per_second:
            return False
        self._calls.append(now)
        return True


class ByteRate:
    """A limit of bytes a second; unused bytes are kept for one second at most."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._free_at = 0.0

    def is_free(self, now: float) -> bool:
        """Whether the bytes of earlier calls fit into the time until now."""
        return self._free_at <= now

    def spend(self, size: int, now: float) -> None:
        """Count bytes, however many."""
        seconds = size / self._per_second
        saved = 1.0 if seconds <= 1.0 else 0.0
        self._free_at = max(self._free_at, now - saved) + seconds


class ShardRates:
    """All rates of one shard."""

    def __init__(self) -> None:
        self.reads = CallRate(5)
        self.read_bytes = ByteRate(READ_BYTES_PER_SECOND)
        self.iterators = CallRate(5)
        self.writes = CallRate(1000)
        self.write_bytes = ByteRate(WRITE_BYTES_PER_SECOND)

    def may_read(self, now: float) -> bool:
        """Whether GetRecords may be carried out now."""
        return self.read_bytes.is_free(now) and self.reads.allows(now)

    def may_write(self, size: int, now: float) -> bool:
        """Whether a record of this size is taken now; if so it is counted."""
        if not self.write_bytes.is_free(now) or not self.writes.allows(now):
            return False
        self.write_bytes.spend(size, now)
        return True
