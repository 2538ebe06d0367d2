"""Receives every container's end from one event stream of the Docker Engine."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import docker

from local.hosts.docker_engine import ENGINE_TROUBLE
from local.hosts.docker_requests import Label

log = logging.getLogger(__name__)

OVERLAP_SECONDS = 5.0
"""Events of this period are read again when the stream is reopened."""

RETRY_SECONDS = 0.5
"""Pause before a broken event stream is opened again."""


class ExitWatch:
    """Calls back for each container of a run that has ended.

    `on_end(container_id, exit_code, out_of_memory)` may be called more than once for a container,
    and for containers that never really started: the caller knows the ones that it waits for. After
    the stream broke, missed events are replaced by listing the run's containers; one that no longer
    exists has ended with an unknown exit code.
    """

    def __init__(
        self,
        client: docker.APIClient,
        run_id: str,
        on_end: Callable[[str, int | None, bool], None],
        running: Callable[[], Collection[str]],
    ) -> None:
        """`running()` are the ids of the containers whose end is waited for."""
        self._client = client
        self._filters = {"label": [f"{Label.RUN}={run_id}"]}
        self._on_end = on_end
        self._running = running
        self._closed = threading.Event()
        self._out_of_memory: set[str] = set()
        self._memory_events = threading.Condition()
        self._lock = threading.Lock()
        self._stream = self._open()
        self._thread = threading.Thread(target=self._watch, name="docker-exits", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to watch. Idempotent."""
        with self._lock:
            self._closed.set()
            stream = self._stream
        if stream is not None:
            try:
                stream.close()
            except OSError:
                log.debug("the event stream was closed already", exc_info=True)
        self._thread.join()

    def ran_out_of_memory(self, container_id: str, seconds: float) -> bool:
        """Whether the Engine reports that this container ran out of memory; waits for `seconds`.

        containerd reports the end of a process and its lack of memory concurrently. If the end is
        first, the Engine's `die` and its State.OOMKilled do not show it, and `oom` follows.
        """
        with self._memory_events:
            return self._memory_events.wait_for(
                lambda: container_id in self._out_of_memory, seconds
            )

    def forget(self, container_id: str) -> None:
        """Remove the data on a container whose end has been reported."""
        with self._memory_events:
            self._out_of_memory.discard(container_id)

    def interrupt(self) -> None:
        """Break the event stream, as a restart of the Engine would; it is opened again."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def _open(self, since: int | None = None) -> Any:
        """The Engine's events from now on, or from `since` (epoch seconds), as far as it has them.

        The Engine answers before it subscribes, so what happens in between would be missed.
        """
        filters = {**self._filters, "type": ["container"], "event": ["die", "oom"]}
        return self._client.events(since=since, filters=filters, decode=True)

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except ENGINE_TROUBLE as error:
                if not self._closed.is_set():
                    log.warning("lost the Docker Engine's events, trying again: %s", error)
            self._stream = None
            self._closed.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            reopened = self._stream is None
            since = int(time.time() - OVERLAP_SECONDS)
            stream = self._stream = self._stream or self._open(since)
        if reopened:
            self._make_up()
        for event in stream:
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        container_id = event["Actor"]["ID"]
        if event["Action"] == "oom":
            with self._memory_events:
                self._out_of_memory.add(container_id)
                self._memory_events.notify_all()
            return
        code = event["Actor"]["Attributes"].get("exitCode")
        out_of_memory = container_id in self._out_of_memory
        self._on_end(container_id, None if code is None else int(code), out_of_memory)

    def _make_up(self) -> None:
        expected = set(self._running())  # before the listing: a later start is none of its business
        listed = self._client.containers(all=True, filters=self._filters)
        ended = {each["Id"] for each in listed if each["State"] in {"exited", "dead"}}
        for container_id in ended | (expected - {each["Id"] for each in listed}):
            self._on_end(container_id, None, False)
