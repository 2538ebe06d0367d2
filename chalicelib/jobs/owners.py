"""How many invocations of each owner run, as one round of the launcher knows it."""

from collections.abc import Callable

from chalicelib.jobs.model import Invocation
from chalicelib.jobs.quotas import Quota, is_exhausted, running_quota


class OwnersRunning:
    """Counts of this round: each is read once, and raised with what the round launches."""

    def __init__(self, read_count: Callable[[str], int], most: int, now: float) -> None:
        """`read_count` gives what a counter stands at; `most` an owner may run, 0 = any number."""
        self._read_count = read_count
        self._most = most
        self._now = now
        self._counts: dict[str, int] = {}

    def quota_of(self, invocation: Invocation) -> Quota | None:
        """The quota that launching it counts against; None where it has none."""
        return running_quota(invocation, self._most, self._now)

    def is_full(self, invocation: Invocation) -> bool:
        """Whether as many of its owner run as may, so that it has to wait."""
        quota = self.quota_of(invocation)
        if quota is None:
            return False
        if quota.key not in self._counts:
            self._counts[quota.key] = self._read_count(quota.key)
        return is_exhausted(quota, self._counts[quota.key])

    def launched(self, invocation: Invocation) -> None:
        """One more of its owner runs."""
        quota = self.quota_of(invocation)
        if quota is not None:
            self._counts[quota.key] = self._counts.get(quota.key, 0) + 1

    def found_full(self, invocation: Invocation) -> None:
        """The counter was at its maximum when the launch was to be written."""
        quota = self.quota_of(invocation)
        if quota is not None:
            self._counts[quota.key] = quota.maximum
