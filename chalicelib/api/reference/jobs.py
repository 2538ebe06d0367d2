"""Routes of jobs and invocations. Pure."""

from dataclasses import replace

from chalicelib.api.reference.model import (
    ANY,
    FLAG,
    INSTANT,
    MAYBE_INSTANT,
    MAYBE_TEXT,
    MAYBE_WHOLE,
    NOTHING,
    TEXT,
    UNCHANGED,
    UUID,
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
    table_of,
)
from chalicelib.contract.jobs import LAUNCH_TYPES
from chalicelib.errors import (
    ConflictError,
    ForbiddenError,
    ImpossibleTaskError,
    InvalidParametersError,
    LimitError,
    UnknownJobError,
)
from chalicelib.fields import Schema
from chalicelib.jobs.model import Priority, Reason, State

ID = "0f8f2b9c-31d5-4a4e-9f0a-5a0d5f0e4a11"
_NUMBER: Schema = {"type": "number"}
_JOB: dict[str, Schema] = {
    "name": TEXT,
    "version": WHOLE,
    "summary": TEXT,
    "cpu": {**WHOLE, "description": "ECS units: 1024 are a core."},
    "memory": {**WHOLE, "description": "MiB."},
    "timeoutSeconds": WHOLE,
    "queueSeconds": WHOLE,
    "priority": one_of(Priority),
    "launchType": {"type": ["string", "null"], "enum": [*LAUNCH_TYPES, None]},
    "environment": {**table_of(TEXT), "description": "Values are `***` but for operators."},
    "parameters": {"type": ["object", "null"], "description": "JSON Schema; null takes none."},
    "revision": WHOLE,
    "image": TEXT,
}
_JOB_EXAMPLE = {
    "version": 1,
    "name": "report",
    "summary": "A report of the day",
    "cpu": 256,
    "memory": 256,
    "timeoutSeconds": 900,
    "queueSeconds": 86_400,
    "priority": "normal",
    "launchType": None,
    "environment": {},
    "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
    "revision": 3,
    "image": "registry.example/report@sha256:0123",
}
_ROW: dict[str, Schema] = {
    "id": UUID,
    "job": TEXT,
    "owner": {**MAYBE_TEXT, "description": "The caller that requested it."},
    "revision": MAYBE_WHOLE,
    "priority": one_of(Priority),
    "state": one_of(State),
    "reason": one_of(Reason, or_null=True),
    "detail": MAYBE_TEXT,
    "attempt": WHOLE,
    "createdAt": INSTANT,
    "at": MAYBE_INSTANT,
    "notAfter": MAYBE_INSTANT,
    "queuedAt": MAYBE_INSTANT,
    "startedAt": MAYBE_INSTANT,
    "finishedAt": MAYBE_INSTANT,
    "exitCode": MAYBE_WHOLE,
    "progress": record(
        "What the job said last.",
        {"at": INSTANT, "fraction": {"type": ["number", "null"]}, "message": TEXT},
        or_null=True,
    ),
    "usage": record(
        "What the run used.",
        {"cpuSeconds": _NUMBER, "maxMemoryMib": _NUMBER, "wallSeconds": _NUMBER},
        or_null=True,
    ),
    "schedule": MAYBE_TEXT,
    "plannedAt": MAYBE_INSTANT,
    "rerunOf": MAYBE_TEXT,
    "taskArn": MAYBE_TEXT,
}
_ROW_EXAMPLE = {
    "id": ID,
    "job": "report",
    "owner": "api_key:ann",
    "revision": 3,
    "priority": "normal",
    "state": "QUEUED",
    "reason": None,
    "detail": None,
    "attempt": 1,
    "createdAt": "2026-01-31T09:00:00.000Z",
    "at": None,
    "notAfter": "2026-02-01T09:00:00.000Z",
    "queuedAt": "2026-01-31T09:00:00.120Z",
    "startedAt": None,
    "finishedAt": None,
    "exitCode": None,
    "progress": None,
    "usage": None,
    "schedule": None,
    "plannedAt": None,
    "rerunOf": None,
    "taskArn": None,
}

SCHEMAS = {
    "Job": record(
        "The newest revision of a job.",
        _JOB,
        optional={
            "secrets": table_of(TEXT),
            "group": {**TEXT, "description": "Its capacity group, where it names one."},
            "placement": {**ANY, "description": "Where its containers go, see docs/placement.md."},
            "taskRole": {**TEXT, "description": "The role usher-STAGE-job-… of its containers."},
            "subnets": list_of(TEXT),
            "securityGroups": list_of(TEXT),
            "taskDefinition": TEXT,
        },
        example=_JOB_EXAMPLE,
    ),
    "JobsPage": page_of("jobs", ref("Job")),
    "InvocationRow": record("An invocation in a listing.", _ROW, example=_ROW_EXAMPLE),
    "Invocation": record(
        "An invocation.",
        {
            **_ROW,
            "parameters": ANY,
            "result": ANY,
            "waiting": record(
                "Why it is not launched, while it waits.",
                {
                    "because": TEXT,
                    "ahead": WHOLE,
                    "nextTryAt": MAYBE_INSTANT,
                    "estimateSeconds": {
                        **MAYBE_WHOLE,
                        "description": "About how long it still waits; null where that is unknown.",
                    },
                },
                or_null=True,
            ),
            "history": list_of(
                record("One change.", {"at": INSTANT, "state": one_of(State), "cause": TEXT})
            ),
        },
        example={
            **_ROW_EXAMPLE,
            "parameters": {"day": "2026-01-30"},
            "result": None,
            "waiting": {
                "because": "2 go first",
                "ahead": 2,
                "nextTryAt": None,
                "estimateSeconds": 40,
            },
            "history": [
                {"at": "2026-01-31T09:00:00.000Z", "state": "ACCEPTED", "cause": "asked for"}
            ],
        },
    ),
    "Invocations": page_of("invocations", ref("InvocationRow")),
    "Log": record(
        "Lines of the current attempt, oldest first.",
        {
            "lines": list_of(record("A line.", {"at": INSTANT, "text": TEXT})),
            "next": {**MAYBE_TEXT, "description": "Leads on."},
            "ended": {**FLAG, "description": "It is over, and there was nothing more."},
        },
        example={
            "lines": [{"at": "2026-01-31T09:00:02.500Z", "text": "began"}],
            "next": "f/1",
            "ended": False,
        },
    ),
    "StartPermit": record(
        "The start permit.",
        {"job": TEXT, "parameters": ANY, "timeoutSeconds": WHOLE},
        example={"job": "report", "parameters": {"day": "2026-01-30"}, "timeoutSeconds": 900},
    ),
}

_INVOCATION = Answer("The invocation.", ref("Invocation"))
CREATED = Answer("A new invocation.", ref("Invocation"), ("Location",))
REPEATED = Answer("The `Idempotency-Key` was sent before: the same invocation.", ref("Invocation"))
WHY_NOT_QUEUED = (UnknownJobError, InvalidParametersError, LimitError, ConflictError)
_DONE = Answer("Done.", NOTHING)
_PROCESS = "3f1d0c9a7b"

JOBS = Part(
    "Jobs",
    "What is deployed to run once or on a schedule.",
    {
        "jobs.list_jobs": Operation(
            By.CALLER, {200: Answer("One page, by name.", ref("JobsPage"))}
        ),
        "jobs.get_job": Operation(
            By.CALLER, {200: Answer("The job.", ref("Job"))}, (UnknownJobError,)
        ),
        "jobs.put_job": Operation(
            By.OPERATOR,
            {200: Answer("The revision; of the same again the same one.", ref("Job"))},
            (ImpossibleTaskError, ConflictError),
            example={"image": "registry.example/report", "description": {"name": "report"}},
        ),
        "jobs.delete_job": Operation(By.OPERATOR, {200: _DONE}, (UnknownJobError,)),
    },
    {name: SCHEMAS[name] for name in ("Job", "JobsPage")},
)
INVOCATIONS = Part(
    "Invocations",
    "Runs of jobs.",
    {
        "jobs.invoke": Operation(
            By.CALLER,
            {201: CREATED, 200: REPEATED},
            (*WHY_NOT_QUEUED, ForbiddenError),
            example={"parameters": {"day": "2026-01-30"}, "priority": "low"},
        ),
        "jobs.list_invocations": Operation(
            By.CALLER, {200: Answer("One page, newest first.", ref("Invocations"))}
        ),
        "jobs.get_invocation": Operation(
            By.CALLER, {200: replace(_INVOCATION, headers=("ETag",)), 304: UNCHANGED}
        ),
        "jobs.kill_invocation": Operation(
            By.CALLER,
            {
                200: Answer("It has ended.", ref("Invocation")),
                202: Answer("Its container is being stopped.", ref("Invocation")),
            },
            (ConflictError,),
        ),
        "jobs.rerun_invocation": Operation(
            By.CALLER, {201: CREATED, 200: REPEATED}, (*WHY_NOT_QUEUED, ForbiddenError)
        ),
        "logs.get_logs": Operation(By.CALLER, {200: Answer("One page.", ref("Log"))}),
        "jobs.start_invocation": Operation(
            By.CONTAINER,
            {200: Answer("Run.", ref("StartPermit"))},
            (ConflictError,),
            example={"attempt": 1, "taskArn": None, "process": _PROCESS},
        ),
        "jobs.handle_progress": Operation(
            By.CONTAINER,
            {200: _DONE},
            (ConflictError,),
            example={"process": _PROCESS, "fraction": 0.5, "message": "half"},
        ),
        "jobs.finish_invocation": Operation(
            By.CONTAINER,
            {200: _DONE},
            (ConflictError,),
            example={"process": _PROCESS, "outcome": "succeeded", "exitCode": 0, "result": 7},
        ),
    },
    {name: schema for name, schema in SCHEMAS.items() if name not in ("Job", "JobsPage")},
)
