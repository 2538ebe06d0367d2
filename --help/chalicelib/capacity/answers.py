"""Answers about placement. Pure."""

from collections.abc import Mapping
from typing import Any

from chalicelib.capacity.cluster_state import HostState, Need
from chalicelib.capacity.placement import (
    Considered,
    Explanation,
    Plugin,
    Rules,
    Simulation,
    TaskToPlace,
)
from chalicelib.task_placement import Placement


def task_and_rules(
    *,
    name: str,
    family: str,
    cpu: int,
    memory: int,
    placement: Placement,
    stage: str,
    provider: str | None,
    plugins: Mapping[str, Plugin] | None = None,
) -> tuple[TaskToPlace, Rules]:
    """The task of an app or a job, and its placement rules."""
    plugin = (plugins or {}).get(placement.plugin or "")
    rules = Rules(
        spread=placement.fields(),
        binpack=placement.binpack,
        constraints=placement.expressions(stage),
        provider=provider,
        plugin=plugin,
    )
    return TaskToPlace(Need(cpu, memory), f"family:{family}", name), rules


def show_explanation(
    task: TaskToPlace, rules: Rules, explanation: Explanation, *, placed_on: str | None
) -> dict[str, Any]:
    """The obstacles on each host, the hosts that fit best, and the number of hosts that each cause
    excludes.
    """
    return {
        **_show_question(task, rules),
        "placedOn": placed_on,
        "best": list(explanation.best),
        "causes": {str(cause): n for cause, n in sorted(explanation.causes.items())},
        "hosts": [_show_considered(one) for one in explanation.considered],
    }


def show_simulation(task: TaskToPlace, rules: Rules, more: int, dry: Simulation) -> dict[str, Any]:
    """The hosts of further tasks, and the causes that exclude hosts for the others."""
    return {
        **_show_question(task, rules),
        "more": more,
        "placed": [{"host": host, "count": n} for host, n in sorted(dry.placed.items())],
        "missing": dry.missing,
        "causes": {str(cause): n for cause, n in sorted(dry.missing_causes.items())},
        "hosts": [_show_considered(one) for one in dry.next_one.considered],
    }


def on_fargate(name: str, cpu: int, memory: int) -> dict[str, Any]:
    """The answer if there are no hosts to choose from."""
    return {
        "name": name,
        "cpu": cpu,
        "memory": memory,
        "launchType": "FARGATE",
        "rules": _rules(Rules()),
        "hosts": [],
        "causes": {},
    }


def _show_question(task: TaskToPlace, rules: Rules) -> dict[str, Any]:
    return {
        "name": task.name,
        "cpu": task.need.cpu,
        "memory": task.need.memory,
        "launchType": "EC2",
        "rules": _rules(rules),
    }


def _rules(rules: Rules) -> dict[str, Any]:
    return {
        "spread": list(rules.spread),
        "binpack": rules.binpack,
        "constraints": list(rules.constraints),
        "capacityProvider": rules.provider,
        "plugin": rules.plugin is not None,
    }


def _show_considered(one: Considered) -> dict[str, Any]:
    return {
        **_show_host(one.host),
        "fits": one.fits,
        "fitness": one.fitness,
        "obstacles": [
            {"cause": str(obstacle.cause), "detail": obstacle.detail} for obstacle in one.obstacles
        ],
    }


def _show_host(host: HostState) -> dict[str, Any]:
    tasks = len(host.tasks) if host.pending_or_running is None else host.pending_or_running
    return {
        "host": host.id,
        "instance": host.ec2_instance_id,
        "zone": host.zone or None,
        "status": host.status,
        "tasks": tasks,
        "cpu": {"total": host.cpu, "left": host.free_cpu},
        "memory": {"total": host.memory, "left": host.free_memory},
    }
