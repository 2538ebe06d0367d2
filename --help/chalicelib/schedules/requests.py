"""Parses requests about schedules, and their answers. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from chalicelib.contract.jobs import MAX_PARAMETERS_BYTES
from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.fields import Document, Field, Schema, largest_body, page_size, whole
from chalicelib.instants import instant
from chalicelib.jobs.answers import shown_json
from chalicelib.jobs.model import Priority
from chalicelib.jobs.requests import PARAMETERS, PRIORITY, check_size, priority_of
from chalicelib.schedules.cron import ExpressionError, Gap, next_run, parse_expression, parse_zone
from chalicelib.schedules.model import Overlap, Schedule, planned_after

SHOWN_RUNS = 10
MAX_MISFIRE_SECONDS = 7 * 86_400
_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")
ID_SCHEMA: Schema = {"type": "string", "pattern": f"^{_ID.pattern}$"}
LIMIT = page_size(default=100, most=100)
NEXT = Field(
    "next",
    ID_SCHEMA,
    "as the page before said",
    "From the page before.",
)
PAGE = (LIMIT, NEXT)
"""The query of `GET /schedules`."""
SCHEDULE = Document(
    (
        Field(
            "job", {"type": "string", "minLength": 1}, "a string", "A job's name.", is_required=True
        ),
        Field(
            "expression",
            {"type": "string", "minLength": 1},
            "a string",
            "`cron(…)` or `rate(…)` as AWS has them, or Quartz's form.",
            is_required=True,
        ),
        Field(
            "timezone",
            {"type": "string", "minLength": 1, "default": "UTC"},
            "a string",
            "A name of the IANA database.",
        ),
        PARAMETERS,
        PRIORITY,
        Field(
            "overlap",
            {
                "type": "string",
                "enum": [each.value for each in Overlap],
                "default": Overlap.SKIP.value,
            },
            f"one of {', '.join(Overlap)}",
            "What a run does while the last one has not ended.",
        ),
        Field(
            "gap",
            {"type": "string", "enum": [each.value for each in Gap], "default": "move"},
            f"one of {', '.join(Gap)}",
            "What becomes of a run in the hour that is missing when clocks are set forward.",
        ),
        Field(
            "misfireSeconds",
            {**whole(0, MAX_MISFIRE_SECONDS), "default": 3600},
            f"a whole number from 0 to {MAX_MISFIRE_SECONDS}",
            "The newest run that was missed is run when it is no later than this.",
        ),
        Field("paused", {"type": "boolean", "default": False}, "true or false", "Plans nothing."),
    ),
    most_bytes=largest_body(MAX_PARAMETERS_BYTES),
)


@dataclass(frozen=True)
class Fire:
    """A message of the schedules' queue: a schedule is due, planned for `planned_at`."""

    schedule_id: str
    planned_at: float


def parse_schedule_id(text: str) -> str:
    """A schedule's id. Raises NotFoundError for an invalid one."""
    if not _ID.fullmatch(text):
        raise NotFoundError(
            "no such schedule: ids are small letters, digits, - and _, at most 40, a letter first"
        )
    return text


def parse_schedule(
    schedule_id: str, body: Any, *, owner: str, callback_base_url: str, now: float
) -> Schedule:
    """Parse PUT /schedules/{id}: a new schedule whose times start now. Raises BadRequestError."""
    if not _ID.fullmatch(schedule_id):
        raise BadRequestError(
            "the id: small letters, digits, - and _, at most 40, beginning with a letter"
        )
    values = SCHEDULE.check(body)
    timezone, gap = values["timezone"], Gap(values["gap"])
    return Schedule(
        id=schedule_id,
        job=values["job"],
        owner=owner,
        expression=_expression(values["expression"], timezone, gap, now),
        timezone=timezone,
        created_at=now,
        changed_at=now,
        counts_from=float(int(now)),
        decided_until=now,
        callback_base_url=callback_base_url,
        parameters=check_size(values["parameters"], MAX_PARAMETERS_BYTES, "parameters"),
        priority=priority_of(values["priority"]),
        overlap=Overlap(values["overlap"]),
        gap=gap,
        misfire_seconds=values["misfireSeconds"],
        paused=values["paused"],
    )


def parse_page(query: Mapping[str, str]) -> tuple[int, str | None]:
    """Parse the query of GET /schedules: page size, and the id that the page follows. Raises
    BadRequestError.
    """
    return LIMIT.read(query), NEXT.read(query)


def message_of(schedule_id: str, planned_at: float) -> dict[str, Any]:
    """The message that a schedule is due."""
    return {"schedule": schedule_id, "planned": instant(planned_at)}


def read_message(body: str) -> Fire:
    """The inverse of `message_of`. Raises ValueError for an unknown message."""
    match json.loads(body):
        case {"schedule": str(schedule_id), "planned": str(planned)}:
            return Fire(schedule_id, datetime.fromisoformat(planned).timestamp())
        case _:
            raise ValueError(f"not a message of the queue of schedules: {body[:100]}")


def show_schedule(schedule: Schedule, now: float) -> dict[str, Any]:
    """A schedule with its next runs; while it is paused, those that it would have."""
    start = max(schedule.decided_until, now) if schedule.paused else schedule.decided_until
    runs = islice(planned_after(schedule, start), SHOWN_RUNS)
    return {
        "id": schedule.id,
        "job": schedule.job,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "parameters": shown_json(schedule.parameters),
        "priority": None if schedule.priority is None else Priority(schedule.priority).value,
        "overlap": schedule.overlap.value,
        "gap": schedule.gap.value,
        "misfireSeconds": schedule.misfire_seconds,
        "paused": schedule.paused,
        "createdAt": instant(schedule.created_at),
        "nextRuns": [instant(at) for at in runs],
        "lastPlannedAt": instant(schedule.last_planned_at),
        "lastInvocation": schedule.last_invocation,
        "skipped": schedule.skipped,
        "trouble": schedule.trouble,
    }


def facts_of(schedule: Schedule) -> dict[str, Any]:
    """The fields of a schedule in an audit record, without parameters."""
    facts = {
        "job": schedule.job,
        "owner": schedule.owner,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "priority": None if schedule.priority is None else Priority(schedule.priority).value,
        "overlap": schedule.overlap.value,
        "gap": schedule.gap.value,
        "misfireSeconds": schedule.misfire_seconds,
        "paused": schedule.paused,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _expression(text: str, timezone: str, gap: Gap, now: float) -> str:
    try:
        understood, zone = parse_expression(text), parse_zone(timezone)
    except ExpressionError as error:
        raise BadRequestError(f"expression or timezone: {error}") from error
    if next_run(understood, zone, datetime.fromtimestamp(now, UTC), gap) is None:
        raise BadRequestError(f"expression: {understood.text} never comes again")
    return understood.text
