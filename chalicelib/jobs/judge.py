"""The judge's task definition: the one task that has its host's container engine. Pure.

The deployment registers it, with roles of its own; see "Grading" in docs/architecture.md.
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
"""Of /tmp: a grader's files, up to 64 MiB as an archive and unpacked, and a submission's."""
DESCRIPTION = {
    "name": JUDGE_JOB,
    "summary": "Marks one part of a submission.",
    "cpu": 1024,
    "memory": 1024,
    "timeoutSeconds": 900,
    "launchType": "EC2",
    "parameters": {"type": "object"},
}
"""Of the judge locally; boxes have limits of their own there and share the machine."""
DEPLOYED_MEMORY = 2048
"""What a judge reserves of its host on AWS, for the boxes beside it too: 1,024 MiB is the default
limit of a compile step."""
FARGATE_CANNOT = (
    "judges cannot run on Fargate, which has no container engine to make a box with; they need "
    "hosts (EC2)"
)


@dataclass(frozen=True)
class JudgeRoles:
    """Roles of the judge's task."""

    task: str
    """ARN of what the judge itself may do: pull graders' images."""
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
        # The socket is root's. Without capabilities root may open it, and little else.
        container["user"] = "0:0"
        container["linuxParameters"]["tmpfs"][0]["size"] = SCRATCH_MIB
        if roles is None:
            return
        request["taskRoleArn"] = roles.task
        # The host has this image and can pull none without the judge: boxes' own Python is its.
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
