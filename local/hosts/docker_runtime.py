"""The objects of one run of the embedded cloud in the Docker Engine.

They are a connection, an event stream, a network, images, and the containers of all its hosts. All
are labelled with the run, so that a later run can remove those of a killed one.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import docker
import requests

from local.aws.logs.streams import new_stream
from local.hosts.base import CannotStartError, ContainerSpec, Exit, HostDownError
from local.hosts.base_image import Progress
from local.hosts.docker_creation import ContainerCreation, message_of
from local.hosts.docker_ends import ContainerEnds
from local.hosts.docker_engine import (
    ENGINE_TROUBLE,
    RESTART_SECONDS,
    connect,
    engine_trouble,
    make_network,
    remove_runs,
    through_restarts,
)
from local.hosts.docker_output import DockerOutput
from local.hosts.docker_requests import KILLED, Label, exit_of
from local.hosts.docker_watch import ExitWatch
from local.hosts.forwarder import Forwarder
from local.hosts.image_builder import ImageBuilder
from local.hosts.images import ImageSource

log = logging.getLogger(__name__)

T = TypeVar("T")

STALL_SECONDS = 20.0
"""A removal of containers without progress for this long is repeated once, then given up."""

STARTS_AT_ONCE = 3 * (os.cpu_count() or 2)
"""A start is work for the processor, a tenth of a second and more of it. With all at once all are
late; in turn the last is no later, and the others are earlier."""

LATE_MEMORY_SECONDS = 1.0
"""Time after a kill of unknown origin in which the Engine may still report lack of memory."""

WORKERS = 8
"""Number of threads that inspect, report and remove ended containers and store their logs."""


@dataclass(eq=False)
class _Container:
    """A container from its creation until it is removed."""

    id: str
    spec: ContainerSpec
    host: str
    on_exit: Callable[[Exit], None]
    started: bool = False
    end: tuple[int | None, bool] | None = None
    """Exit code and whether memory ran out, once it ended."""
    taken: bool = False
    """Its end is being handled, or it never ran."""
    silent: bool = False
    """Its end is not reported: its host went down with it."""
    killed: bool = False
    """It was sent SIGKILL from here."""
    output: DockerOutput | None = None
    """Reads its output, if that goes to a log stream."""


class DockerRuntime:
    """The objects of one run in the Docker Engine. Thread-safe."""

    def __init__(
        self,
        run_id: str,
        sources: Sequence[ImageSource] = (),
        *,
        logs: Path | None = None,
        streams: Path | None = None,
        base_image: str | None = None,
        on_progress: Progress = log.info,
        restart_seconds: float = RESTART_SECONDS,
    ) -> None:
        """Connect, and make the run's network.

        `logs` is a folder for the output of ended containers, one file for each task; none are
        kept without it. `streams` is one for log streams, see `local.aws.logs.streams`; without
        it there are none. An Engine that cannot be reached is waited for `restart_seconds` before
        its hosts count as down. Raises HostDownError if the Engine refuses.
        """
        self.run_id = run_id
        self._restart_seconds = restart_seconds
        self._streams = streams
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._containers: dict[str, _Container] = {}
        self._start_slots = threading.Semaphore(STARTS_AT_ONCE)
        self._starting: Counter[str] = Counter()
        self._down: set[str] = set()
        self._closed = False
        with engine_trouble():
            self.client = connect()
            self.images = ImageBuilder(self.client, sources, on_progress, base_image)
            self._network, self.gateway, subnet = make_network(self.client, run_id)
            self._creation = ContainerCreation(self.client, self.images, self._network, self._reach)
            self._ends = ContainerEnds(self.client, self._reach, logs)
            self.exits = ExitWatch(self.client, run_id, self._ended, self._running)
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="docker-ends")
        # Separate from the others: a caller that has hosts killed may hold a lock that `on_exit`
        # waits for.
        self._killers = ThreadPoolExecutor(WORKERS, thread_name_prefix="docker-kills")
        self._forwarder = Forwarder(self.gateway, subnet)

    def __enter__(self) -> "DockerRuntime":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expose(self, port: int) -> str:
        """Let containers reach the server on loopback at `port`, and return the address to use.

        The port is the same there. Raises OSError when it is taken, or when the gateway is not
        an address of this machine, as with an Engine inside a virtual machine.
        """
        self._forwarder.forward(port)
        return self.gateway

    def close(self) -> None:
        """Remove everything: containers, network, forwarded ports. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._kill(None)
        self.wait_until_gone(None)
        self.exits.close()
        self._workers.shutdown()
        self._killers.shutdown()
        self._forwarder.close()
        try:
            remove_runs(self.client, [self.run_id])
        except ENGINE_TROUBLE as error:
            log.warning("the Docker Engine kept something of this run: %s", error)
        self.client.close()

    def is_up(self, host: str) -> bool:
        return not self._closed and host not in self._down

    def start(self, host: str, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        """Start a container on the host of that name; see `Host.start`."""
        with self._lock:
            self._check_up(host)
            self._starting[host] += 1
        try:
            container = self._create(host, spec, on_exit)
            self._start(container)
        finally:
            with self._lock:
                self._starting[host] -= 1
                self._gone.notify_all()
        return container.id

    def _check_up(self, host: str) -> None:
        if not self.is_up(host):
            raise HostDownError(f"{host} is down")

    def _start(self, container: _Container) -> None:
        try:
            with self._start_slots:
                self._check_up(container.host)
                self._reach(lambda: self._listen_and_start(container))
            with self._lock:
                self._check_up(container.host)
                container.started = True
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            self._discard(container)
            raise CannotStartError(
                f"CannotStartContainerError: Error response from daemon: {message_of(error)}"
            ) from error
        except Exception:
            self._discard(container)
            raise
        self._see_to(container)

    def _listen_and_start(self, container: _Container) -> None:
        """May be repeated: a container that runs is started by that no second time."""
        if container.output is not None:
            container.output.abandon()
        stream = container.spec.log_stream
        if stream is not None and self._streams is not None:
            path = new_stream(self._streams, *stream)
            container.output = DockerOutput(self.client, container.id, path)
        self.client.start(container.id)

    def _reach(self, call: Callable[[], T]) -> T:
        return through_restarts(call, self._restart_seconds, lambda: self._closed)

    def _create(
        self, host: str, spec: ContainerSpec, on_exit: Callable[[Exit], None]
    ) -> _Container:
        labels: dict[str, str] = {
            Label.RUN: self.run_id,
            Label.HOST: host,
            Label.TASK: spec.task_id,
        }
        container_id = self._creation.create(spec, labels, lambda: self._check_up(host))
        container = _Container(container_id, spec, host, on_exit)
        with self._lock:
            self._containers[container.id] = container
        return container

    def _discard(self, container: _Container) -> None:
        """Take away a container that did not start; its end is not reported."""
        with self._lock:
            container.taken = True
        self._workers.submit(self._remove_container, container)
        if container.output is not None:
            container.output.abandon()

    def _ended(self, container_id: str, code: int | None, out_of_memory: bool) -> None:
        with self._lock:
            container = self._containers.get(container_id)
            if container is None or container.end is not None:
                return
            container.end = (code, out_of_memory)
        self._see_to(container)

    def _running(self) -> set[str]:
        """Ids of the containers whose end was not reported yet."""
        with self._lock:
            return {c.id for c in self._containers.values() if c.started and c.end is None}

    def _see_to(self, container: _Container) -> None:
        """Have the end reported once the container has both started and ended."""
        with self._lock:
            if container.taken or not container.started or container.end is None:
                return
            container.taken = True
        self._workers.submit(self._finish, container, *container.end)

    def _finish(self, container: _Container, code: int | None, out_of_memory: bool) -> None:
        try:
            if code is None or (code == KILLED and not out_of_memory):
                code, out_of_memory = self._ends.inspect(container.id, code)
            if code == KILLED and not (out_of_memory or container.killed or container.silent):
                out_of_memory = self.exits.ran_out_of_memory(container.id, LATE_MEMORY_SECONDS)
            if container.output is not None:
                container.output.close()
            if not container.silent:
                container.on_exit(exit_of(code, out_of_memory=out_of_memory))
        except Exception:
            log.exception("the end of container %s could not be reported", container.id[:12])
        finally:
            self.exits.forget(container.id)
            if container.output is None:
                self._ends.keep_log(container.id, container.spec.task_id)
            self._remove_container(container)

    def _remove_container(self, container: _Container) -> None:
        try:
            self._ends.remove(container.id)
        finally:
            with self._lock:
                self._containers.pop(container.id, None)
                self._gone.notify_all()

    def take_down(self, host: str, *, silently: bool = False) -> None:
        """Start nothing more on `host`, and kill its containers; return when they are killed."""
        with self._lock:
            self._down.add(host)
            for container in self._of(host):
                container.silent = container.silent or silently
        self._kill(host)

    def _kill(self, host: str | None) -> None:
        with self._lock:
            chosen = self._of(host)
        list(self._killers.map(self._kill_one, chosen))

    def _kill_one(self, container: _Container) -> None:
        try:
            self.signal(container.id, "SIGKILL")
        except (*ENGINE_TROUBLE, HostDownError) as error:
            log.warning("container %s cannot be killed: %s", container.id[:12], error)
            self._discard(container)

    def signal(self, container_id: str, signal_name: str) -> None:
        """Signal a container; see `Host.signal`. Raises APIError if the Engine refuses, and
        HostDownError.
        """
        with self._lock:
            container = self._containers.get(container_id)
            if container is not None and signal_name == "SIGKILL":
                container.killed = True
        try:
            self._reach(lambda: self.client.kill(container_id, signal_name))
        except docker.errors.APIError as error:
            # 404: removed; 409 (500 with old Engines): not running any more.
            if error.status_code not in {404, 409} and "is not running" not in str(error):
                raise

    def wait_until_gone(self, host: str | None) -> None:
        """Return when the killed containers of `host`, or all, are removed and none is starting."""
        if self._all_gone(host):
            return
        with self._lock:
            left = self._of(host)
        for container in left:
            # Killed long ago, and the Engine's event did not arrive.
            self._ended(container.id, None, False)
        if not self._all_gone(host):
            log.warning("%d containers cannot be removed", len(left))

    def _all_gone(self, host: str | None) -> bool:
        """Wait while there is progress; False if nothing was removed in STALL_SECONDS."""
        with self._gone:
            while self._of(host) or (self._starting[host] if host else self._starting.total()):
                if not self._gone.wait(STALL_SECONDS):
                    return False
        return True

    def _of(self, host: str | None) -> list[_Container]:
        containers = self._containers.values()
        return [container for container in containers if host in {None, container.host}]
