"""Routes of audit records, of the console, and of the deployment itself. Pure."""

from chalicelib.api.reference.hosts import RESOURCE
from chalicelib.api.reference.model import (
    FLAG,
    INSTANT,
    MAYBE_TEXT,
    TEXT,
    WHOLE,
    Answer,
    By,
    Operation,
    Part,
    list_of,
    one_of,
    page_of,
    page_operation,
    record,
    ref,
    table_of,
)
from chalicelib.audit.model import Action, Kind, Outcome
from chalicelib.callers import Role
from chalicelib.fields import Schema
from chalicelib.tasks.trend import FIGURES, WAITS

_PAGE: Schema = {"type": "string"}

AUDIT = Part(
    "Audit records",
    "A change: its caller, address, time, action and outcome.",
    {
        "audit.list_audit": Operation(
            By.VIEWER, {200: Answer("One page, newest first.", ref("AuditPage"))}
        )
    },
    {
        "AuditRecord": record(
            "One change, or one refused request.",
            {
                "id": TEXT,
                "at": INSTANT,
                "who": TEXT,
                "kind": one_of(Kind),
                "principal": MAYBE_TEXT,
                "address": TEXT,
                "requestId": TEXT,
                "action": one_of(Action),
                "resource": TEXT,
                "outcome": one_of(Outcome),
                "reason": MAYBE_TEXT,
                "before": {"type": ["object", "null"]},
                "after": {"type": ["object", "null"]},
            },
            example={
                "id": "0f8f2b9c-31d5-4a4e-9f0a-5a0d5f0e4a11",
                "at": "2026-01-31T09:00:00.000Z",
                "who": "api_key:opal",
                "kind": "operator",
                "principal": None,
                "address": "192.0.2.7",
                "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
                "action": "job.register",
                "resource": "jobs/report",
                "outcome": "done",
                "reason": None,
                "before": None,
                "after": {"revision": 1},
            },
        ),
        "AuditPage": page_of("records", ref("AuditRecord")),
    },
)

CONSOLE = Part(
    "Console",
    "Pages for operators and viewers; what they show comes from the other routes.",
    {
        "console.home": page_operation("The console."),
        "console.page": page_operation("A page of the console."),
        "console.record": page_operation("The page of a record."),
        "console.file": page_operation("A script.", "text/javascript"),
        "console.whoami": Operation(By.CALLER, {200: Answer("The caller.", ref("Whoami"))}),
    },
    {
        "Whoami": record(
            "The caller's identity and role.",
            {"owner": TEXT, "role": one_of(Role), "stage": TEXT},
            example={"owner": "api_key:opal", "role": "operator", "stage": "dev"},
        )
    },
)

_SWEEP = record(
    "The last whole pass of the sweep; null before the first.",
    {
        "finishedAt": INSTANT,
        "seconds": {"type": "number"},
        "records": WHOLE,
        "tasks": WHOLE,
        "skipped": WHOLE,
    },
    or_null=True,
)
_MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
_AMOUNT = record("Containers, CPU units and MiB.", {"places": WHOLE, "cpu": WHOLE, "memory": WHOLE})
_COUNT: Schema = {"type": "object", "additionalProperties": WHOLE}

DEPLOYMENT = Part(
    "Deployment",
    "The dispatcher itself.",
    {
        "health.health": Operation(By.ANYBODY, {200: Answer("It can do its work.", ref("Health"))}),
        "overview.overview": Operation(
            By.VIEWER, {200: Answer("Counts, which are about right.", ref("Overview"))}
        ),
        "health.metrics": Operation(
            By.ANYBODY,
            {
                200: Answer(
                    "On a laptop: metrics in Prometheus's text format.",
                    _PAGE,
                    media_type="text/plain",
                )
            },
        ),
        "openapi.openapi": Operation(
            By.ANYBODY, {200: Answer("This document.", {"type": "object"})}
        ),
        "demo.page": Operation(
            By.ANYBODY, {200: Answer("The demo page.", _PAGE, media_type="text/html")}
        ),
        "demo.part": Operation(
            By.ANYBODY,
            {200: Answer("A script of the demo page.", _PAGE, media_type="text/javascript")},
        ),
    },
    {
        "Overview": record(
            "What is wrong, waits, runs and was given up.",
            {
                "at": INSTANT,
                "sweep": _SWEEP,
                "alarms": {
                    "type": ["array", "null"],
                    "description": "The open alarms; null where CloudWatch does not say.",
                    "items": record("An alarm.", {"name": TEXT, "since": INSTANT, "reason": TEXT}),
                },
                "deadLetters": {**_COUNT, "description": "By queue."},
                "orphans": {
                    **WHOLE,
                    "description": "Tasks that nothing claimed, stopped by the last pass.",
                },
                "sessions": record(
                    "Sessions.",
                    {
                        "live": WHOLE,
                        "liveAt": {
                            **INSTANT,
                            "description": "When they were counted: now, or by the last pass "
                            "where they are many.",
                        },
                        "liveWhole": {
                            **FLAG,
                            "description": "False: more than `live`; there was no pass yet.",
                        },
                        "byApp": {
                            **table_of(_COUNT),
                            "description": "By app and state, as of the last pass.",
                        },
                        "waitingForHosts": WHOLE,
                        "timeToAddress": record(
                            "How long users of live sessions with an address since an hour "
                            "had waited, warm and cold; at most 19 % too high.",
                            {"p50Seconds": _MAYBE_NUMBER, "p99Seconds": _MAYBE_NUMBER},
                        ),
                    },
                ),
                "startsInLastMinute": {
                    **WHOLE,
                    "description": "Tasks younger than a minute when the last pass saw them.",
                },
                "jobs": record(
                    "Jobs.",
                    {
                        "waiting": {**_COUNT, "description": "By priority."},
                        "oldestWaitingSince": {**INSTANT, "type": ["string", "null"]},
                        "running": WHOLE,
                        "capacity": WHOLE,
                        "byState": {**_COUNT, "description": "As of the last pass."},
                    },
                ),
                "groups": list_of(
                    record(
                        "A capacity group; there are none without a capacity file.",
                        {
                            "name": TEXT,
                            "tier": TEXT,
                            "taken": _AMOUNT,
                            "guaranteed": _AMOUNT,
                            "maximum": record(
                                "null: not bounded.",
                                dict.fromkeys(("places", "cpu", "memory"), _MAYBE_NUMBER),
                            ),
                            "borrowed": {
                                **_AMOUNT,
                                "description": "Taken beyond the guarantee.",
                            },
                            "waiting": {**WHOLE, "description": "Sessions and invocations."},
                            "secondsBetweenStarts": {
                                **_MAYBE_NUMBER,
                                "description": "Of those that waited, on average of late.",
                            },
                        },
                    )
                ),
                "gradingsWaiting": WHOLE,
                "hosts": record(
                    "The first 100 hosts added up; null where ECS does not say.",
                    {
                        "counted": WHOLE,
                        "whole": {**FLAG, "description": "Whether there are no others."},
                        "leaving": {**list_of(TEXT), "description": "Ids."},
                        "cpu": RESOURCE,
                        "memory": RESOURCE,
                    },
                    or_null=True,
                ),
                "trend": list_of(
                    record(
                        "Figures of five minutes; of six hours, the oldest first.",
                        {
                            "at": INSTANT,
                            **{name: {"type": "number"} for name in FIGURES},
                            **dict.fromkeys(WAITS, _MAYBE_NUMBER),
                        },
                    )
                ),
            },
            example={
                "at": "2026-01-31T09:00:00.000Z",
                "sweep": None,
                "alarms": [],
                "deadLetters": {"launches": 0},
                "orphans": 0,
                "sessions": {
                    "live": 7,
                    "liveAt": "2026-01-31T09:00:00.000Z",
                    "liveWhole": True,
                    "byApp": {"listings": {"ACTIVE": 5, "WARM": 2}},
                    "waitingForHosts": 0,
                    "timeToAddress": {"p50Seconds": 1.28, "p99Seconds": 3.044},
                },
                "startsInLastMinute": 3,
                "jobs": {
                    "waiting": {"critical": 0, "normal": 2, "low": 0},
                    "oldestWaitingSince": "2026-01-31T08:59:58.000Z",
                    "running": 3,
                    "capacity": 200,
                    "byState": {"QUEUED": 2, "STARTED": 3},
                },
                "groups": [],
                "gradingsWaiting": 0,
                "hosts": None,
                "trend": [],
            },
        ),
        "Health": record(
            "Whether the dispatcher can do its work.",
            {
                "status": {"type": "string", "enum": ["ok"]},
                "stage": TEXT,
                "apps": list_of(TEXT),
                "sweep": _SWEEP,
            },
            example={"status": "ok", "stage": "dev", "apps": ["listings"], "sweep": None},
        ),
    },
)
