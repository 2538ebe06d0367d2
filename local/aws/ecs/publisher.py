"""Says what changed: one event after the other, from a thread of its own."""

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from typing import Any

from local.aws.ecs.arns import Arns
from local.aws.ecs.events import instance_event, task_event
from local.aws.ecs.model import Task
from local.aws.ecs.placement import Instance

logger = logging.getLogger(__name__)

Event = dict[str, Any]


class Publisher:
    """Calls `publish` once for each change, in the order of the calls, never in their thread."""

    def __init__(
        self,
        publish: Callable[[Event], None],
        *,
        arns: Arns,
        cluster: str,
        clock: Callable[[], float],
    ) -> None:
        self._publish = publish
        self._head = {"region": arns.region, "account": arns.account}
        self._cluster_arn = arns.cluster(cluster)
        self._clock = clock
        self._waiting: queue.SimpleQueue[Callable[[], Event] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ecs-events", daemon=True)
        self._thread.start()

    def task(self, task: Task) -> None:
        """The event is made in the publishing thread, as nobody should wait for it."""
        self._waiting.put(lambda: task_event(task, event_id=str(uuid.uuid4()), **self._head))

    def instance(self, instance: Instance) -> None:
        now = self._clock()
        self._waiting.put(
            lambda: instance_event(
                instance,
                cluster_arn=self._cluster_arn,
                now=now,
                event_id=str(uuid.uuid4()),
                **self._head,
            )
        )

    def close(self) -> None:
        """Publish what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (build := self._waiting.get()) is not None:
            try:
                self._publish(build())
            except Exception:
                logger.exception("an event could not be published")
