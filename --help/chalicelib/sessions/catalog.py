"""The apps of a deployment: those of its apps file and the registered ones.

A name belongs to one of the two: an app of the apps file cannot be registered, and `make deploy`
refuses an apps file with the name of a registered app. Registered apps are read from their ECS task
definitions and cached for CACHE_SECONDS.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.apps import REGISTERED_BEGIN_WITH, App
from chalicelib.config import Config
from chalicelib.ecs.task_definitions import family_of
from chalicelib.errors import BadRequestError, StartFailedError, UnavailableError
from chalicelib.sessions.model import Session
from chalicelib.sessions.registered import RegisteredApp, families_prefix, read_registered
from chalicelib.tasks.deployed import CACHE_SECONDS, Revisions
from chalicelib.tasks.revisions import family_in

_log = logging.getLogger("usher.apps")


class AppCatalog:
    """Finds apps by name. Thread-safe: at worst two threads send the same request to ECS."""

    def __init__(
        self, ecs: Any, revisions: Revisions, config: Config, now: Callable[[], float]
    ) -> None:
        self._ecs = ecs
        self._revisions = revisions
        self._config = config
        self._now = now
        self._names: tuple[str, ...] | None = None
        self._names_until = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all apps. Raises UnavailableError."""
        return (*self._config.apps.by_name, *self.registered_names())

    def get(self, name: str | None) -> App | None:
        """The app called `name`, or the default app for None; None when there is no such app.

        Raises UnavailableError where ECS does not answer.
        """
        of_file = self._config.apps.get(name)
        if of_file is not None or name is None:
            return of_file
        found = self.registered(name) if name in self.registered_names() else None
        return found.app if found else None

    def of(self, session: Session) -> App | None:
        """The app of a session, as the revision of the session's task definition describes it."""
        of_file = self._config.apps.by_name.get(session.app)
        if of_file is not None:
            return of_file
        family = family_of(REGISTERED_BEGIN_WITH + session.app, self._config.stage)
        arn = session.task_definition or ""
        if family_in(arn) == family:
            found = self._read(arn)
            if found is not None:
                return found.app
        return self.get(session.app)

    def all(self) -> Mapping[str, App]:
        """All apps by name. Registered apps are missing until ECS answered for the first time."""
        apps = dict(self._config.apps.by_name)
        try:
            names = self.registered_names()
            found = {name: self.registered(name) for name in names if name not in apps}
        except UnavailableError as error:
            _log.warning("registered apps are left out: %s", error)
            return apps
        return apps | {name: one.app for name, one in found.items() if one is not None}

    def registered_names(self, *, fresh: bool = False) -> tuple[str, ...]:
        """Names of the registered apps, sorted. `fresh` ignores the cache.

        If ECS does not answer, returns its last answer. Raises UnavailableError.
        """
        if self._names is not None and self._now() < self._names_until and not fresh:
            return self._names
        prefix = families_prefix(self._config.stage)
        try:
            pages = self._ecs.get_paginator("list_task_definition_families").paginate(
                familyPrefix=prefix, status="ACTIVE"
            )
            names = sorted(name for page in pages for name in page["families"])
        except (BotoCoreError, ClientError) as error:
            if self._names is None:
                message = "ECS does not say which apps are registered"
                raise UnavailableError(message, retry_after_seconds=1) from error
            _log.warning("which apps are registered is not known: %s", error)
        else:
            self._names = tuple(name.removeprefix(prefix) for name in names)
        self._names_until = self._now() + CACHE_SECONDS
        return self._names

    def registered(self, name: str, *, fresh: bool = False) -> RegisteredApp | None:
        """The newest revision of a registered app; None when there is none.

        Raises UnavailableError.
        """
        return self._read(family_of(REGISTERED_BEGIN_WITH + name, self._config.stage), fresh=fresh)

    def _read(self, family_or_arn: str, *, fresh: bool = False) -> RegisteredApp | None:
        try:
            definition = self._revisions.definition(family_or_arn, fresh=fresh)
            return read_registered(definition, self._config.stage)
        except StartFailedError:  # no revision is active
            return None
        except BadRequestError as error:  # one unreadable app must not hide the others
            _log.warning("left out of the apps: %s", error)
            return None
