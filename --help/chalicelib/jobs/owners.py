"""A launcher round's data on owners: running invocations, and owners with more waiting."""

from collections.abc import Callable, Iterable, Sequence

from chalicelib.jobs.model import Invocation
from chalicelib.jobs.policy import turns_of
from chalicelib.jobs.quotas import Quota, is_exhausted, running_quota


class OwnersRunning:
    """Counts of this run: each is read once and incremented with each launch."""

    def __init__(self, read_count: Callable[[str], int], most: int, now: float) -> None:
        """`read_count` returns the value of a counter; `most` an owner may run, 0 = no limit."""
        self._read_count = read_count
        self._most = most
        self._now = now
        self._counts: dict[str, int] = {}

    def quota_of(self, invocation: Invocation) -> Quota | None:
        """The quota that its launch counts against; None if it has none."""
        return running_quota(invocation, self._most, self._now)

    def is_full(self, invocation: Invocation) -> bool:
        """Whether its owner has reached the limit of running invocations, so that it has to
        wait.
        """
        quota = self.quota_of(invocation)
        if quota is None:
            return False
        if quota.key not in self._counts:
            self._counts[quota.key] = self._read_count(quota.key)
        return is_exhausted(quota, self._counts[quota.key])

    def launched(self, invocation: Invocation) -> None:
        """Count one more running invocation of its owner."""
        quota = self.quota_of(invocation)
        if quota is not None:
            self._counts[quota.key] = self._counts.get(quota.key, 0) + 1

    def found_full(self, invocation: Invocation) -> None:
        """The counter was at its maximum when the launch was written."""
        quota = self.quota_of(invocation)
        if quota is not None:
            self._counts[quota.key] = quota.maximum


class NewestTurns:
    """The newest turn of each owner in each queue, of what this round has read."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], int] = {}

    def take_in(self, waiting: Iterable[Invocation]) -> list[Invocation]:
        """Take in what waits, and return it."""
        found = list(waiting)
        for each in found:
            if each.turn is not None:
                of = turns_of(each), each.owner
                self._newest[of] = max(each.turn, self._newest.get(of, 0))
        return found

    def of_last(self, launched: Sequence[Invocation]) -> list[tuple[str, str, int]]:
        """Queue, owner and turn of those with nothing of their owner seen behind them."""
        turns = [(turns_of(each), each.owner, each.turn) for each in launched]
        return [
            (queue, owner, turn)
            for queue, owner, turn in turns
            if turn is not None and turn == self._newest[queue, owner]
        ]
