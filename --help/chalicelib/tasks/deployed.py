"""The deployed revision of each task definition family, read from ECS and cached briefly."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.ecs.failures import FINAL, LaunchError
from chalicelib.ecs.launcher import Launcher
from chalicelib.errors import StartFailedError, UnavailableError

CACHE_SECONDS = 10
"""A new revision is noticed within this time; DescribeTaskDefinition is not called for every
request."""

_log = logging.getLogger("usher.ecs")


class Revisions:
    """The newest active task definition of each family."""

    def __init__(self, launcher: Launcher, now: Callable[[], float]) -> None:
        self._launcher = launcher
        self._now = now
        self._cache: dict[str, tuple[Mapping[str, Any], float]] = {}

    def newest(self, family: str, *, fresh: bool = False) -> str:
        """ARN of the newest task definition of `family`. Raises as `definition`."""
        return str(self.definition(family, fresh=fresh)["taskDefinitionArn"])

    def definition(self, family: str, *, fresh: bool = False) -> Mapping[str, Any]:
        """The newest task definition, as ECS describes it.

        `fresh` ignores the cache. If ECS does not answer, returns its last answer. Raises
        StartFailedError if there is none, UnavailableError.
        """
        cached = self._cache.get(family)
        if cached and cached[1] > self._now() and not fresh:
            return cached[0]
        try:
            definition = self._launcher.newest_definition(family)
        except LaunchError as error:
            if error.failure in FINAL:
                self._cache.pop(family, None)
                raise StartFailedError(
                    f"{family} is not deployed: {error.public_message}"
                ) from error
            if cached is None:
                raise UnavailableError(error.public_message, retry_after_seconds=1) from error
            fields = {"revision": family}
            _log.warning("the newest revision of %s is not known: %s", family, error, extra=fields)
            definition = cached[0]
        self._cache[family] = (definition, self._now() + CACHE_SECONDS)
        return definition
