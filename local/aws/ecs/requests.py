"""RunTask and StartTask, read and checked. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from local.aws.ecs.errors import client_error, invalid_parameter, unsupported
from local.aws.ecs.expressions import parse_expression
from local.aws.ecs.placement import Constraints, Strategy
from local.aws.ecs.shapes import read_tags
from local.aws.ecs.task_definitions import TaskDefinition

_STARTED_BY = re.compile(r"[A-Za-z0-9_/-]{1,128}")
_SPREAD = re.compile(r"(instanceId|host|attribute:[\w.\-/]+)")


@dataclass(frozen=True)
class TaskRequest:
    """What was asked for. `fingerprint` is equal for requests that differ in client token only."""

    count: int
    overrides: dict[str, Any]
    started_by: str | None
    group: str
    tags: tuple[tuple[str, str], ...]
    constraints: Constraints
    strategies: tuple[Strategy, ...]
    client_token: str | None
    fingerprint: str
    capacity_provider: str | None
    enable_execute_command: bool


def read_request(parameters: dict[str, Any], definition: TaskDefinition) -> TaskRequest:
    """Raises InvalidParameterException, ClientException or UnsupportedFeatureException."""
    count = parameters.get("count", 1)
    if not isinstance(count, int) or not 1 <= count <= 10:
        raise invalid_parameter("Count must be between 1 and 10.")
    overrides = parameters.get("overrides") or {}
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > 8192:
        raise invalid_parameter("Overrides length must be at most 8192.")
    started_by = parameters.get("startedBy")
    if started_by is not None and not _STARTED_BY.fullmatch(started_by):
        raise invalid_parameter(
            "startedBy must be 1 to 128 letters, numbers, hyphens, slashes or underscores."
        )
    _check_launch(parameters, definition)
    tags = read_tags(parameters.get("tags"))
    if parameters.get("propagateTags") == "TASK_DEFINITION":
        tags = tuple((dict(definition.tags) | dict(tags)).items())
    providers = parameters.get("capacityProviderStrategy") or []
    return TaskRequest(
        count=count,
        overrides={"containerOverrides": [], "inferenceAcceleratorOverrides": []} | overrides,
        started_by=started_by,
        group=parameters.get("group") or f"family:{definition.family}",
        tags=tags,
        constraints=_read_constraints(
            [
                *definition.content["placementConstraints"],
                *(parameters.get("placementConstraints") or []),
            ]
        ),
        strategies=tuple(map(_read_strategy, parameters.get("placementStrategy") or [])),
        client_token=parameters.get("clientToken"),
        fingerprint=_fingerprint(parameters),
        capacity_provider=providers[0]["capacityProvider"] if providers else None,
        enable_execute_command=bool(parameters.get("enableExecuteCommand")),
    )


def _fingerprint(parameters: dict[str, Any]) -> str:
    rest = {name: value for name, value in parameters.items() if name != "clientToken"}
    return json.dumps(rest, sort_keys=True)


def _check_launch(parameters: dict[str, Any], definition: TaskDefinition) -> None:
    if parameters.get("launchType") and parameters.get("capacityProviderStrategy"):
        raise invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. "
            "Remove one and try again."
        )
    if parameters.get("launchType", "EC2") != "EC2":
        raise unsupported("The local engine has EC2 container instances only.")
    if definition.content["networkMode"] == "awsvpc":
        if not parameters.get("networkConfiguration"):
            raise invalid_parameter(
                "Network Configuration must be provided when networkMode 'awsvpc' is specified."
            )
        raise unsupported("The local engine has no network interfaces of their own for tasks.")
    if parameters.get("networkConfiguration"):
        raise invalid_parameter(
            "Network Configuration is not valid for the given networkMode of this task definition."
        )


def _read_constraints(constraints: list[dict[str, Any]]) -> Constraints:
    expressions = []
    distinct = False
    for constraint in constraints:
        if constraint.get("type") == "distinctInstance":
            distinct = True
        elif constraint.get("type") == "memberOf":
            expressions.append(parse_expression(constraint.get("expression", "")))
        else:
            raise client_error(f"Unknown placement constraint: {constraint.get('type')}")
    return Constraints(distinct, tuple(expressions))


def _read_strategy(strategy: dict[str, Any]) -> Strategy:
    kind, by = strategy.get("type", ""), strategy.get("field", "")
    known = {
        "random": True,
        "binpack": by.lower() in ("cpu", "memory"),
        "spread": bool(_SPREAD.fullmatch(by)),
    }
    if not known.get(kind):
        raise invalid_parameter(f"Invalid placement strategy: {kind} {by}".rstrip())
    return Strategy(kind, by.lower() if kind == "binpack" else by)
