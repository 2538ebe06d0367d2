"""Routes of session apps. Pure."""

from chalicelib.api.reference.model import (
    FLAG,
    MAYBE_TEXT,
    MAYBE_WHOLE,
    NOTHING,
    TEXT,
    WHOLE,
    Answer,
    By,
    Operation,
    Part,
    list_of,
    one_of,
    record,
    ref,
)
from chalicelib.errors import ConflictError, ImpossibleTaskError
from chalicelib.sessions.model import State

_APP_STATES = ["proven", "unproven", "failing", "refused"]

APPS = Part(
    "Session apps",
    "Kinds of session, for their developers.",
    {
        "apps.list_apps": Operation(By.CALLER, {200: Answer("All apps.", ref("Apps"))}),
        "apps.get_app": Operation(By.CALLER, {200: Answer("The app.", ref("App"))}),
        "apps.put_app": Operation(
            By.OPERATOR,
            {200: Answer("The revision; of the same again the same one.", ref("AppRevision"))},
            (ConflictError, ImpossibleTaskError),
            example={"image": "registry.example/chat", "description": {"cpu": 128}},
        ),
        "apps.roll_back_app": Operation(
            By.OPERATOR,
            {200: Answer("The revision before.", ref("AppRevision"))},
            (ConflictError,),
            example={"revision": 7},
        ),
        "apps.drain_app": Operation(
            By.OPERATOR, {200: Answer("They are being stopped.", ref("Drained"))}
        ),
        "apps.get_containers": Operation(
            By.VIEWER,
            {200: Answer("Of all sessions that have not ended, or a part.", ref("Containers"))},
        ),
        "apps.delete_app": Operation(
            By.OPERATOR, {200: Answer("Done.", NOTHING)}, (ConflictError,)
        ),
    },
    {
        "App": record(
            "A session app and its newest revision.",
            {
                "name": TEXT,
                "origin": {"type": "string", "enum": ["file", "registered"]},
                "revision": {"type": ["integer", "null"]},
                "state": {"type": "string", "enum": _APP_STATES},
                "pool": record("How many wait warm.", {"minimum": WHOLE, "maximum": WHOLE}),
                "maxSessions": {**WHOLE, "description": "0 = no limit of its own."},
            },
            optional={
                "failures": WHOLE,
                "reason": MAYBE_TEXT,
                "image": {**MAYBE_TEXT, "description": "For operators."},
                "taskDefinition": {**MAYBE_TEXT, "description": "For operators."},
                "description": {
                    "type": "object",
                    "description": "Of a registered one; secret values for operators only.",
                },
            },
            example={
                "name": "chat",
                "origin": "registered",
                "revision": 7,
                "state": "proven",
                "pool": {"minimum": 2, "maximum": 10},
                "maxSessions": 100,
            },
        ),
        "Apps": record("All apps.", {"apps": list_of(ref("App"))}),
        "Drained": record(
            "Warm containers that are being stopped.", {"drained": WHOLE}, example={"drained": 2}
        ),
        "Containers": record(
            "The containers of an app, counted.",
            {
                "groups": list_of(
                    record(
                        "Alike in all but their ids.",
                        {
                            "revision": MAYBE_WHOLE,
                            "state": one_of(State),
                            "host": {**MAYBE_TEXT, "description": "ARN."},
                            "zone": MAYBE_TEXT,
                            "count": WHOLE,
                        },
                    )
                ),
                "whole": {**FLAG, "description": "Whether nothing is left to count."},
                "next": {**MAYBE_TEXT, "description": "The cursor of the part that follows."},
            },
            example={"groups": [], "whole": True, "next": None},
        ),
        "AppRevision": record(
            "A registered revision.",
            {"name": TEXT, "revision": WHOLE, "image": TEXT, "taskDefinition": TEXT, "pool": WHOLE},
            example={
                "name": "chat",
                "revision": 7,
                "image": "registry.example/chat",
                "taskDefinition": "arn:aws:ecs:eu-west-1:123456789012:task-definition/chat:7",
                "pool": 2,
            },
        ),
    },
)
