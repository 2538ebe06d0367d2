"""Routes of sessions. Pure."""

from dataclasses import replace

from chalicelib.api.reference.model import (
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
    either,
    list_of,
    one_of,
    page_of,
    record,
    ref,
    table_of,
)
from chalicelib.errors import (
    BusyError,
    ConflictError,
    ImpossibleTaskError,
    LimitError,
    NoRouteError,
    RevisionFailingError,
    StartFailedError,
    UnavailableError,
    UnknownAppError,
)
from chalicelib.fields import Schema
from chalicelib.sessions.model import Reason, State

_ID = "6d6cf8ce-9f4b-4c57-9d7c-4cf1ab7dbd2b"
_PATH = "/0b5a9d1e-2f0c-4b8f-8b1a-6b0f7f9f1c55"
_COMMON = {"id": UUID, "state": one_of(State), "app": TEXT, "revision": MAYBE_WHOLE}
_EXAMPLE = {"id": _ID, "app": "listings", "revision": 7}
_FLAG = {"type": "boolean"}

SCHEMAS = {
    "SessionAddress": record(
        "A session whose container is there.",
        {
            **_COMMON,
            "warm": {**_FLAG, "description": "Whether the container waited for its user."},
            "connectBy": {**MAYBE_INSTANT, "description": "Null once the client is there."},
        },
        optional={
            "ip": {**TEXT, "description": "With port, path and url: for all but viewers."},
            "port": WHOLE,
            "path": {**TEXT, "description": "A secret: it permits to connect."},
            "url": {**TEXT, "description": "What a browser opens."},
        },
        example={
            **_EXAMPLE,
            "state": "RESERVED",
            "warm": False,
            "ip": "192.0.2.7",
            "port": 49153,
            "path": _PATH,
            "url": f"ws://192.0.2.7:49153{_PATH}",
            "connectBy": "2026-01-31T09:15:30.250Z",
        },
    ),
    "SessionWaiting": record(
        "A session whose container is coming.",
        {**_COMMON, "retryAfter": {**WHOLE, "description": "Seconds."}},
        optional={
            "position": {**WHOLE, "description": "About how many wait, this one included."},
            "detail": {**MAYBE_TEXT, "description": "Why it waits."},
        },
        example={**_EXAMPLE, "state": "STARTING", "retryAfter": 1},
    ),
    "SessionOver": record(
        "A session that ends or has ended.",
        {
            **_COMMON,
            "reason": one_of(Reason, or_null=True),
            "detail": MAYBE_TEXT,
            "endedAt": MAYBE_INSTANT,
        },
        example={
            **_EXAMPLE,
            "state": "ENDED",
            "reason": "disconnected",
            "detail": "Essential container in task exited (exit code 0)",
            "endedAt": "2026-01-31T09:21:07.113Z",
        },
    ),
    "UserCredentials": record(
        "AWS credentials of a session, with the rights of its user; they end after 15 minutes.",
        {
            "RoleArn": TEXT,
            "AccessKeyId": TEXT,
            "SecretAccessKey": TEXT,
            "Token": TEXT,
            "Expiration": {**TEXT, "description": "ISO 8601 in UTC, whole seconds."},
        },
        example={
            "RoleArn": "arn:aws:iam::123456789012:role/usher-prod-user-files",
            "AccessKeyId": "ASIA...",
            "SecretAccessKey": "...",
            "Token": "...",
            "Expiration": "2026-01-31T09:15:00Z",
        },
    ),
    "ContainersUser": record(
        "The user of a session; only in the answer to `connected`.",
        {},
        optional={
            "user": record(
                "Its user.",
                {"owner": MAYBE_TEXT, "claims": table_of(TEXT), "query": table_of(TEXT)},
            )
        },
        example={"user": {"owner": "jwt:ann", "claims": {"email": "ann@example.org"}, "query": {}}},
    ),
}

_ROW: dict[str, Schema] = {
    **_COMMON,
    "owner": MAYBE_TEXT,
    "warm": FLAG,
    "attempt": WHOLE,
    "createdAt": INSTANT,
    "changedAt": INSTANT,
    "readyAt": MAYBE_INSTANT,
    "connectBy": MAYBE_INSTANT,
    "endedAt": MAYBE_INSTANT,
    "reason": one_of(Reason, or_null=True),
    "detail": MAYBE_TEXT,
}
_FOR_OPERATORS: dict[str, Schema] = {
    "taskArn": {**MAYBE_TEXT, "description": "For operators and viewers."},
    "host": {**MAYBE_TEXT, "description": "For operators and viewers: the container instance."},
    "address": {**MAYBE_TEXT, "description": "For operators and viewers: `IP:PORT`."},
}
_ROW_EXAMPLE = {
    **_EXAMPLE,
    "owner": "api_key:ann",
    "state": "ACTIVE",
    "warm": True,
    "attempt": 1,
    "createdAt": "2026-01-31T09:15:00.250Z",
    "changedAt": "2026-01-31T09:15:30.250Z",
    "readyAt": "2026-01-31T09:15:02.250Z",
    "connectBy": None,
    "endedAt": None,
    "reason": None,
    "detail": None,
}
_CHANGE = record("One change.", {"at": INSTANT, "state": one_of(State), "cause": TEXT})
LISTED = {
    "SessionRow": record(
        "A session in a listing.", _ROW, optional=_FOR_OPERATORS, example=_ROW_EXAMPLE
    ),
    "SessionsPage": page_of("sessions", ref("SessionRow")),
    "SessionHistory": record(
        "A session with its states.",
        {**_ROW, "history": list_of(_CHANGE)},
        optional=_FOR_OPERATORS,
        example={
            **_ROW_EXAMPLE,
            "history": [
                {"at": "2026-01-31T09:15:00.250Z", "state": "QUEUED", "cause": "asked for"}
            ],
        },
    ),
}

_THERE = Answer("There is a container.", ref("SessionAddress"))
_COMING = Answer(
    "Not yet: ask for the `Location` again after `Retry-After` seconds.",
    ref("SessionWaiting"),
    ("Location", "Retry-After"),
)
_AS_IT_IS = Answer("The session as it is.", either(ref("SessionAddress"), ref("SessionOver")))

SESSIONS = Part(
    "Sessions",
    "One GET, one container, one websocket.",
    {
        "sessions.dispatch_session": Operation(
            By.VISITOR,
            {200: _THERE, 202: _COMING},
            (
                UnknownAppError,
                ImpossibleTaskError,
                ConflictError,
                LimitError,
                BusyError,
                RevisionFailingError,
                StartFailedError,
            ),
        ),
        "sessions.list_sessions": Operation(
            By.CALLER, {200: Answer("One page, newest first.", ref("SessionsPage"))}
        ),
        "logs.get_session_logs": Operation(By.VIEWER, {200: Answer("One page.", ref("Log"))}),
        "sessions.get_history": Operation(
            By.CALLER,
            {
                200: Answer("The session with its states.", ref("SessionHistory"), ("ETag",)),
                304: UNCHANGED,
            },
        ),
        "sessions.get_session": Operation(
            By.VISITOR,
            {
                200: replace(_AS_IT_IS, headers=("ETag",)),
                202: replace(_COMING, headers=("ETag", *_COMING.headers)),
                304: UNCHANGED,
            },
        ),
        "sessions.stop_session": Operation(
            By.VISITOR, {200: _AS_IT_IS, 202: _COMING}, (ConflictError,)
        ),
        "sessions.handle_container_callback": Operation(
            By.CONTAINER,
            {200: Answer("Heard.", ref("ContainersUser"))},
            (ConflictError,),
            example={"type": "ready"},
        ),
        "sessions.get_user_credentials": Operation(
            By.CONTAINER,
            {200: Answer("In the form that AWS's SDKs read.", ref("UserCredentials"))},
            (ConflictError, LimitError, UnavailableError),
        ),
        "sessions.find_container": Operation(
            By.ROUTER,
            {
                200: Answer(
                    "`X-Usher-Address` has the address.",
                    NOTHING,
                    ("X-Usher-Address", "X-Accel-Expires"),
                )
            },
            (NoRouteError,),
        ),
    },
    {**SCHEMAS, **LISTED},
)
