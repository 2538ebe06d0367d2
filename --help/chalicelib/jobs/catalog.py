"""The deployed jobs, read from ECS: each is a task definition family."""

import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from chalicelib.capacity.groups import ONE_GROUP, Groups, container
from chalicelib.capacity.placement import Plugin
from chalicelib.capacity.plugins import problem_of
from chalicelib.config import Config
from chalicelib.contract.jobs import DESCRIPTION_LABEL, JOB_NAME
from chalicelib.ecs import fargate
from chalicelib.ecs.task_definitions import deployment_of
from chalicelib.errors import (
    BadRequestError,
    ConfigurationError,
    ImpossibleTaskError,
    StartFailedError,
    UnknownJobError,
)
from chalicelib.jobs.description import (
    NETWORK_NEEDS_FARGATE,
    DeployedJob,
    JobDescription,
    parse_description,
)
from chalicelib.jobs.schemas import check_schema
from chalicelib.jobs.task_definitions import (
    DIGEST_LABEL,
    family_of,
    family_prefix,
    image_of,
    job_task_definition,
    labels_of,
)
from chalicelib.task_placement import FARGATE_REFUSAL
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.images import check_image
from chalicelib.tasks.revisions import family_in

CONCURRENT_READS = 8
_log = logging.getLogger("usher.jobs")


class Catalog:
    """Registers jobs and finds registered ones."""

    def __init__(
        self,
        ecs: Any,
        revisions: Revisions,
        config: Config,
        groups: Groups = ONE_GROUP,
        plugins: Mapping[str, Plugin] = MappingProxyType({}),
    ) -> None:
        self._ecs = ecs
        self._revisions = revisions
        self._config = config
        self._groups = groups
        self._plugins = plugins

    def get(self, name: str, *, fresh: bool = False) -> DeployedJob:
        """The newest revision of a job. Raises UnknownJobError, UnavailableError."""
        if not JOB_NAME.fullmatch(name):
            raise UnknownJobError(f"no job is called {name!r}")
        try:
            family = family_of(name, self._config.stage)
            return self.read(self._revisions.definition(family, fresh=fresh))
        except StartFailedError as error:
            raise UnknownJobError(f"no job is called {name!r}") from error

    def revision(self, task_definition: str) -> DeployedJob:
        """One revision by its ARN. Raises UnknownJobError, UnavailableError."""
        try:
            return self.read(self._revisions.definition(task_definition))
        except StartFailedError as error:
            name = task_definition.rpartition("/")[2]
            raise UnknownJobError(f"no such revision: {name}") from error

    def read(self, definition: Mapping[str, Any]) -> DeployedJob:
        """Read a job from its task definition. Raises UnknownJobError for any other task
        definition.
        """
        label = labels_of(definition).get(DESCRIPTION_LABEL)
        arn = str(definition["taskDefinitionArn"])
        revision = arn.rpartition("/")[2]
        if label is None:
            raise UnknownJobError(f"{revision} is no job")
        try:
            description = parse_description(json.loads(label))
        # one unreadable job must not hide the others
        except (ValueError, BadRequestError) as error:
            raise UnknownJobError(f"{revision} is described in other words: {error}") from error
        return DeployedJob(description, arn, image_of(definition))

    def page(self, limit: int, after: str | None = None) -> tuple[list[DeployedJob], str | None]:
        """At most `limit` jobs by name, beginning after `after`, and the name after which the next
        page begins; None for the last page.
        """
        prefix = family_prefix(self._config.stage)
        names = sorted(family.removeprefix(prefix) for family in self._families())
        behind = [name for name in names if after is None or name > after]
        wanted = behind[:limit]
        with ThreadPoolExecutor(max_workers=CONCURRENT_READS) as executor:
            found = list(executor.map(self._newest, [prefix + name for name in wanted]))
        return list(filter(None, found)), wanted[-1] if len(behind) > limit else None

    def register(self, name: str, image: str, document: Any) -> DeployedJob:
        """Register a job, unless its newest revision is equal. Raises BadRequestError."""
        description = parse_description(document)
        if description.name != name:
            raise BadRequestError(f"description: name is {description.name!r}, not {name!r}")
        problem = self._groups.problem_of(description.group) or self._groups.problem_of_size(
            description.group, container(description.cpu, description.memory)
        )
        if problem:
            raise BadRequestError(f"description: group: {problem}")
        self._check_launch_type(description)
        if description.parameters is not None:
            check_schema(description.parameters)
        check_image(image, is_local=self._config.is_local)
        request = self._request(description, image)
        try:
            before = self._revisions.definition(request["family"], fresh=True)
        except StartFailedError:
            before = {}
        digest = labels_of(request)[DIGEST_LABEL]
        if before and labels_of(before).get(DIGEST_LABEL) == digest:
            return self.read(before)
        answer = self._ecs.register_task_definition(**request)
        revision = str(answer["taskDefinition"]["taskDefinitionArn"])
        _log.info("registered", extra={"job": name, "image": image, "revision": revision})
        self._revisions.definition(request["family"], fresh=True)
        return self.read(answer["taskDefinition"])

    def remove(self, name: str) -> None:
        """Deregister all revisions. Running invocations continue. Raises UnknownJobError."""
        job = self.get(name, fresh=True)
        family = family_of(job.description.name, self._config.stage)
        pages = self._ecs.get_paginator("list_task_definitions").paginate(
            familyPrefix=family, status="ACTIVE"
        )
        for page in pages:
            for arn in page["taskDefinitionArns"]:
                if family_in(arn) == family:
                    self._ecs.deregister_task_definition(taskDefinition=arn)
        try:
            self._revisions.definition(family, fresh=True)
        except StartFailedError:
            return  # expected; the cache has the new revision at once

    def _check_launch_type(self, description: JobDescription) -> None:
        """Raise BadRequestError for what the launch type cannot give, also if it is the
        deployment's default.
        """
        plugin = description.placement.plugin
        problem = problem_of(self._plugins, plugin)
        launch_type = description.launch_type or self._config.jobs_launch_type
        if plugin is not None and launch_type == "FARGATE":
            problem = f"placement.plugin: {FARGATE_REFUSAL}"
        if (description.subnets or description.security_groups) and launch_type != "FARGATE":
            problem = NETWORK_NEEDS_FARGATE
        if problem:
            raise BadRequestError(f"description: {problem}")

    def _families(self) -> Iterator[str]:
        pages = self._ecs.get_paginator("list_task_definition_families").paginate(
            familyPrefix=family_prefix(self._config.stage), status="ACTIVE"
        )
        for page in pages:
            yield from page["families"]

    def _newest(self, family: str) -> DeployedJob | None:
        try:
            return self.read(self._revisions.definition(family))
        except (StartFailedError, UnknownJobError) as error:  # removed a moment ago, or not a job
            _log.info("left out of the catalog: %s", error, extra={"revision": family})
            return None

    def _request(self, description: JobDescription, image: str) -> dict[str, Any]:
        config = self._config
        if (description.launch_type or config.jobs_launch_type) == "FARGATE":
            problem = fargate.problem_with(description.cpu, description.memory)
            if problem:
                raise ImpossibleTaskError(problem)
        try:
            return job_task_definition(
                description,
                image,
                stage=config.stage,
                region=config.region,
                log_group=config.jobs_log_group,
                launch_type=config.jobs_launch_type,
                deployment=deployment_of(config, config.jobs_log_group),
                session_role_arn=config.session_role_arn,
            )
        except ConfigurationError as error:
            raise BadRequestError(f"description: {error}") from error
