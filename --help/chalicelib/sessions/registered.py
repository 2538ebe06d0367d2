"""Descriptions of registered apps and their task definitions. Pure.

The description is a Docker label of the task definition revision, as with jobs, so that one
rollback applies to both.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.apps import REGISTERED_BEGIN_WITH, App, parse_app
from chalicelib.config import AppBounds
from chalicelib.ecs.task_definitions import (
    CONTAINER,
    Deployment,
    deploy,
    family_of,
    log_configuration,
    task_definition_for,
)
from chalicelib.errors import BadRequestError, ConfigurationError
from chalicelib.tasks.revisions import family_in

DESCRIPTION_LABEL = "usher.app"
"""Docker label of the container definition: the app's description in JSON."""
DIGEST_LABEL = "usher.digest"
"""Docker label with a hash of the rest: an unchanged app is not registered again."""
MAX_DESCRIPTION_BYTES = 16_384
NOT_OVER_HTTP = ("image", "certificates")
"""Keys of the apps file that a description must not contain: the image is a separate parameter, and
certificates are a directory on the host."""
_USER = re.compile(r"[1-9][0-9]{0,9}(:[0-9]{1,10})?")
"""A numeric user. A name would be resolved by the image's own /etc/passwd, and Docker reads +0 as
root."""


@dataclass(frozen=True)
class RegisteredApp:
    """One revision of a registered app."""

    app: App
    description: Mapping[str, Any]
    task_definition: str

    @property
    def revision(self) -> int:
        """The number of the revision."""
        return int(self.task_definition.rsplit(":", 1)[1])


def families_prefix(stage: str) -> str:
    """The common prefix of the families of a stage's registered apps."""
    return family_of(REGISTERED_BEGIN_WITH, stage)


def parse_registered(name: str, image: str, description: Any, bounds: AppBounds | None) -> App:
    """Parse a description; `bounds` = None skips the checks, for stored descriptions.

    Raises BadRequestError with every problem.
    """
    if not isinstance(description, Mapping):
        raise BadRequestError("description: a JSON object with the keys of an [apps.NAME] table")
    if len(json.dumps(description).encode()) > MAX_DESCRIPTION_BYTES:
        raise BadRequestError(f"description: at most {MAX_DESCRIPTION_BYTES} bytes of JSON")
    extra = [key for key in NOT_OVER_HTTP if key in description]
    if extra:
        raise BadRequestError(f"description: {', '.join(extra)} cannot be set here")
    try:
        app = parse_app(name, {**description, "image": image})
    except ConfigurationError as error:
        raise BadRequestError(f"description: {error}") from error
    if bounds is not None and (problems := _beyond(app, bounds)):
        raise BadRequestError("description: " + "; ".join(problems))
    return replace(app, is_registered=True)


def _beyond(app: App, bounds: AppBounds) -> list[str]:
    problems = [
        f"{name}: at most {most} ({variable})"
        for name, value, most, variable in (
            ("cpu", app.cpu, bounds.cpu, "APPS_MAX_CPU"),
            ("memory", app.memory, bounds.memory, "APPS_MAX_MEMORY"),
            ("pool.maximum", app.pool.maximum, bounds.pool, "APPS_MAX_POOL"),
        )
        if value > most
    ]
    if not _USER.fullmatch(app.user):
        problems.append("user: never root, and a number: 1000 or 1000:1000")
    return problems


def registered_task_definition(
    app: App,
    description: Mapping[str, Any],
    *,
    stage: str,
    region: str,
    log_group: str,
    feed_url: str,
    feed_password: str,
    task_role_arn: str | None,
    deployment: Deployment | None,
) -> dict[str, Any]:
    """Build the RegisterTaskDefinition request. Raises BadRequestError for an impossible size."""
    try:
        request = task_definition_for(
            app,
            stage=stage,
            task_role_arn=task_role_arn,
            feed_url=feed_url,
            feed_password=feed_password,
        )
    except ConfigurationError as error:
        raise BadRequestError(str(error)) from error
    (container,) = request["containerDefinitions"]
    if deployment:
        deploy(request, app.name, deployment)
    else:
        container["logConfiguration"] = log_configuration(log_group, region, app.name)
    label = json.dumps(dict(description), separators=(",", ":"), sort_keys=True)
    container["dockerLabels"] = {DESCRIPTION_LABEL: label}
    container["dockerLabels"][DIGEST_LABEL] = _digest(request)
    return request


def read_registered(definition: Mapping[str, Any], stage: str) -> RegisteredApp:
    """Read a registered app from its task definition. Raises BadRequestError for any other task
    definition.
    """
    arn = str(definition["taskDefinitionArn"])
    name = family_in(arn).removeprefix(families_prefix(stage))
    label = labels_of(definition).get(DESCRIPTION_LABEL)
    if label is None:
        raise BadRequestError(f"{arn} is no registered app")
    image = str(definition["containerDefinitions"][0]["image"])
    try:
        description = json.loads(label)
    except ValueError as error:
        raise BadRequestError(f"{arn} is described in other words: {error}") from error
    app = parse_registered(name, image, description, None)
    return RegisteredApp(app, description, arn)


def labels_of(definition: Mapping[str, Any]) -> Mapping[str, str]:
    """The Docker labels of the session container in a task definition."""
    for container in definition.get("containerDefinitions", ()):
        if container.get("name") == CONTAINER:
            labels: Mapping[str, str] = container.get("dockerLabels") or {}
            return labels
    return {}


def _digest(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
