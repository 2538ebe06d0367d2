"""The judge's task definition: the only task with access to its host's container engine. Pure.

The deployment registers it with separate roles; see "Grading" in docs/architecture.md.
"""

from dataclasses import dataclass
from typing import Any

from chalicelib.contract.jobs import JUDGE_JOB
from chalicelib.ecs.task_definitions import Deployment
from chalicelib.errors import ConfigurationError
from chalicelib.jobs.description import parse_description
from chalicelib.jobs.task_definitions import job_task_definition

ENGINE_SOCKET = "/var/run/docker.sock"
SCRATCH_MIB = 512
"""Size of /tmp: a grader's files, up to 64 MiB as an archive and unpacked, and those of a
submission."""
DESCRIPTION = {
    "name": JUDGE_JOB,
    "summary": "Marks one part of a submission.",
    "cpu": 1024,
    "memory": 1024,
    "timeoutSeconds": 900,
    "launchType": "EC2",
    "parameters": {"type": "object"},
}
"""Description of the judge in the embedded cloud. Boxes have separate limits there and share the
machine."""
DEPLOYED_MEMORY = 2048
"""Memory that a judge reserves on its host on AWS, its boxes included: 1,024 MiB is the default
limit of a compile step."""
FARGATE_CANNOT = (
    "judges cannot run on Fargate, which has no container engine to make a box with; they need "
    "hosts (EC2)"
)


@dataclass(frozen=True)
class JudgeRoles:
    """Roles of the judge's task."""

    task: str
    """ARN of the role with the judge's rights: pull graders' images."""
    deployment: Deployment | None = None


def judge_task_definition(
    image: str,
    *,
    stage: str,
    region: str,
    log_group: str,
    launch_type: str = "EC2",
    roles: JudgeRoles | None = None,
) -> dict[str, Any]:
    """Build the RegisterTaskDefinition request. Raises ConfigurationError for Fargate."""
    if launch_type == "FARGATE":
        raise ConfigurationError(FARGATE_CANNOT)
    described = DESCRIPTION if roles is None else DESCRIPTION | {"memory": DEPLOYED_MEMORY}

    def with_engine(request: dict[str, Any]) -> None:
        (container,) = request["containerDefinitions"]
        request["volumes"] = [{"name": "engine", "host": {"sourcePath": ENGINE_SOCKET}}]
        container["mountPoints"] = [{"sourceVolume": "engine", "containerPath": ENGINE_SOCKET}]
        # The socket belongs to root. Without capabilities root may open it, and little else.
        container["user"] = "0:0"
        container["linuxParameters"]["tmpfs"][0]["size"] = SCRATCH_MIB
        if roles is None:
            return
        request["taskRoleArn"] = roles.task
        # The host has this image and pulls others only for the judge; it provides the Python of
        # boxes.
        container["environment"] += [
            {"name": "AWS_REGION", "value": region},
            {"name": "USHER_BASE_IMAGE", "value": image},
        ]

    return job_task_definition(
        parse_description(described),
        image,
        stage=stage,
        region=region,
        log_group=log_group,
        launch_type=launch_type,
        deployment=roles.deployment if roles else None,
        change=with_engine,
    )
