"""A schedule of EventBridge Scheduler, and when it is due. Pure.

https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html and, on time zones
and changes of clocks, https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from chalicelib.schedules.cron import (
    Expression,
    ExpressionError,
    Gap,
    Rate,
    instant_of,
    next_run,
    parse_aws,
    parse_zone,
)

NAME = re.compile(r"[0-9a-zA-Z_.-]{1,64}")
SETTINGS = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "KmsKeyArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
    "Target",
)
LATE = timedelta(seconds=60)
"""The precision of EventBridge Scheduler: a one-time schedule further back than that is refused."""

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


class SchedulerError(Exception):
    """An error of the API: code and HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def invalid(message: str) -> SchedulerError:
    """The error for a request that AWS refuses."""
    return SchedulerError("ValidationException", message, 400)


@dataclass(frozen=True)
class Entry:
    """One schedule. Instants are in UTC."""

    name: str
    group: str
    settings: Mapping[str, Any]
    """The request's settings, with defaults."""
    once: datetime | None
    """The time of a one-time schedule."""
    expression: Expression | None
    """The times of a recurring schedule."""
    zone: ZoneInfo
    created_at: datetime
    modified_at: datetime
    client_token: str | None
    due_at: datetime | None
    """When it fires next; None when it never does again."""

    @property
    def is_enabled(self) -> bool:
        return bool(self.settings["State"] == "ENABLED")

    @property
    def ends_with_deletion(self) -> bool:
        return bool(self.settings["ActionAfterCompletion"] == "DELETE")

    def due_after(self, fired: datetime) -> datetime | None:
        """When it fires next after it has fired."""
        if self.expression is None:
            return None
        return _within(self.settings, next_run(self.expression, self.zone, fired, Gap.SKIP))


def entry_for(
    name: str, group: str, body: Mapping[str, Any], now: datetime, before: Entry | None = None
) -> Entry:
    """The schedule of a CreateSchedule or UpdateSchedule request. Raises SchedulerError."""
    if not NAME.fullmatch(name):
        raise invalid(f"{name!r} is no name of a schedule")
    settings = {key: body[key] for key in SETTINGS if body.get(key) is not None}
    settings = {
        "State": "ENABLED",
        "ActionAfterCompletion": "NONE",
        "ScheduleExpressionTimezone": "UTC",
        **settings,
    }
    _check(settings)
    try:
        zone = parse_zone(settings["ScheduleExpressionTimezone"])
        once, expression = _read(settings["ScheduleExpression"], zone)
    except ExpressionError as error:
        raise invalid(f"Invalid Schedule Expression {error}.") from error
    if once is not None and once < now - LATE:
        raise invalid(f"Invalid Schedule Expression {settings['ScheduleExpression']}: it is past.")
    return Entry(
        name=name,
        group=group,
        settings=settings,
        once=once,
        expression=expression,
        zone=zone,
        created_at=before.created_at if before else now,
        modified_at=now,
        client_token=body.get("ClientToken"),
        due_at=once or _first(settings, expression, zone, now),
    )


def _check(settings: Mapping[str, Any]) -> None:
    for required in ("ScheduleExpression", "FlexibleTimeWindow", "Target"):
        if required not in settings:
            raise invalid(f"{required} is missing")
    target = settings["Target"]
    for required in ("Arn", "RoleArn"):
        if not str(target.get(required, "")).startswith("arn:"):
            raise invalid(f"Target.{required} is not an ARN")
    if ":sqs:" not in target["Arn"]:
        raise NotImplementedError("targets are SQS queues here")
    if settings["FlexibleTimeWindow"].get("Mode") != "OFF":
        raise NotImplementedError("FlexibleTimeWindow is OFF here")
    if settings["State"] not in {"ENABLED", "DISABLED"}:
        raise invalid("State is ENABLED or DISABLED")
    if settings["ActionAfterCompletion"] not in {"NONE", "DELETE"}:
        raise invalid("ActionAfterCompletion is NONE or DELETE")


def _read(text: str, zone: ZoneInfo) -> tuple[datetime | None, Expression | None]:
    match = _AT.fullmatch(text.strip())
    if match is None:
        return None, parse_aws(text)
    try:
        wall = datetime.fromisoformat(match[1])
    except ValueError as error:
        raise ExpressionError(str(error)) from error
    return instant_of(wall, zone, Gap.MOVE), None


def _first(
    settings: Mapping[str, Any], expression: Expression | None, zone: ZoneInfo, now: datetime
) -> datetime | None:
    if expression is None:
        return None
    start = max(now, _instant(settings.get("StartDate")) or now)
    if isinstance(expression, Rate):  # its first turn is at its start
        return _within(settings, start)
    return _within(settings, next_run(expression, zone, start - timedelta(microseconds=1)))


def _within(settings: Mapping[str, Any], due: datetime | None) -> datetime | None:
    end = _instant(settings.get("EndDate"))
    return None if due is None or (end is not None and due > end) else due


def _instant(value: Any) -> datetime | None:
    """Parse an instant of the API's JSON: seconds since 1970, or ISO 8601."""
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    return datetime.fromtimestamp(value, UTC)


def message_of(entry: Entry, arn: str, due: datetime, execution_id: str) -> str:
    """The input of the target, with EventBridge Scheduler's context attributes filled in."""
    written = due.strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "<aws.scheduler.schedule-arn>": arn,
        "<aws.scheduler.scheduled-time>": written,
        "<aws.scheduler.execution-id>": execution_id,
        "<aws.scheduler.attempt-number>": "1",
    }
    text = str(entry.settings["Target"].get("Input") or "{}")
    for attribute, value in attributes.items():
        text = text.replace(attribute, value)
    return text
