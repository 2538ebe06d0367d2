"""Which revision of each app is deployed, by ECS's word, remembered for a moment."""

import logging
from collections.abc import Callable

from chalicelib.apps import App
from chalicelib.config import Config
from chalicelib.ecs.failures import LaunchError, LaunchFailure
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_definitions import family_of
from chalicelib.errors import StartFailedError, UnavailableError

CACHE_SECONDS = 10
"""How soon a new revision is noticed; DescribeTaskDefinition is not for every request."""

_log = logging.getLogger("usher.sessions")


class Revisions:
    """The newest active task definition of each app."""

    def __init__(self, launcher: Launcher, config: Config, now: Callable[[], float]) -> None:
        self._launcher = launcher
        self._config = config
        self._now = now
        self._cache: dict[str, tuple[str, float]] = {}

    def newest(self, app: App, *, look: bool = False) -> str:
        """ARN of the task definition that new sessions of `app` run on. Raises UsherError.

        `look` asks ECS in any case. Where ECS does not answer what it said last is still true.
        """
        family = family_of(app.name, self._config.stage)
        cached = self._cache.get(family)
        if cached and cached[1] > self._now() and not look:
            return cached[0]
        try:
            arn = self._launcher.newest_revision(family)
        except LaunchError as error:
            if error.failure is LaunchFailure.REFUSED:
                raise StartFailedError(f"app {app.name} is not deployed: {error}") from error
            if cached is None:
                raise UnavailableError(str(error), retry_after_seconds=1) from error
            _log.warning("the newest revision of %s is not known: %s", app.name, error)
            arn = cached[0]
        self._cache[family] = (arn, self._now() + CACHE_SECONDS)
        return arn
