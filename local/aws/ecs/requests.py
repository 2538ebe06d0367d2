"""RunTask and StartTask, read and checked. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from chalicelib.cluster_query import Expression, ExpressionError, parse_expression
from chalicelib.ecs import fargate
from chalicelib.task_placement import MOST_CONSTRAINTS, MOST_STRATEGIES
from local.aws.ecs.errors import client_error, invalid_parameter, unsupported
from local.aws.ecs.placement import Constraints, Strategy
from local.aws.ecs.providers import FARGATE
from local.aws.ecs.shapes import read_tags
from local.aws.ecs.task_definitions import TaskDefinition

MAX_STARTED_BY = 128
"""The reference allows letters, digits, hyphens, slashes and underscores; ECS enforces the length
only: `abc:def` is used in boto3's issue 877, and the message for too long ones is that of
amazon-ecs-cli's issue 97. Blanks, which tools send in a person's name, are therefore accepted."""
_SPREAD = re.compile(r"(instanceId|host|attribute:[\w.\-/]+)")


@dataclass(frozen=True)
class TaskRequest:
    """The parsed request. `fingerprint` is equal for requests that differ in client token only."""

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
    launch_type: str = "EC2"
    subnets: tuple[str, ...] = ()
    assigns_public_ip: bool = False


def read_request(parameters: dict[str, Any], definition: TaskDefinition) -> TaskRequest:
    """Raises InvalidParameterException, ClientException or UnsupportedFeatureException."""
    count = parameters.get("count", 1)
    if not isinstance(count, int) or not 1 <= count <= 10:
        raise invalid_parameter("Count must be between 1 and 10.")
    overrides = parameters.get("overrides") or {}
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > 8192:
        raise invalid_parameter("Overrides length must be at most 8192.")
    started_by = parameters.get("startedBy")
    if started_by is not None and len(started_by) > MAX_STARTED_BY:
        raise invalid_parameter(f"startedBy longer than {MAX_STARTED_BY}.")
    launch_type = _launch_type(parameters)
    _check_launch(parameters, definition, launch_type, overrides)
    _check_placement(parameters, definition, launch_type)
    tags = read_tags(parameters.get("tags"))
    if parameters.get("propagateTags") == "TASK_DEFINITION":
        tags = tuple((dict(definition.tags) | dict(tags)).items())
    providers = parameters.get("capacityProviderStrategy") or []
    network = (parameters.get("networkConfiguration") or {}).get("awsvpcConfiguration", {})
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
        launch_type=launch_type,
        subnets=tuple(network.get("subnets", ())),
        assigns_public_ip=network.get("assignPublicIp") == "ENABLED",
    )


def _fingerprint(parameters: dict[str, Any]) -> str:
    rest = {name: value for name, value in parameters.items() if name != "clientToken"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _launch_type(parameters: dict[str, Any]) -> str:
    providers = parameters.get("capacityProviderStrategy") or []
    if parameters.get("launchType") and providers:
        raise invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. "
            "Remove one and try again."
        )
    if providers:
        return "FARGATE" if providers[0]["capacityProvider"] in FARGATE else "EC2"
    launch_type: str = parameters.get("launchType", "EC2")
    if launch_type not in ("EC2", "FARGATE"):
        raise unsupported(f"The local engine has no launch type {launch_type}.")
    return launch_type


def _check_launch(
    parameters: dict[str, Any],
    definition: TaskDefinition,
    launch_type: str,
    overrides: dict[str, Any],
) -> None:
    network = parameters.get("networkConfiguration")
    if launch_type == "FARGATE":
        if "FARGATE" not in definition.content["compatibilities"]:
            raise invalid_parameter("Task definition does not support launch_type FARGATE.")
        size = {name: overrides.get(name) or definition.content[name] for name in ("cpu", "memory")}
        if not fargate.exists(int(size["cpu"]), int(size["memory"])):
            raise client_error(fargate.REFUSAL)
    if definition.content["networkMode"] != "awsvpc":
        if network:
            raise invalid_parameter(
                "Network Configuration is not valid for the given networkMode of this task "
                "definition."
            )
        return
    if not network:
        raise invalid_parameter(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        )
    if not network.get("awsvpcConfiguration", {}).get("subnets"):
        raise invalid_parameter("subnets can not be empty.")
    if launch_type != "FARGATE":
        raise unsupported("The local engine has awsvpc on Fargate only.")


def _check_placement(
    parameters: dict[str, Any], definition: TaskDefinition, launch_type: str
) -> None:
    """The bounds of strategies and constraints; Fargate takes neither.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
    """
    strategies = parameters.get("placementStrategy") or []
    constraints = parameters.get("placementConstraints") or []
    if launch_type == "FARGATE":
        if strategies:
            raise client_error("Placement strategies are not supported with FARGATE launch type.")
        if constraints:
            raise client_error("Placement constraints are not supported with FARGATE launch type.")
    if len(strategies) > MOST_STRATEGIES:
        raise invalid_parameter(f"Placement strategies must be at most {MOST_STRATEGIES}.")
    together = len(constraints) + len(definition.content["placementConstraints"])
    if together > MOST_CONSTRAINTS:
        raise invalid_parameter(f"Placement constraints must be at most {MOST_CONSTRAINTS}.")
    for constraint in constraints:
        if constraint.get("type") == "distinctInstance" and constraint.get("expression"):
            raise invalid_parameter("distinctInstance takes no expression.")


def _read_constraints(constraints: list[dict[str, Any]]) -> Constraints:
    expressions = []
    distinct = False
    for constraint in constraints:
        if constraint.get("type") == "distinctInstance":
            distinct = True
        elif constraint.get("type") == "memberOf":
            expressions.append(_read_expression(constraint.get("expression", "")))
        else:
            raise client_error(f"Unknown placement constraint: {constraint.get('type')}")
    return Constraints(distinct, tuple(expressions))


def _read_expression(text: str) -> Expression:
    try:
        return parse_expression(text)
    except ExpressionError as error:
        raise invalid_parameter(f"Invalid placement constraint expression: {error}") from error


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
