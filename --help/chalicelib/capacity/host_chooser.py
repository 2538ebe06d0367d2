"""Chooses hosts with placement plug-ins. Several choices share one read of the hosts."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.capacity.cluster_state import HostState, Need, PlacedTask
from chalicelib.capacity.placement import Cause, Explanation, Plugin, Rules, TaskToPlace, explain
from chalicelib.capacity.view import ClusterView, family_of
from chalicelib.ecs.failures import LaunchError, LaunchFailure
from chalicelib.ecs.launcher import launch_error
from chalicelib.ecs.requests import PLUGIN

HOSTS_KEPT_SECONDS = 2.0
"""Hosts are read again after this long: ECS accepts 20 such calls a second."""
MOST_LOGGED = 5
_log = logging.getLogger("usher.capacity")


class HostChooser:
    """Chooses hosts with plug-ins. Thread-safe."""

    def __init__(
        self, view: ClusterView, plugins: Mapping[str, Plugin], now: Callable[[], float]
    ) -> None:
        self._view = view
        self._plugins = plugins
        self._now = now
        self._lock = threading.Lock()
        self._hosts: dict[str, HostState] = {}
        self._read_at = float("-inf")

    def choose(self, request: Mapping[str, Any]) -> str:
        """The id of the best host, the first by id of equal ones. Its resources are reserved here.

        Raises LaunchError with CAPACITY if no host fits or the plug-in fails for all hosts that do.
        """
        wanted = request[PLUGIN]
        plugin = self._plugins.get(wanted["name"])
        if plugin is None:
            raise LaunchError(LaunchFailure.REFUSED, f"no placement plug-in {wanted['name']!r}")
        need = Need(int(wanted["cpu"]), int(wanted["memory"]))
        task = TaskToPlace(need, f"family:{family_of(request['taskDefinition'])}", wanted["of"])
        rules = Rules(
            constraints=tuple(wanted["constraints"]), provider=wanted["provider"], plugin=plugin
        )
        with self._lock:
            self._read_hosts()
            explanation = explain(task, rules, list(self._hosts.values()))
            if explanation.best:
                host = explanation.best[0]
                placed = PlacedTask(id=request["startedBy"], group=task.group, need=need)
                self._hosts[host] = self._hosts[host].with_task(placed)
                return host
        _log_failures(wanted["name"], explanation)
        raise LaunchError(LaunchFailure.CAPACITY, no_host(explanation))

    def forget(self) -> None:
        """Discard the hosts, which have changed; the next choice reads them again."""
        self._read_at = float("-inf")

    def _read_hosts(self) -> None:
        """Read the hosts, holding the lock. Raises LaunchError: this call started nothing."""
        if self._now() - self._read_at < HOSTS_KEPT_SECONDS:
            return
        try:
            hosts = self._view.hosts()
        except ClientError as error:
            raise launch_error(error) from error
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.THROTTLED, str(error)) from error
        self._hosts = {host.id: host for host in hosts}
        self._read_at = self._now()


def no_host(explanation: Explanation) -> str:
    """The reason why no host takes a task, for its record. Pure."""
    causes = ", ".join(f"{cause} on {count}" for cause, count in sorted(explanation.causes.items()))
    return f"no host fits: {causes}" if causes else "there are no hosts"


def _log_failures(name: str, explanation: Explanation) -> None:
    """Log exceptions of a plug-in. A constraint that returns false is not a failure."""
    failures = {
        obstacle.detail
        for one in explanation.considered
        for obstacle in one.obstacles
        if obstacle.cause is Cause.PLUGIN_FAILED
    }
    for detail in sorted(failures)[:MOST_LOGGED]:
        fields = {"failure": LaunchFailure.CAPACITY}
        _log.error("placement plug-in %s: %s", name, detail, extra=fields)
