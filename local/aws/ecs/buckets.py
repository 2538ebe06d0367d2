"""Request rates of the ECS API, as token buckets: pure, the clock is passed in.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
"""

from dataclasses import dataclass

MODIFY = frozenset({"RunTask", "StartTask", "StopTask", "ExecuteCommand"})
READ = frozenset(
    {"DescribeTasks", "ListTasks", "DescribeContainerInstances", "ListContainerInstances"}
)
REGISTER = frozenset({"RegisterTaskDefinition", "DeregisterTaskDefinition"})


@dataclass(frozen=True)
class Rate:
    """`burst` requests at once, `per_second` on average."""

    burst: float
    per_second: float


@dataclass(frozen=True)
class Limits:
    """One bucket for each group of actions; None means unlimited."""

    modify: Rate | None = Rate(100, 40)
    read: Rate | None = Rate(100, 20)
    register: Rate | None = Rate(20, 1)


UNLIMITED = Limits(None, None, None)


class Bucket:
    """One token bucket. If `now` goes backwards, nothing is refilled. Not thread-safe."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = rate.burst
        self._filled_at = now

    def take(self, now: float, tokens: float = 1) -> bool:
        """Take `tokens`; False, without taking any, if there are fewer."""
        elapsed = max(0.0, now - self._filled_at)
        self._filled_at = max(now, self._filled_at)
        self._tokens = min(self._rate.burst, self._tokens + elapsed * self._rate.per_second)
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class Buckets:
    """The buckets of one account in one region."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._groups = [
            (actions, Bucket(rate, now))
            for actions, rate in (
                (MODIFY, limits.modify),
                (READ, limits.read),
                (REGISTER, limits.register),
            )
            if rate
        ]

    def admit(self, action: str, now: float) -> bool:
        """False when the action is over its rate."""
        return all(bucket.take(now) for actions, bucket in self._groups if action in actions)
