"""Routes of hosts. Pure."""

from chalicelib.api.reference.model import (
    FLAG,
    MAYBE_INSTANT,
    MAYBE_TEXT,
    TEXT,
    WHOLE,
    Answer,
    By,
    Operation,
    Part,
    list_of,
    page_of,
    record,
    ref,
)
from chalicelib.capacity.hosts import DrainReason
from chalicelib.fields import Schema

_ARN = "arn:aws:ecs:eu-west-1:123456789012"
RESOURCE = record("Of one resource.", {"total": WHOLE, "left": WHOLE})
_HOST: dict[str, Schema] = {
    "id": TEXT,
    "arn": TEXT,
    "instance": {**MAYBE_TEXT, "description": "The EC2 instance."},
    "status": {**TEXT, "description": "As ECS says: ACTIVE, DRAINING, …"},
    "connected": {**FLAG, "description": "Whether its agent answers ECS."},
    "leaving": {**FLAG, "description": "Whether it takes no more tasks."},
    "drainReason": {
        "type": ["string", "null"],
        "enum": [*(reason.value for reason in DrainReason), None],
        "description": "Why the planner of hosts drains it; null: it does not.",
    },
    "drainingSince": {**MAYBE_INSTANT, "description": "By the planner."},
    "zone": MAYBE_TEXT,
    "instanceType": MAYBE_TEXT,
    "capacityProvider": MAYBE_TEXT,
    "registeredAt": MAYBE_INSTANT,
    "runningTasks": WHOLE,
    "pendingTasks": WHOLE,
    "cpu": {**RESOURCE, "description": "In ECS units: 1024 are a core."},
    "memory": {**RESOURCE, "description": "In MiB."},
}
_HOST_EXAMPLE = {
    "id": "0123456789abcdef0123456789abcdef",
    "arn": f"{_ARN}:container-instance/usher-dev/0123456789abcdef0123456789abcdef",
    "instance": "i-0123456789abcdef0",
    "status": "ACTIVE",
    "connected": True,
    "leaving": False,
    "drainReason": None,
    "drainingSince": None,
    "zone": "eu-west-1a",
    "instanceType": "c7g.xlarge",
    "capacityProvider": "usher-dev",
    "registeredAt": "2026-01-31T08:15:00.250Z",
    "runningTasks": 12,
    "pendingTasks": 0,
    "cpu": {"total": 4096, "left": 2560},
    "memory": {"total": 7680, "left": 6144},
}
HOSTS = Part(
    "Hosts",
    "The EC2 instances that containers run on, as ECS knows them. Fargate has none.",
    {
        "hosts.list_hosts": Operation(By.VIEWER, {200: Answer("One page.", ref("HostsPage"))}),
        "hosts.get_host": Operation(
            By.VIEWER, {200: Answer("The host and what runs on it.", ref("HostWithTasks"))}
        ),
        "hosts.get_task": Operation(By.VIEWER, {200: Answer("The task.", ref("HostTask"))}),
    },
    {
        "Host": record("A host.", _HOST, example=_HOST_EXAMPLE),
        "HostsPage": page_of("hosts", ref("Host")),
        "HostTask": record(
            "A task of the cluster.",
            {
                "task": TEXT,
                "kind": {"type": "string", "enum": ["session", "job", "other"]},
                "record": {**MAYBE_TEXT, "description": "Id of the session or invocation."},
                "definition": {**MAYBE_TEXT, "description": "`FAMILY:REVISION`."},
                "status": TEXT,
                "createdAt": MAYBE_INSTANT,
            },
            example={
                "task": f"{_ARN}:task/usher-dev/89abcdef0123456789abcdef01234567",
                "kind": "session",
                "record": "6d6cf8ce-9f4b-4c57-9d7c-4cf1ab7dbd2b",
                "definition": "usher-dev-listings:7",
                "status": "RUNNING",
                "createdAt": "2026-01-31T09:15:00.250Z",
            },
        ),
        "HostWithTasks": record(
            "A host and what runs on it.",
            {**_HOST, "tasks": list_of(ref("HostTask"))},
            example={**_HOST_EXAMPLE, "tasks": []},
        ),
    },
)
