"""Publishes events of changes, one after the other, in a separate thread."""

import logging
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from local.aws.ecs.arns import Arns
from local.aws.ecs.events import instance_event, task_event
from local.aws.ecs.model import Task
from local.aws.ecs.placement import Instance
from local.aws.ecs.workers import Workers

logger = logging.getLogger(__name__)

Event = dict[str, Any]


class Publisher:
    """Calls `publish` once for each change, in the order of the calls, never in their thread."""

    def __init__(
        self,
        publish: Callable[[Event], None],
        workers: Workers,
        *,
        arns: Arns,
        cluster: str,
        clock: Callable[[], float],
    ) -> None:
        self._publish = publish
        self._head = {"region": arns.region, "account": arns.account}
        self._cluster_arn = arns.cluster(cluster)
        self._clock = clock
        self._workers = workers

    def task(self, task: Task) -> None:
        """The publishing worker creates the event, so that no caller waits for it."""
        self._submit(lambda: task_event(task, event_id=str(uuid.uuid4()), **self._head))

    def instance(self, instance: Instance) -> None:
        now = self._clock()
        self._submit(
            lambda: instance_event(
                instance,
                cluster_arn=self._cluster_arn,
                now=now,
                event_id=str(uuid.uuid4()),
                **self._head,
            )
        )

    def _submit(self, build: Callable[[], Event]) -> None:
        self._workers.publish(partial(self._run, build))

    def _run(self, build: Callable[[], Event]) -> None:
        try:
            self._publish(build())
        except Exception:
            logger.exception("an event could not be published")
