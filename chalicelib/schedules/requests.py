"""What callers may send about schedules, read and checked, and what they are told. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from chalicelib.contract.jobs import MAX_PARAMETERS_BYTES
from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.jobs.answers import instant, shown_json
from chalicelib.jobs.model import Priority
from chalicelib.jobs.requests import check_size, parse_limit, parse_priority
from chalicelib.schedules.cron import ExpressionError, Gap, next_run, parse_expression, parse_zone
from chalicelib.schedules.model import Overlap, Schedule, planned_after

SHOWN_RUNS = 10
MAX_MISFIRE_SECONDS = 7 * 86_400
MAX_LIMIT = 100

_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_KNOWN = {
    "job", "expression", "timezone", "parameters", "priority", "overlap", "gap", "misfireSeconds",
    "paused",
}  # fmt: skip


@dataclass(frozen=True)
class Fire:
    """A message of the queue of schedules: one is due, since `planned_at`."""

    schedule_id: str
    planned_at: float


def parse_schedule_id(text: str) -> str:
    """A schedule's id. Raises NotFoundError for what can be none."""
    if not _ID.fullmatch(text):
        raise NotFoundError(
            "no such schedule: ids are small letters, digits, - and _, at most 40, a letter first"
        )
    return text


def parse_schedule(
    schedule_id: str, body: Any, *, owner: str, callback_base_url: str, now: float
) -> Schedule:
    """Read PUT /schedules/{id}: a new schedule that counts from now on. Raises BadRequestError."""
    if not _ID.fullmatch(schedule_id):
        raise BadRequestError(
            "the id: small letters, digits, - and _, at most 40, beginning with a letter"
        )
    if not isinstance(body, Mapping):
        raise BadRequestError('the body must be a JSON object: {"job", "expression", …}')
    unknown = sorted(set(body) - _KNOWN)
    if unknown:
        raise BadRequestError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(_KNOWN))}")
    timezone = _text(body, "timezone", "UTC")
    gap = _one_of(body, "gap", Gap, Gap.MOVE)
    paused = body.get("paused", False)
    if not isinstance(paused, bool):
        raise BadRequestError("paused: true or false")
    return Schedule(
        id=schedule_id,
        job=_text(body, "job"),
        owner=owner,
        expression=_expression(_text(body, "expression"), timezone, gap, now),
        timezone=timezone,
        created_at=now,
        changed_at=now,
        counts_from=float(int(now)),
        decided_until=now,
        callback_base_url=callback_base_url,
        parameters=check_size(body.get("parameters"), MAX_PARAMETERS_BYTES, "parameters"),
        priority=parse_priority(body),
        overlap=_one_of(body, "overlap", Overlap, Overlap.SKIP),
        gap=gap,
        misfire_seconds=_seconds(body),
        paused=paused,
    )


def parse_page(query: Mapping[str, str]) -> tuple[int, str | None]:
    """The query of GET /schedules: how many, after which. Raises BadRequestError."""
    limit = parse_limit(query, MAX_LIMIT, MAX_LIMIT)
    after = query.get("next")
    if after is not None and not _ID.fullmatch(after):
        raise BadRequestError("next: as the page before said")
    return limit, after


def message_of(schedule_id: str, planned_at: float) -> dict[str, Any]:
    """The message that a schedule is due."""
    return {"schedule": schedule_id, "planned": instant(planned_at)}


def read_message(body: str) -> Fire:
    """The inverse of `message_of`. Raises ValueError for a message that is not ours."""
    match json.loads(body):
        case {"schedule": str(schedule_id), "planned": str(planned)}:
            return Fire(schedule_id, datetime.fromisoformat(planned).timestamp())
        case _:
            raise ValueError(f"not a message of the queue of schedules: {body[:100]}")


def show_schedule(schedule: Schedule, now: float) -> dict[str, Any]:
    """All of a schedule, with its next runs; while it is paused, those it would have."""
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
    """What an audit record has of a schedule: no parameters."""
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


def _text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or not value:
        raise BadRequestError(f"{name}: a string")
    return value


def _one_of(body: Mapping[str, Any], name: str, choices: Any, default: Any) -> Any:
    value = body.get(name, default)
    if not isinstance(value, str) or value not in set(choices):
        raise BadRequestError(f"{name}: one of {', '.join(choices)}")
    return choices(value)


def _seconds(body: Mapping[str, Any]) -> int:
    value = body.get("misfireSeconds", 3600)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequestError("misfireSeconds: a whole number")
    if not 0 <= value <= MAX_MISFIRE_SECONDS:
        raise BadRequestError(f"misfireSeconds: from 0 to {MAX_MISFIRE_SECONDS}")
    return value
