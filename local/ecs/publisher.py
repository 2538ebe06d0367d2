"""Hands events on, one after the other, from a thread of its own."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

Event = dict[str, Any]
Build = Callable[[], Event]


class Publisher:
    """Calls `publish` once for each event, in the order of `put`, never under the caller's lock."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._waiting: queue.SimpleQueue[Build | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ecs-events", daemon=True)
        self._thread.start()

    def put(self, build: Build) -> None:
        """`build` makes the event, in the publishing thread."""
        self._waiting.put(build)

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
