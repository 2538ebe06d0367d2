"""The effect of one more result of a health check: pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html
"""

from dataclasses import dataclass, replace

from local.aws.ecs.model import Health


@dataclass(frozen=True)
class Checks:
    """The present health, and the number of successive failures."""

    health: Health = Health.UNKNOWN
    failures: int = 0


def after_check(checks: Checks, *, healthy: bool, retries: int, in_start_period: bool) -> Checks:
    """One success makes healthy; `retries` failures in a row outside the start period do not."""
    if healthy:
        return Checks(Health.HEALTHY)
    if in_start_period:
        return checks
    failures = checks.failures + 1
    if failures >= retries:
        return Checks(Health.UNHEALTHY, failures)
    return replace(checks, failures=failures)
