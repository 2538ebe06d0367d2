"""Why a launch did not happen, told apart by what to do about it. Pure.

RunTask says no in three ways: an error code, `failures[]` inside an HTTP 200, and silence.
Sources: the ECS API reference on RunTask, and "API failure reasons" in the developer guide.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any


class LaunchFailure(StrEnum):
    """What kind of no it was."""

    CAPACITY = "capacity"
    """Nothing has room now: wait and try again as a new attempt."""
    THROTTLED = "throttled"
    """Too many calls: wait and try again."""
    UNCERTAIN = "uncertain"
    """No answer, or a server error: it may run. Repeat the very same request."""
    REFUSED = "refused"
    """ECS will never take this request: it is wrong, or the task definition is."""


class LaunchError(Exception):
    """RunTask started nothing for certain, or (UNCERTAIN) nobody knows."""

    def __init__(self, failure: LaunchFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class StopError(Exception):
    """ECS did not take a StopTask: throttled, or silent. Asking again is harmless."""


_THROTTLING = {
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
}
_UNCERTAIN = {
    "ServerException",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
}
_CAPACITY = {"CapacityProviderException", "NoContainerInstancesException"}


def classify_failures(failures: Iterable[Mapping[str, Any]]) -> LaunchError:
    """Read `failures[]` of an HTTP 200: RESOURCE:*, AGENT, ATTRIBUTE, MISSING, …"""
    reasons = sorted({str(failure.get("reason", "unknown")) for failure in failures})
    waitable = all(
        reason.startswith(("RESOURCE", "AGENT", "Capacity is unavailable", "DRAINING"))
        for reason in reasons
    )
    kind = LaunchFailure.CAPACITY if waitable else LaunchFailure.REFUSED
    return LaunchError(kind, ", ".join(reasons))


def classify_error(code: str, message: str, status: int) -> LaunchError:
    """Read an error answer: its code, its message and its HTTP status."""
    if code in _THROTTLING:
        return LaunchError(LaunchFailure.THROTTLED, message)
    if code in _UNCERTAIN or status >= 500:
        return LaunchError(LaunchFailure.UNCERTAIN, message)
    if code in _CAPACITY or (
        code == "InvalidParameterException" and "No Container Instances" in message
    ):
        return LaunchError(LaunchFailure.CAPACITY, message)
    return LaunchError(LaunchFailure.REFUSED, f"{code}: {message}")
