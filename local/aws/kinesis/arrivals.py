"""Lets readers in the same process wait for changes of the streams, so that they need not poll."""

from threading import Condition


class Arrivals:
    """Counts the changes of all streams: records put, shards split or merged. Thread-safe."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """The number of changes so far."""
        return self._count

    def add(self) -> None:
        """Count a change, and wake all waiting readers."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_beyond(self, count: int, seconds: float) -> None:
        """Wait until there are more changes than `count`, for at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > count, seconds)
