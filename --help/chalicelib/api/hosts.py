"""Hosts over HTTP, for operators and viewers: parse, call, render."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chalice.app import Blueprint, Response

from chalicelib.api.http import answer, answering, authorizer_for, known_caller_of, takes
from chalicelib.config import authorization
from chalicelib.errors import NotFoundError
from chalicelib.fields import Field, page_size
from chalicelib.instants import instant
from chalicelib.wiring import services

if TYPE_CHECKING:
    from chalicelib.capacity.hosts import Drained
    from chalicelib.ecs.hosts import Host, Resource
    from chalicelib.ecs.task_changes import TaskChange

routes = Blueprint(__name__)

AUTHORIZER = authorizer_for(*authorization())
LIMIT = page_size(default=50, most=100)
NEXT = Field(
    "next",
    {"type": "string", "minLength": 1, "maxLength": 4_096},
    "as the page before said",
    "From the page before.",
)
_ID = re.compile(r"[0-9a-f-]{32,36}")


@routes.route("/hosts", methods=["GET"], authorizer=AUTHORIZER)
@answering
@takes(query=(LIMIT, NEXT))
def list_hosts() -> Response:
    """One page of the hosts that are active or draining. For operators and viewers."""
    request = routes.current_request
    known_caller_of(request, services().config).require_sight()
    query = request.query_params or {}
    hosts, token = services().cluster.page(LIMIT.read(query), NEXT.read(query))
    drained = _drained() if any(host.is_leaving for host in hosts) else {}
    return answer({"hosts": [show_host(host, drained) for host in hosts], "next": token})


@routes.route("/hosts/{host}", methods=["GET"], authorizer=AUTHORIZER)
@answering
def get_host(host: str) -> Response:
    """One host with the tasks on it, at most 100. For operators and viewers."""
    known_caller_of(routes.current_request, services().config).require_sight()
    if not _ID.fullmatch(host):
        raise NotFoundError("no such host")
    found = services().cluster.get(host)
    tasks = services().cluster.tasks_on(host)
    drained = _drained() if found.is_leaving else {}
    return answer(show_host(found, drained) | {"tasks": [_show_task(task) for task in tasks]})


@routes.route("/tasks/{task}", methods=["GET"], authorizer=AUTHORIZER)
@answering
def get_task(task: str) -> Response:
    """A task of the cluster, and its session or invocation, while ECS has it: up to an hour after
    its end. For operators and viewers.
    """
    known_caller_of(routes.current_request, services().config).require_sight()
    found = list(services().launcher.describe([task]).values()) if _ID.fullmatch(task) else []
    if not found:
        raise NotFoundError("ECS knows no such task")
    return answer(_show_task(found[0]))


def _drained() -> Mapping[str, "Drained"]:
    """The hosts that the planner drains; none if there is no planner."""
    from chalicelib.capacity.host_planner import drained_hosts

    group = services().config.hosts_group
    return {} if group is None else drained_hosts(services().sessions.table.items, group)


def show_host(host: "Host", drained: Mapping[str, "Drained"]) -> dict[str, Any]:
    """A host, and why and since when the planner drains it. Pure."""
    from chalicelib.ecs.hosts import host_id_of

    host_id = host_id_of(host.arn)
    drain = drained.get(host_id) if host.is_leaving else None
    return {
        "id": host_id,
        "arn": host.arn,
        "instance": host.ec2_instance_id,
        "status": host.status,
        "connected": host.is_connected,
        "leaving": host.is_leaving,
        "drainReason": None if drain is None else drain.reason.value,
        "drainingSince": None if drain is None else instant(drain.at),
        "zone": host.zone,
        "instanceType": host.instance_type,
        "capacityProvider": host.capacity_provider,
        "registeredAt": instant(host.registered_at),
        "runningTasks": host.running_tasks,
        "pendingTasks": host.pending_tasks,
        "cpu": _resource_answer(host.cpu),
        "memory": _resource_answer(host.memory),
    }


def _resource_answer(resource: "Resource") -> dict[str, int]:
    return {"total": resource.total, "left": resource.left}


def _show_task(task: "TaskChange") -> dict[str, Any]:
    kind, _, rest = (task.started_by or "").partition("/")
    record = rest.partition("/")[0] or None
    definition = (task.task_definition_arn or "").rpartition("/")[2]
    return {
        "task": task.task_arn,
        "kind": kind if record and kind in {"session", "job"} else "other",
        "record": record if kind in {"session", "job"} else None,
        "definition": definition or None,
        "status": task.last_status,
        "createdAt": instant(task.created_at),
    }
