"""The task definition of a job: hardened as a session's, without AWS rights. Pure."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.contract.jobs import DESCRIPTION_LABEL, JUDGE_JOB
from chalicelib.ecs.task_definitions import (
    Deployment,
    deploy,
    hardened_container,
    log_configuration,
)
from chalicelib.errors import ConfigurationError
from chalicelib.jobs.description import JobDescription
from chalicelib.task_identity import role_arn

CONTAINER = "job"
"""Name of the only container of a job's task."""
DIGEST_LABEL = "usher.digest"
"""Docker label with a hash of the rest: an unchanged job is not registered again."""
STOP_TIMEOUT_SECONDS = 10
SCRATCH_MIB = 64
"""Size of /tmp, the only writable directory; on EC2 it counts against the job's memory."""


def family_of(job: str, stage: str) -> str:
    """The task definition family of a job in a stage.

    The judges' family, which has access to its host's engine, has a name that no permission for
    other jobs and apps covers.
    """
    if job == JUDGE_JOB:
        return f"usher-{stage}_judge"
    return f"{family_prefix(stage)}{job.replace('_', '-')}"


def family_prefix(stage: str) -> str:
    """The common prefix of the families of a stage's jobs."""
    return f"usher-{stage}-job-"


def job_task_definition(
    description: JobDescription,
    image: str,
    *,
    stage: str,
    region: str,
    log_group: str,
    launch_type: str,
    deployment: Deployment | None = None,
    session_role_arn: str | None = None,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Build the RegisterTaskDefinition request. `launch_type`: the default if the description has
    none.

    The job's own role is in the account and path of `session_role_arn`; ConfigurationError
    without it. `change` may complete the request before its digest is computed.
    """
    launch_type = description.launch_type or launch_type
    container = hardened_container(
        CONTAINER,
        image,
        cpu=description.cpu,
        memory=description.memory,
        environment={"PYTHONUNBUFFERED": "1"} | dict(description.environment),
        secrets=description.secrets,
        user="65534:65534",
        stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
        launch_type=launch_type,
    )
    request: dict[str, Any] = {
        "family": family_of(description.name, stage),
        "networkMode": "awsvpc" if launch_type == "FARGATE" else "bridge",
        "requiresCompatibilities": [launch_type],
        "containerDefinitions": [container],
    }
    if launch_type == "FARGATE":
        request |= {"cpu": str(description.cpu), "memory": str(description.memory)}
        request["volumes"] = [{"name": "scratch"}]
        container["mountPoints"] = [{"sourceVolume": "scratch", "containerPath": "/tmp"}]  # noqa: S108 - inside the container
    else:
        scratch = {"containerPath": "/tmp", "size": SCRATCH_MIB}  # noqa: S108 - the same
        container["linuxParameters"]["tmpfs"] = [scratch]
    if description.task_role:
        if session_role_arn is None:
            raise ConfigurationError("taskRole: this deployment has no roles (SESSION_ROLE_ARN)")
        request["taskRoleArn"] = role_arn(
            description.task_role, "job", stage=stage, beside=session_role_arn
        )
    if deployment:
        deploy(request, description.name, deployment)
    else:
        container["logConfiguration"] = log_configuration(log_group, region, description.name)
    change(request)
    label = json.dumps(description.to_json(), separators=(",", ":"))
    container["dockerLabels"] = {DESCRIPTION_LABEL: label}
    container["dockerLabels"][DIGEST_LABEL] = _digest(request)
    return request


def labels_of(task_definition: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of a registered job, as ECS describes its task definition."""
    for container in task_definition.get("containerDefinitions", ()):
        if container.get("name") == CONTAINER:
            labels: Mapping[str, str] = container.get("dockerLabels") or {}
            return labels
    return {}


def image_of(task_definition: Mapping[str, Any]) -> str:
    """The image of a registered job."""
    return str(task_definition["containerDefinitions"][0]["image"])


def _digest(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
