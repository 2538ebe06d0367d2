"""Rates of AWS APIs, for whole sessions: a simulated session may stand for several. Pure."""

from local.aws.ecs.buckets import Bucket, Rate

__all__ = ["Bucket", "Rate", "shared_rate"]


def shared_rate(rate: Rate, batch: int) -> Rate:
    """A rate in simulated sessions, which stand for `batch` each. One at least comes at once."""
    return Rate(max(1.0, rate.burst / batch), rate.per_second / batch)
