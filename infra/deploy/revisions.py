"""Registers changed task definitions."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.apps import App
from chalicelib.config import load_apps
from chalicelib.ecs.task_definitions import Deployment, task_definition_for
from chalicelib.jobs.judge import JudgeRoles, judge_task_definition
from chalicelib.sessions.registered import families_prefix
from infra.deploy.stacks import DeployError

MARK = "usher-content"
"""Tag with a hash of the request, because ECS's answer has defaults filled in and cannot be
compared."""


def register(
    ecs: Any,
    *,
    stage: str,
    region: str,
    architecture: str,
    images: Mapping[str, str],
    roles: Mapping[str, str],
    log_group: str,
    feed_url: str,
    feed_password: str = "",
) -> list[str]:
    """ARNs of the new revisions. Raises DeployError for an app whose image no registry has."""
    deployment = Deployment(region, log_group, roles["execution"], architecture)
    made = []
    for app in load_apps().by_name.values():
        request = task_definition_for(
            app,
            stage=stage,
            image=_image(app, images),
            task_role_arn=roles["session"],
            feed_url=feed_url,
            feed_password=feed_password,
            deployment=deployment,
        )
        content = content_of(request)
        if content != _deployed(ecs, request["family"]):
            tags = [{"key": MARK, "value": content}]
            answer = ecs.register_task_definition(**request, tags=tags)
            made.append(str(answer["taskDefinition"]["taskDefinitionArn"]))
    return made


def check_names(ecs: Any, stage: str) -> None:
    """Raise DeployError if a name of the apps file is registered over HTTP too: sessions of the
    registered app would start on the file's.
    """
    prefix = families_prefix(stage)
    pages = ecs.get_paginator("list_task_definition_families").paginate(
        familyPrefix=prefix, status="ACTIVE"
    )
    registered = {name.removeprefix(prefix) for page in pages for name in page["families"]}
    if taken := sorted(registered & set(load_apps().by_name)):
        raise DeployError(
            f"{', '.join(taken)}: in the apps file, and registered by `usher deploy` too; choose "
            "another name in the file, or `usher apps --remove NAME` first"
        )


def content_of(request: Mapping[str, Any]) -> str:
    """A short hash of a task definition's content."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]


def register_judge(
    ecs: Any, *, stage: str, region: str, image: str, task_role: str, deployment: Deployment
) -> str | None:
    """ARN of the judge's new revision; None if its newest one is equal."""
    request = judge_task_definition(
        image,
        stage=stage,
        region=region,
        log_group=deployment.log_group,
        roles=JudgeRoles(task_role, deployment),
    )
    content = content_of(request)
    if content == _deployed(ecs, request["family"]):
        return None
    answer = ecs.register_task_definition(**request, tags=[{"key": MARK, "value": content}])
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def _image(app: App, images: Mapping[str, str]) -> str:
    if app.image in images:
        return images[app.image]
    if "/" not in app.image:
        raise DeployError(
            f"app {app.name}: no registry is known for image {app.image!r}; name one in the stage "
            "file's [images], by digest"
        )
    return app.image


def _deployed(ecs: Any, family: str) -> str | None:
    try:
        answer = ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ClientException":  # no such family yet
            return None
        raise
    tags = {tag["key"]: tag["value"] for tag in answer.get("tags", ())}
    return tags.get(MARK)
