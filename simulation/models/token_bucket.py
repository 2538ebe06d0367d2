"""Rates of AWS APIs, for whole sessions: a simulated session may stand for several. Pure."""

from local.aws.ecs.buckets import Bucket, Rate

__all__ = ["Bucket", "Rate", "shared_rate"]


def shared_rate(rate: Rate, batch: int) -> Rate:
    """What is left of a rate for each of the simulated sessions, which stand for `batch` each."""
    return Rate(rate.burst / batch, rate.per_second / batch)
