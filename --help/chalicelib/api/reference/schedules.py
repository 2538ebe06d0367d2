"""Routes of schedules. Pure."""

from chalicelib.api.reference.jobs import CREATED, ID, REPEATED, WHY_NOT_QUEUED
from chalicelib.api.reference.model import (
    ANY,
    FLAG,
    INSTANT,
    MAYBE_INSTANT,
    MAYBE_TEXT,
    NOTHING,
    TEXT,
    WHOLE,
    Answer,
    By,
    Operation,
    Part,
    list_of,
    one_of,
    page_of,
    record,
    ref,
)
from chalicelib.errors import (
    ConflictError,
    InvalidParametersError,
    UnknownJobError,
)
from chalicelib.jobs.model import Priority
from chalicelib.schedules.cron import Gap
from chalicelib.schedules.model import Overlap

_SCHEDULE = Answer("The schedule.", ref("Schedule"))

SCHEDULES = Part(
    "Schedules",
    "When jobs run by themselves.",
    {
        "schedules.list_schedules": Operation(
            By.CALLER, {200: Answer("One page, by id.", ref("SchedulesPage"))}
        ),
        "schedules.get_schedule": Operation(By.CALLER, {200: _SCHEDULE}),
        "schedules.put_schedule": Operation(
            By.OPERATOR,
            {201: Answer("A new schedule.", ref("Schedule")), 200: _SCHEDULE},
            (UnknownJobError, InvalidParametersError, ConflictError),
            example={"job": "report", "expression": "cron(0 9 ? * MON-FRI *)"},
        ),
        "schedules.delete_schedule": Operation(By.OPERATOR, {200: Answer("Done.", NOTHING)}),
        "schedules.pause_schedule": Operation(By.OPERATOR, {200: _SCHEDULE}, (ConflictError,)),
        "schedules.resume_schedule": Operation(By.OPERATOR, {200: _SCHEDULE}, (ConflictError,)),
        "schedules.run_schedule": Operation(
            By.OPERATOR, {201: CREATED, 200: REPEATED}, WHY_NOT_QUEUED
        ),
    },
    {
        "Schedule": record(
            "A schedule.",
            {
                "id": TEXT,
                "job": TEXT,
                "expression": {**TEXT, "description": "As AWS writes it."},
                "timezone": TEXT,
                "parameters": ANY,
                "priority": one_of(Priority, or_null=True),
                "overlap": one_of(Overlap),
                "gap": one_of(Gap),
                "misfireSeconds": WHOLE,
                "paused": FLAG,
                "createdAt": INSTANT,
                "nextRuns": list_of(INSTANT),
                "lastPlannedAt": MAYBE_INSTANT,
                "lastInvocation": MAYBE_TEXT,
                "skipped": {**WHOLE, "description": "How many runs so far."},
                "trouble": {
                    **MAYBE_TEXT,
                    "description": "Why the last run could not be asked for.",
                },
            },
            example={
                "id": "weekdays",
                "job": "report",
                "expression": "cron(0 9 ? * MON-FRI *)",
                "timezone": "UTC",
                "parameters": None,
                "priority": None,
                "overlap": "skip",
                "gap": "move",
                "misfireSeconds": 3600,
                "paused": False,
                "createdAt": "2026-01-31T09:00:00.000Z",
                "nextRuns": ["2026-02-02T09:00:00.000Z"],
                "lastPlannedAt": "2026-01-30T09:00:00.000Z",
                "lastInvocation": ID,
                "skipped": 0,
                "trouble": None,
            },
        ),
        "SchedulesPage": page_of("schedules", ref("Schedule")),
    },
)
