"""Routes of placement. Pure."""

from chalicelib.api.reference.hosts import RESOURCE
from chalicelib.api.reference.model import (
    FLAG,
    MAYBE_TEXT,
    TEXT,
    WHOLE,
    Answer,
    By,
    Operation,
    Part,
    list_of,
    record,
    ref,
    table_of,
)
from chalicelib.errors import UnknownAppError, UnknownJobError
from chalicelib.fields import Schema

_HOST = "0123456789abcdef0123456789abcdef"
_QUESTION: dict[str, Schema] = {
    "name": {**TEXT, "description": "The app or the job."},
    "cpu": {**WHOLE, "description": "In ECS units: 1024 are a core."},
    "memory": {**WHOLE, "description": "In MiB."},
    "launchType": {**TEXT, "description": "EC2, or FARGATE, which has no hosts to choose from."},
    "rules": record(
        "How it is placed, in ECS's words.",
        {
            "spread": list_of(TEXT),
            "binpack": MAYBE_TEXT,
            "constraints": list_of(TEXT),
            "capacityProvider": MAYBE_TEXT,
            "plugin": {**FLAG, "description": "Whether the stage's own placement chooses."},
        },
    ),
    "causes": {**table_of(WHOLE), "description": "Of each cause: how many hosts it rules out."},
    "hosts": list_of(ref("ConsideredHost")),
}
_EXAMPLE = {
    "name": "listings",
    "cpu": 128,
    "memory": 128,
    "launchType": "EC2",
    "rules": {
        "spread": ["attribute:ecs.availability-zone"],
        "binpack": "memory",
        "constraints": [],
        "capacityProvider": "usher-dev",
        "plugin": False,
    },
    "causes": {"memory": 1},
    "hosts": [],
}
PLACEMENT = Part(
    "Placement",
    "Why a container is on a host, or on none: computed from the hosts as they are now.",
    {
        "placement.explain_session": Operation(
            By.VIEWER, {200: Answer("Each host.", ref("PlacementExplained"))}, (UnknownAppError,)
        ),
        "placement.explain_invocation": Operation(
            By.VIEWER, {200: Answer("Each host.", ref("PlacementExplained"))}, (UnknownJobError,)
        ),
        "placement.simulate_placement": Operation(
            By.VIEWER,
            {200: Answer("Where they would go.", ref("PlacementSimulated"))},
            (UnknownAppError, UnknownJobError),
        ),
    },
    {
        "ConsideredHost": record(
            "A host, and what is in the way.",
            {
                "host": TEXT,
                "instance": {**MAYBE_TEXT, "description": "The EC2 instance."},
                "zone": MAYBE_TEXT,
                "status": TEXT,
                "tasks": WHOLE,
                "cpu": RESOURCE,
                "memory": RESOURCE,
                "fits": FLAG,
                "fitness": {
                    "type": ["number", "null"],
                    "description": "By the stage's own placement: the greatest is chosen.",
                },
                "obstacles": list_of(
                    record(
                        "One reason.",
                        {
                            "cause": {
                                **TEXT,
                                "description": "cpu, memory, ports, attribute, constraint, "
                                "draining, agent, status, provider, plugin or plugin-failed.",
                            },
                            "detail": TEXT,
                        },
                    )
                ),
            },
            example={
                "host": _HOST,
                "instance": "i-0123456789abcdef0",
                "zone": "eu-west-1a",
                "status": "ACTIVE",
                "tasks": 16,
                "cpu": {"total": 2048, "left": 0},
                "memory": {"total": 7680, "left": 64},
                "fits": False,
                "fitness": None,
                "obstacles": [{"cause": "memory", "detail": "128 MiB wanted, 64 free"}],
            },
        ),
        "PlacementExplained": record(
            "Why a container is where it is, or waits.",
            {
                **_QUESTION,
                "state": TEXT,
                "placedOn": {**MAYBE_TEXT, "description": "The host it is on."},
                "best": {**list_of(TEXT), "description": "Hosts that would get it now."},
            },
            example={**_EXAMPLE, "state": "QUEUED", "placedOn": None, "best": []},
        ),
        "PlacementSimulated": record(
            "Where more containers would go.",
            {
                **_QUESTION,
                "more": WHOLE,
                "placed": list_of(record("A host.", {"host": TEXT, "count": WHOLE})),
                "missing": {**WHOLE, "description": "How many would find no host."},
            },
            example={**_EXAMPLE, "more": 5, "placed": [{"host": _HOST, "count": 2}], "missing": 3},
        ),
    },
)
