"""Starts tasks: by RunTask where ECS chooses the host, by StartTask where a plug-in does."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.capacity.cluster_state import HostState, Need, PlacedTask
from chalicelib.capacity.placement import (
    Cause,
    Explanation,
    Plugin,
    Rules,
    TaskToPlace,
    explain,
)
from chalicelib.capacity.view import ClusterView, family_of
from chalicelib.ecs.failures import FINAL, LaunchError, LaunchFailure
from chalicelib.ecs.launcher import Launcher, launch_error
from chalicelib.ecs.requests import PLUGIN
from chalicelib.ecs.task_changes import TaskChange

HOSTS_KEPT_SECONDS = 2.0
"""How long one look at the hosts serves: ECS takes 20 such calls a second."""
REPEAT_SECONDS = 10
"""After an uncertain StartTask: ListTasks shows a new task some seconds late."""
_log = logging.getLogger("usher.capacity")


class TaskStarter:
    """Starts the tasks of sessions and jobs. Thread-safe.

    RunTask has a client token; StartTask has none. So before each StartTask the tasks with the same
    `startedBy` are looked for, and one that is there is adopted: a repeat after a lost answer or a
    crash finds what the first call started. As ListTasks lags, and as two processes may start the
    same record at once, two tasks can start all the same. The record takes one of them; the other
    one is stopped by who finds that out, at the latest by the sweep, as an orphan. A job's code is
    protected by the start permit, which one task alone gets.
    """

    def __init__(
        self,
        launcher: Launcher,
        once: Launcher,
        view: ClusterView,
        plugins: Mapping[str, Plugin],
        now: Callable[[], float],
    ) -> None:
        """`once`: its client repeats no call by itself, as a repeated StartTask starts another."""
        self._launcher = launcher
        self._once = once
        self._view = view
        self._plugins = plugins
        self._now = now
        self._lock = threading.Lock()
        self._hosts: dict[str, HostState] = {}
        self._read_at = float("-inf")

    def run(self, request: Mapping[str, Any]) -> TaskChange:
        """Start one task and return it as ECS accepted it. Raises LaunchError.

        `request` is what `chalicelib.ecs.requests.run_task_for` builds. CAPACITY where no host
        fits, or the plug-in fails; UNCERTAIN where the task may have started.
        """
        if PLUGIN not in request:
            return self._launcher.run(request)
        found = self._started(request["startedBy"])
        if found is not None:
            return found
        host = self._choose(request)
        start = {key: value for key, value in request.items() if key != PLUGIN}
        try:
            return self._once.start(start, host)
        except LaunchError as error:
            self._read_at = float("-inf")  # the hosts are not as they were
            if error.failure is LaunchFailure.UNCERTAIN:
                raise LaunchError(error.failure, str(error), REPEAT_SECONDS) from error
            raise

    def _started(self, mark: str) -> TaskChange | None:
        """The task that was started with this mark. Raises LaunchError, UNCERTAIN mostly."""
        try:
            return next(iter(self._launcher.started_by(mark)), None)
        except ClientError as error:
            found = launch_error(error)
            kind = found.failure if found.failure in FINAL else LaunchFailure.UNCERTAIN
            raise LaunchError(kind, str(found)) from error
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.UNCERTAIN, str(error)) from error

    def _choose(self, request: Mapping[str, Any]) -> str:
        """The id of the fittest host, the first by id of equal ones; its place is taken here.

        Raises LaunchError.
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

    def _read_hosts(self) -> None:
        """Under the lock. Raises LaunchError: nothing was started by this call."""
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
    """Why no host takes a task, as its record says it. Pure."""
    causes = ", ".join(f"{cause} on {count}" for cause, count in sorted(explanation.causes.items()))
    return f"no host fits: {causes}" if causes else "there are no hosts"


def _log_failures(name: str, explanation: Explanation) -> None:
    """What a plug-in raised; a constraint that says no is no failure."""
    failures = {
        obstacle.detail
        for one in explanation.considered
        for obstacle in one.obstacles
        if obstacle.cause is Cause.PLUGIN_FAILED
    }
    for detail in sorted(failures)[:5]:
        _log.error("placement plug-in %s: %s", name, detail)
