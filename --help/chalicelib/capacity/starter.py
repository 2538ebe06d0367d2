"""Starts tasks: with RunTask where ECS chooses the host, with StartTask where a plug-in does."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.ecs.failures import FINAL, LaunchError, LaunchFailure
from chalicelib.ecs.launcher import Launcher, launch_error
from chalicelib.ecs.requests import PLUGIN
from chalicelib.ecs.task_changes import TaskChange

if TYPE_CHECKING:
    from chalicelib.capacity.host_chooser import HostChooser
    from chalicelib.capacity.placement import Plugin

REPEAT_SECONDS = 10
"""Delay after an uncertain StartTask: ListTasks shows a new task some seconds late."""


class TaskStarter:
    """Starts the tasks of sessions and jobs. Thread-safe.

    RunTask has a client token, StartTask has none. Before each StartTask the tasks with the same
    `startedBy` are therefore listed, and an existing one is adopted: a repetition after a lost
    answer or a crash finds the task of the first call. Because ListTasks lags, and because two
    processes may start the same record, two tasks can still be started. The record adopts one of
    them; the other is stopped as an orphan, at the latest by the sweep. User code of a job is
    protected by the start permit, which only one task gets.
    """

    def __init__(
        self,
        ecs: Any,
        cluster: str,
        *,
        launcher: Launcher,
        once: Launcher,
        plugins: "Mapping[str, Plugin]",
        now: Callable[[], float],
    ) -> None:
        """`cluster` has the hosts that plug-ins choose from.

        `once` is a client without retries, because a repeated StartTask starts another task.
        """
        self._ecs = ecs
        self._cluster = cluster
        self._launcher = launcher
        self._once = once
        self._plugins = plugins
        self._now = now

    def run(self, request: Mapping[str, Any]) -> TaskChange:
        """Start one task and return it as ECS accepted it. Raises LaunchError.

        `request` is built by `chalicelib.ecs.requests.run_task_for`. CAPACITY if no host fits or
        the plug-in fails; UNCERTAIN if the task may have started.
        """
        if PLUGIN not in request:
            return self._launcher.run(request)
        found = self._started(request["startedBy"])
        if found is not None:
            return found
        host = self._chooser.choose(request)
        start = {key: value for key, value in request.items() if key != PLUGIN}
        try:
            return self._once.start(start, host)
        except LaunchError as error:
            self._chooser.forget()
            if error.failure is LaunchFailure.UNCERTAIN:
                raise LaunchError(error.failure, str(error), REPEAT_SECONDS) from error
            raise

    @cached_property
    def _chooser(self) -> "HostChooser":
        """Imported only if plug-ins exist. It has no data about pools; see `Plugin`."""
        from chalicelib.capacity.host_chooser import HostChooser
        from chalicelib.capacity.view import ClusterView
        from chalicelib.ecs.cluster import Cluster

        view = ClusterView(
            Cluster(self._ecs, self._cluster),
            Launcher(self._ecs, self._cluster),
            warm=dict,
            most_seconds=lambda _: None,
        )
        return HostChooser(view, self._plugins, self._now)

    def _started(self, mark: str) -> TaskChange | None:
        """The task with this `startedBy`. Raises LaunchError, mostly UNCERTAIN."""
        try:
            return next(iter(self._launcher.started_by(mark)), None)
        except ClientError as error:
            found = launch_error(error)
            kind = found.failure if found.failure in FINAL else LaunchFailure.UNCERTAIN
            raise LaunchError(kind, str(found)) from error
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.UNCERTAIN, str(error)) from error
