"""Reasons for failed launches, classified by the reaction that they need. Pure.

RunTask reports a failure with an error code, with `failures[]` in an HTTP 200, or not at all; a
task that found no host reports it when it stops. `TABLE` has all documented failures with their
sources:

- api: API_RunTask.html, API_StopTask.html, API_RegisterTaskDefinition.html and CommonErrors.html of
  https://docs.aws.amazon.com/AmazonECS/latest/APIReference/, and botocore's model of them
- reasons: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
- events: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
- stopped: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
- seen: not documented, but reported by users of ECS
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalicelib.ecs.public_text import for_clients

MAX_BACKOFF_SECONDS = 30


class LaunchFailure(StrEnum):
    """The class of a failure."""

    CAPACITY = "capacity"
    """No capacity now, and nothing started: wait and make a new attempt."""
    THROTTLED = "throttled"
    """Too many calls, nothing started: wait and repeat."""
    UNCERTAIN = "uncertain"
    """No answer, or a server error: the task may run. Repeat the identical request."""
    REFUSED = "refused"
    """ECS never accepts this request, because the deployment is wrong."""
    INVALID = "invalid"
    """ECS never accepts this request, because the caller's app or job is impossible."""


FINAL = frozenset({LaunchFailure.REFUSED, LaunchFailure.INVALID})
"""A repetition has the same result."""


class LaunchError(Exception):
    """RunTask or StartTask certainly started nothing, or (UNCERTAIN) the outcome is unknown."""

    def __init__(self, failure: LaunchFailure, message: str, pause_seconds: int = 0) -> None:
        """`pause_seconds`: minimum delay before a repetition."""
        super().__init__(message)
        self.failure = failure
        self.pause_seconds = pause_seconds
        self.public_message = for_clients(message)
        """The filtered text for records and answers; the complete message is for logs."""


class StopError(Exception):
    """ECS did not accept a StopTask: throttled, or no answer. It may be repeated."""


@dataclass(frozen=True)
class Row:
    """One documented failure. `text` is the beginning of a failure's reason, or a part of a
    message.
    """

    failure: LaunchFailure
    source: str
    code: str = ""
    """The error's code; empty for a reason of `failures[]` or of a stopped task."""
    text: str = ""


_LATER, _SLOWER = LaunchFailure.CAPACITY, LaunchFailure.THROTTLED
_UNKNOWN, _NEVER, _CALLER = LaunchFailure.UNCERTAIN, LaunchFailure.REFUSED, LaunchFailure.INVALID

TABLE: tuple[Row, ...] = (
    # Reasons of failures[], and of tasks that found no host.
    Row(_LATER, "reasons", text="RESOURCE:"),  # CPU, MEMORY, PORTS, ENI, GPU, …
    Row(_LATER, "reasons", text="AGENT"),
    Row(_LATER, "reasons", text="DRAINING"),
    Row(_LATER, "reasons", text="INACTIVE"),
    Row(_LATER, "reasons", text="NO ACTIVE INSTANCES"),
    Row(_LATER, "reasons", text="EMPTY CAPACITY PROVIDER"),
    Row(_LATER, "events", text="No Container Instances were found"),
    Row(_LATER, "events", text="Capacity is unavailable at this time"),
    Row(_LATER, "events", text="Spot Capacity is unavailable"),
    Row(_LATER, "events", text="You've reached the limit on the number of"),  # vCPUs, tasks
    Row(_LATER, "events", text="Internal error"),
    Row(_LATER, "seen", text="You have reached the maximum number of"),
    Row(_LATER, "seen", text="Host was draining"),
    Row(_LATER, "seen", text="The subnet does not have enough free addresses"),
    Row(_LATER, "stopped", text="Timeout waiting for network interface provisioning"),
    Row(_LATER, "stopped", text="Timeout waiting for EPHEMERAL_STORAGE provisioning"),
    Row(_LATER, "stopped", text="InsufficientFreeAddressesInSubnet"),
    Row(_LATER, "stopped", text="Unexpected EC2 error while attempting to"),
    Row(_LATER, "seen", text="Rate limit exceeded while preparing network interface"),
    Row(_NEVER, "reasons", text="ATTRIBUTE"),
    Row(_NEVER, "reasons", text="LOCATION"),
    Row(_NEVER, "reasons", text="MISSING"),
    # affinities change with the tasks on hosts
    Row(_LATER, "reasons", text="MemberOf placement constraint unsatisfied"),
    Row(_LATER, "reasons", text="DistinctInstance placement constraint unsatisfied"),
    Row(_NEVER, "events", text="The requested CPU configuration is above your limit"),
    Row(_NEVER, "events", text="The requested MEMORY configuration is above your limit"),
    Row(_NEVER, "reasons", text="ACCOUNT_BLOCKED"),
    # Codes with specific messages; they are checked before the codes alone.
    Row(_LATER, "seen", "ClientException", "Tasks provisioning capacity limit exceeded"),
    Row(_LATER, "seen", "ClientException", "You've reached the limit on the number of"),
    Row(_LATER, "seen", "ClientException", "Capacity is unavailable at this time"),
    Row(_LATER, "seen", "ClientException", "Too many concurrent attempts to create a new revision"),
    Row(_CALLER, "seen", "ClientException", "No Fargate configuration exists"),
    Row(_CALLER, "seen", "ClientException", "Invalid 'cpu' setting for task"),
    Row(_CALLER, "seen", "ClientException", "Invalid 'memory' setting for task"),
    Row(_CALLER, "seen", "ClientException", "Fargate requires that"),
    Row(_CALLER, "seen", "ClientException", "Fargate only supports"),
    Row(_CALLER, "seen", "ClientException", "Fargate compatible task definitions do not"),
    Row(_LATER, "seen", "InvalidParameterException", "No Container Instances were found"),
    Row(_LATER, "seen", "InvalidParameterException", "InsufficientFreeAddresses"),
    Row(_CALLER, "seen", "InvalidParameterException", "capacity provider"),
    Row(_CALLER, "seen", "InvalidParameterException", "Task definition does not support"),
    # Codes.
    Row(_SLOWER, "api", "ThrottlingException"),
    Row(_SLOWER, "api", "Throttling"),
    Row(_SLOWER, "api", "RequestLimitExceeded"),
    Row(_SLOWER, "api", "TooManyRequestsException"),
    Row(_SLOWER, "api", "LimitExceededException"),
    Row(_UNKNOWN, "api", "ServerException"),
    Row(_UNKNOWN, "api", "InternalFailure"),
    Row(_UNKNOWN, "api", "ServiceUnavailable"),
    Row(_UNKNOWN, "api", "ServiceUnavailableException"),
    Row(_SLOWER, "api", "RequestExpired"),  # a wrong clock, or a frozen function
    Row(_LATER, "seen", "CapacityProviderException"),
    Row(_LATER, "seen", "NoContainerInstancesException"),
    Row(_NEVER, "api", "ClientException"),
    Row(_NEVER, "api", "InvalidParameterException"),
    Row(_NEVER, "api", "ClusterNotFoundException"),
    Row(_NEVER, "api", "AccessDeniedException"),
    Row(_NEVER, "api", "BlockedException"),
    Row(_NEVER, "api", "UnsupportedFeatureException"),
    Row(_CALLER, "api", "PlatformUnknownException"),
    Row(_CALLER, "api", "PlatformTaskDefinitionIncompatibilityException"),
    Row(_UNKNOWN, "api", "ConflictException"),  # the launcher adopts the task that it names
    Row(_NEVER, "api", "UnrecognizedClientException"),
    Row(_NEVER, "api", "ExpiredTokenException"),
    Row(_NEVER, "api", "IncompleteSignature"),
    Row(_NEVER, "api", "InvalidClientTokenId"),
    Row(_NEVER, "api", "MissingAuthenticationToken"),
    Row(_NEVER, "api", "NotAuthorized"),
    Row(_NEVER, "api", "OptInRequired"),
    Row(_NEVER, "api", "ValidationError"),
    Row(_NEVER, "api", "ValidationException"),
)

STOPPED_PREFIX = "TaskFailedToStart: "
"""Some tools and pages prefix the reason with the stop code."""


def failure_of_reason(reason: str) -> LaunchFailure | None:
    """The class of a reason of `failures[]` or of a stopped task; None for an unknown reason."""
    text = _plain(reason).removeprefix(STOPPED_PREFIX)
    return next((r.failure for r in TABLE if not r.code and text.startswith(r.text)), None)


def classify_failures(failures: Iterable[Mapping[str, Any]]) -> LaunchError:
    """Classify `failures[]` of an HTTP 200: CAPACITY if any host may have capacity later, else
    REFUSED.
    """
    reasons = sorted({str(failure.get("reason", "unknown")) for failure in failures})
    kinds = {failure_of_reason(reason) or LaunchFailure.REFUSED for reason in reasons}
    # Each host has a reason: one host that may have capacity later suffices.
    kind = LaunchFailure.CAPACITY if LaunchFailure.CAPACITY in kinds else LaunchFailure.REFUSED
    return LaunchError(kind, ", ".join(reasons))


def classify_error(code: str, message: str, status: int) -> LaunchError:
    """Classify an error answer by its code, message and HTTP status."""
    text = _plain(message)
    for row in TABLE:
        if row.code == code and row.text.lower() in text.lower():
            shown = message if row.failure not in FINAL else f"{code}: {message}"
            return LaunchError(row.failure, shown)
    if status >= 500:
        return LaunchError(LaunchFailure.UNCERTAIN, message)
    return LaunchError(LaunchFailure.REFUSED, f"{code}: {message}")


def _plain(text: str) -> str:
    """ECS uses two kinds of apostrophes."""
    return text.replace("’", "'")


def backoff_seconds(tries: int) -> int:
    """Seconds to wait after `tries` failures in a row: 1, 2, 4, … up to MAX_BACKOFF_SECONDS."""
    return min(1 << (tries - 1), MAX_BACKOFF_SECONDS)
