"""Hardened task definitions for AWS, the embedded cloud and the tests.

Pure. The result is the argument of RegisterTaskDefinition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.apps import NO_FEED, App
from chalicelib.config import Config
from chalicelib.contract import Env
from chalicelib.contract.fanout import is_fanout
from chalicelib.ecs import fargate
from chalicelib.errors import ConfigurationError
from chalicelib.task_identity import role_arn

CONTAINER = "session"
"""Name of the only container of a session's task."""


WRITER = "-writer"
"""Suffix of the role of sessions that may write to the stream."""
CERTIFICATES = "/certificates"
"""Directory of fullchain.pem and privkey.pem in a container, if its app has certificates."""


@dataclass(frozen=True)
class Deployment:
    """Additions to every task definition of a deployment on AWS."""

    region: str
    log_group: str
    execution_role_arn: str
    architecture: str
    """x86_64 or arm64."""


def deployment_of(config: Config, log_group: str) -> Deployment | None:
    """Additions to the task definitions that the dispatcher registers; None in the embedded
    cloud.
    """
    if not config.execution_role_arn:
        return None
    return Deployment(
        region=config.region,
        log_group=log_group,
        execution_role_arn=config.execution_role_arn,
        architecture=config.architecture,
    )


def family_of(family_name: str, stage: str) -> str:
    """The task definition family of an app in a stage; see `App.family_name`."""
    return f"usher-{stage}-{family_name}"


def task_definition_for(
    app: App,
    *,
    stage: str,
    image: str | None = None,
    task_role_arn: str | None = None,
    feed_url: str = "",
    feed_password: str = "",
    deployment: Deployment | None = None,
) -> dict[str, Any]:
    """Build the RegisterTaskDefinition request of `app`.

    `image` is the image's name in the registry, if it differs from the apps file's. Only apps whose
    feed needs AWS get a task role, and those that write to the stream get another one. `feed_url`
    is the deployment's: sessions of a fan-out feed have no AWS rights. `feed_password` is the ARN
    of the secret with its password, which ECS sets in the container's environment. Raises
    ConfigurationError for a size that Fargate does not have.
    """
    container = hardened_container(
        CONTAINER,
        image or app.image,
        cpu=app.cpu,
        memory=app.memory,
        environment=app.environment,
        secrets=_secrets(app, feed_password),
        user=app.user,
        stop_timeout_seconds=app.stop_timeout_seconds,
        launch_type=app.launch_type,
    )
    container["portMappings"] = [
        {
            "containerPort": app.port,
            "hostPort": 0 if app.network_mode == "bridge" else app.port,
            "protocol": "tcp",
        }
    ]
    if app.entry_point:
        container["entryPoint"] = list(app.entry_point)
    if app.command:
        container["command"] = list(app.command)
    if app.health_check:
        container["healthCheck"] = {
            "command": list(app.health_check),
            "interval": 5,
            "timeout": 2,
            "retries": 3,
        }
    request: dict[str, Any] = {
        "family": family_of(app.family_name, stage),
        "networkMode": app.network_mode,
        "requiresCompatibilities": [app.launch_type],
        "containerDefinitions": [container],
    }
    if task_role_arn and (role := _task_role(app, stage, task_role_arn, feed_url)):
        request["taskRoleArn"] = role
    if app.launch_type == "FARGATE":
        problem = fargate.problem_with(app.cpu, app.memory)
        if problem:
            raise ConfigurationError(f"apps.{app.name}: {problem}")
        request |= {"cpu": str(app.cpu), "memory": str(app.memory)}
    if app.certificates:
        _mount_certificates(request, container, app.certificates)
    if deployment:
        deploy(request, app.name, deployment)
    return request


def _task_role(app: App, stage: str, of_sessions: str, feed_url: str) -> str | None:
    """The ARN of the task role of an app; None = no AWS rights."""
    if app.task_role:
        return role_arn(app.task_role, "task", stage=stage, beside=of_sessions)
    if app.writes_feed:
        return of_sessions + WRITER
    reads_aws = not is_fanout(app.feed_url_or(feed_url)) and app.feed_url != NO_FEED
    return of_sessions if app.needs_aws and reads_aws else None


def _secrets(app: App, feed_password: str) -> Mapping[str, str]:
    if not feed_password or app.feed_url:
        return app.secrets
    return {**app.secrets, str(Env.FEED_PASSWORD): feed_password}


def hardened_container(
    name: str,
    image: str,
    *,
    cpu: int,
    memory: int,
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
    user: str,
    stop_timeout_seconds: int,
    launch_type: str,
) -> dict[str, Any]:
    """An unprivileged container definition, shared by sessions and jobs."""
    return {
        "name": name,
        "image": image,
        "essential": True,
        "cpu": cpu,
        "memory": memory,
        "environment": [{"name": k, "value": v} for k, v in sorted(environment.items())],
        **_references(secrets),
        "user": user,
        "privileged": False,
        "readonlyRootFilesystem": True,
        "dockerSecurityOptions": ["no-new-privileges"] if launch_type == "EC2" else [],
        # The kernel ignores a SIGTERM for process 1 that has no handler yet. Behind an init process
        # the signal ends the program at any time, however long it takes to start.
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
        "ulimits": [
            {"name": "nofile", "softLimit": 1024, "hardLimit": 1024},
            {"name": "core", "softLimit": 0, "hardLimit": 0},
        ],
        "stopTimeout": stop_timeout_seconds,
    }


def _references(secrets: Mapping[str, str]) -> dict[str, Any]:
    if not secrets:
        return {}
    return {"secrets": [{"name": k, "valueFrom": v} for k, v in sorted(secrets.items())]}


def _mount_certificates(request: dict[str, Any], container: dict[str, Any], place: str) -> None:
    volume: dict[str, Any] = {"name": "certificates"}
    if place.startswith("fs-"):
        volume["efsVolumeConfiguration"] = {"fileSystemId": place, "transitEncryption": "ENABLED"}
    else:
        volume["host"] = {"sourcePath": place}
    request["volumes"] = [volume]
    container["mountPoints"] = [
        {"sourceVolume": "certificates", "containerPath": CERTIFICATES, "readOnly": True}
    ]
    container["environment"] += [
        {"name": str(Env.TLS_CERT_FILE), "value": f"{CERTIFICATES}/fullchain.pem"},
        {"name": str(Env.TLS_KEY_FILE), "value": f"{CERTIFICATES}/privkey.pem"},
    ]


def deploy(request: dict[str, Any], log_prefix: str, deployment: Deployment) -> None:
    """Add what a deployment on AWS needs: execution role, architecture, log configuration."""
    request["executionRoleArn"] = deployment.execution_role_arn
    if request["requiresCompatibilities"] == ["FARGATE"]:
        request["runtimePlatform"] = {
            "operatingSystemFamily": "LINUX",
            "cpuArchitecture": deployment.architecture.upper(),
        }
    for container in request["containerDefinitions"]:
        container["logConfiguration"] = log_configuration(
            deployment.log_group, deployment.region, log_prefix
        )


def log_configuration(log_group: str, region: str, prefix: str) -> dict[str, Any]:
    """Log configuration for the stream `PREFIX/CONTAINER/TASK-ID` of a log group."""
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": log_group,
            "awslogs-region": region,
            "awslogs-stream-prefix": prefix,
            # Writing logs must never block a container.
            "mode": "non-blocking",
            "max-buffer-size": "1m",
        },
    }
