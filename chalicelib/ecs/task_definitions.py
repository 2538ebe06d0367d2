"""Task definitions, hardened: one builder for AWS, the local cloud and the tests.

Pure. The result is the argument of ECS's RegisterTaskDefinition.
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

CONTAINER = "session"
"""Name of the one container of a session's task."""


WRITER = "-writer"
"""Ends the name of the role of sessions that may write, which is else that of sessions."""
CERTIFICATES = "/certificates"
"""Where a container finds fullchain.pem and privkey.pem, if its app has any."""


@dataclass(frozen=True)
class Deployment:
    """What a deployment on AWS adds to every task definition."""

    region: str
    log_group: str
    execution_role_arn: str
    architecture: str
    """x86_64 or arm64."""


def deployment_of(config: Config, log_group: str) -> Deployment | None:
    """What this deployment adds to what it registers itself; nothing in the local cloud."""
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

    `image` is what the app's image is called in the registry, if not what the apps file calls it.
    A task role is given only to apps whose feed needs AWS, and another one to those that write to
    the stream. `feed_url` is the deployment's: sessions
    of a fan-out feed have no rights on AWS at all. `feed_password` is the ARN of the secret with
    the password for it, which ECS puts into the container's environment.
    Raises ConfigurationError for a size that Fargate does not have.
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
    """The ARN of the role that an app's tasks have; None = no right on AWS."""
    if app.task_role:
        return f"{of_sessions.rpartition('/')[0]}/usher-{stage}-task-{app.task_role}"
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
    """A container definition without privileges: what sessions and jobs have in common."""
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
        # The kernel drops a SIGTERM for process 1 until that handles it. Behind an init process it
        # ends the program from its first moment on, however long that takes to start.
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
    """Add what a deployment on AWS has besides: the role that pulls, the architecture, the log."""
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
    """Where a container's lines go: the stream `PREFIX/CONTAINER/TASK-ID` of a log group."""
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": log_group,
            "awslogs-region": region,
            "awslogs-stream-prefix": prefix,
            # A container must never wait for its log.
            "mode": "non-blocking",
            "max-buffer-size": "1m",
        },
    }
