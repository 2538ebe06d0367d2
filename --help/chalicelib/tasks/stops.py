"""Stops tasks: of records that are to end, and orphans, which no record refers to."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.ecs.failures import StopError
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange
from chalicelib.metrics import Metrics

_log = logging.getLogger("usher.tasks")


class TaskStops:
    """Stops tasks of sessions and jobs."""

    def __init__(self, launcher: Launcher, metrics: Metrics, now: Callable[[], float]) -> None:
        self._launcher = launcher
        self._metrics = metrics
        self._now = now

    def stop(self, task_arn: str | None, reason: str, log_fields: Mapping[str, Any]) -> None:
        """Stop a task, if there is one. A refusal is logged and not raised: the sweep repeats it,
        because the record is to end or the task is an orphan.
        """
        if task_arn is None:
            return
        try:
            self._launcher.stop(task_arn, reason)
        except StopError as error:
            _log.warning("not stopped yet: %s", error, extra={**log_fields, "task": task_arn})

    def stop_orphan(self, change: TaskChange, reason: str, log_fields: Mapping[str, Any]) -> bool:
        """Stop a task that no record refers to. Returns False if it is stopping already.

        Raises StopError, so that the event is delivered again, because no record has the task.
        """
        if change.desired_status == "STOPPED" or change.is_stopped:
            return False
        _log.warning("stopping an orphan", extra={**log_fields, "task": change.task_arn})
        self._metrics.count("orphans_stopped")
        if change.created_at is not None:
            self._metrics.observe("orphan_seconds", self._now() - change.created_at)
        self._launcher.stop(change.task_arn, reason)
        return True
