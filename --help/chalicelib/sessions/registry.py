"""Registers session apps, takes revisions back, removes apps: the service behind `usher deploy`."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.apps import App
from chalicelib.capacity.groups import Groups, check_members
from chalicelib.capacity.placement import Plugin
from chalicelib.capacity.plugins import check_plugins
from chalicelib.config import Config
from chalicelib.ecs.task_definitions import deployment_of, family_of
from chalicelib.errors import (
    BadRequestError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    StartFailedError,
)
from chalicelib.sessions.catalog import AppCatalog
from chalicelib.sessions.creation import container_of
from chalicelib.sessions.launch_queue import LaunchQueue
from chalicelib.sessions.model import Session
from chalicelib.sessions.pool import AppState
from chalicelib.sessions.registered import (
    DIGEST_LABEL,
    RegisteredApp,
    families_prefix,
    labels_of,
    parse_registered,
    registered_task_definition,
)
from chalicelib.sessions.table import SessionsTable
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.images import check_image
from chalicelib.tasks.revisions import family_in, fold_rollback

MOST_APPS = 100
"""Bounds the work of a sweep, which reads each app."""
_log = logging.getLogger("usher.apps")


@dataclass(frozen=True)
class AppStatus:
    """The present state of an app. `registered` is None for an app of the apps file."""

    name: str
    task_definition: str
    image: str
    state: AppState
    registered: RegisteredApp | None
    app: App


class AppRegistry:
    """The registered apps of one deployment."""

    def __init__(
        self,
        ecs: Any,
        *,
        revisions: Revisions,
        catalog: AppCatalog,
        table: SessionsTable,
        queue: LaunchQueue,
        config: Config,
        groups: Groups,
        plugins: Mapping[str, Plugin],
        stop_warm: Callable[[Session, str], bool],
    ) -> None:
        """`stop_warm` stops a session if it is still warm and returns whether it did."""
        self._ecs = ecs
        self._revisions = revisions
        self._catalog = catalog
        self._table = table
        self._queue = queue
        self._config = config
        self._groups = groups
        self._plugins = plugins
        self._stop_warm = stop_warm

    def all(self) -> list[AppStatus]:
        """All apps, those of the apps file first. Raises UnavailableError."""
        of_file = [self._status(name) for name in self._config.apps.by_name]
        names = self._catalog.registered_names(fresh=True)
        registered = [self._status(n) for n in names if n not in self._config.apps.by_name]
        return [status for status in (*of_file, *registered) if status is not None]

    def get(self, name: str) -> AppStatus:
        """The present state of one app. Raises NotFoundError, UnavailableError."""
        status = self._status(name)
        if status is None:
            raise NotFoundError(f"no app is called {name!r}")
        return status

    def find(self, name: str) -> RegisteredApp | None:
        """The newest revision of a registered app, read from ECS without the cache."""
        return self._catalog.registered(name, fresh=True)

    def register(self, name: str, image: str, description: Any) -> RegisteredApp:
        """Register a revision, unless the newest one is equal.

        Raises BadRequestError, ConflictError for a name of the apps file, UnavailableError.
        """
        self._check_name(name)
        check_image(image, is_local=self._config.is_local)
        app = parse_registered(name, image, description, self._config.app_bounds)
        try:
            check_members(self._groups, {"description": (app.group, container_of(app))})
            check_plugins(self._plugins, {"description": app.placement.plugin})
        except ConfigurationError as error:
            raise BadRequestError(str(error)) from error
        names = self._catalog.registered_names(fresh=True)
        if name not in names and len(names) >= MOST_APPS:
            raise ConflictError(f"{MOST_APPS} apps are registered, and no more may be")
        request = self._request(app, description)
        before = self._newest(request["family"])
        if before and labels_of(before).get(DIGEST_LABEL) == labels_of(request)[DIGEST_LABEL]:
            return self._found(name)
        answer = self._ecs.register_task_definition(**request)
        revision = str(answer["taskDefinition"]["taskDefinitionArn"])
        _log.info("registered", extra={"app": name, "image": image, "revision": revision})
        found = self._found(name)
        self._catalog.registered_names(fresh=True)
        if app.pool.maximum:
            self._queue.reconcile_pool(name)
        return found

    def roll_back(self, name: str, revision: int) -> RegisteredApp:
        """Take back the newest revision, which must be `revision`; returns the previous one.

        Running sessions continue. Raises ConflictError if the newest is another one or has no
        predecessor, NotFoundError.
        """
        self._check_name(name)
        newest = self._found(name)
        if newest.revision != revision:
            raise ConflictError(f"the newest revision of {name} is {newest.revision}")
        active = list(self._active(name))
        if len(active) < 2:
            raise ConflictError(f"{name} has no revision before {revision}")
        self._ecs.deregister_task_definition(taskDefinition=newest.task_definition)
        self._table.apps.change(name, lambda state: fold_rollback(state, newest.task_definition))
        before = self._found(name)
        _log.info("rolled back", extra={"app": name, "revision": before.task_definition})
        if before.app.pool.maximum or newest.app.pool.maximum:
            self._queue.reconcile_pool(name)
        return before

    def remove(self, name: str) -> None:
        """Deregister all revisions. Running sessions continue. Raises NotFoundError."""
        self._check_name(name)
        self._found(name)
        for arn in self._active(name):
            self._ecs.deregister_task_definition(taskDefinition=arn)
        self._newest(self._family(name))
        self._catalog.registered_names(fresh=True)

    def drain(self, name: str) -> int:
        """Stop the warm containers of an app; returns their number. Sessions with clients continue,
        and the pool is refilled. Raises NotFoundError.
        """
        status = self.get(name)
        members = self._table.members_now(status.state)
        cause = "an operator drained its app"
        drained = sum(self._stop_warm(session, cause) for session in members.sessions)
        if status.app.pool.maximum:
            self._queue.reconcile_pool(name)
        return drained

    def _check_name(self, name: str) -> None:
        if name in self._config.apps.by_name:
            raise ConflictError(
                f"{name} is in the apps file of the deployment, and changed by `make deploy` alone"
            )

    def _found(self, name: str) -> RegisteredApp:
        found = self._catalog.registered(name, fresh=True)
        if found is None:
            raise NotFoundError(f"no registered app is called {name!r}")
        return found

    def _status(self, name: str) -> AppStatus | None:
        of_file = self._config.apps.by_name.get(name)
        state = self._table.apps.get(name)
        if of_file is None:
            found = self._catalog.registered(name, fresh=True)
            if found is None:
                return None
            return AppStatus(name, found.task_definition, found.app.image, state, found, found.app)
        definition = self._newest(family_of(of_file.family_name, self._config.stage))
        if not definition:
            return None
        image = str(definition["containerDefinitions"][0]["image"])
        return AppStatus(name, str(definition["taskDefinitionArn"]), image, state, None, of_file)

    def _newest(self, family: str) -> Mapping[str, Any]:
        try:
            return self._revisions.definition(family, fresh=True)
        except StartFailedError:
            return {}

    def _family(self, name: str) -> str:
        return f"{families_prefix(self._config.stage)}{name}"

    def _active(self, name: str) -> Iterator[str]:
        family = self._family(name)
        pages = self._ecs.get_paginator("list_task_definitions").paginate(
            familyPrefix=family, status="ACTIVE"
        )
        for page in pages:
            for arn in page["taskDefinitionArns"]:
                if family_in(arn) == family:
                    yield arn

    def _request(self, app: App, description: Any) -> dict[str, Any]:
        config = self._config
        return registered_task_definition(
            app,
            description,
            stage=config.stage,
            region=config.region,
            log_group=config.sessions_log_group,
            feed_url=config.feed_url,
            feed_password=config.sessions_feed_password or "",
            task_role_arn=config.session_role_arn,
            deployment=deployment_of(config, config.sessions_log_group),
        )
