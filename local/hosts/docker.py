"""Hosts whose containers the local Docker Engine runs.

`DockerRuntime` holds what the hosts of one run share; `DockerHost` is one of them.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import docker

from local.hosts.base import ContainerSpec, Exit
from local.hosts.docker_engine import ENGINE_TROUBLE, docker_available, remove_leftovers
from local.hosts.docker_requests import check_command
from local.hosts.docker_runtime import DockerRuntime

log = logging.getLogger(__name__)

__all__ = ["DockerHost", "DockerRuntime", "docker_available", "remove_leftovers"]


class DockerHost:
    """A host whose containers the Docker Engine runs; see `local.hosts.base.Host`."""

    runtime = "docker"
    isolation = (
        "Docker containers, a bridge network of this run without traffic between containers, "
        "ports on 127.0.0.1 only"
    )

    def __init__(self, runtime: DockerRuntime, name: str) -> None:
        """`name` is unique among the hosts of `runtime`."""
        self.name = name
        self._runtime = runtime

    @property
    def alive(self) -> bool:
        return self._runtime.is_up(self.name)

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        return self._runtime.start(self.name, spec, on_exit)

    def signal(self, runtime_id: str, signal_name: str) -> None:
        try:
            self._runtime.signal(runtime_id, signal_name)
        except docker.errors.APIError as error:
            # The failure is that of this container; the host works.
            log.warning("container %s gets no %s: %s", runtime_id[:12], signal_name, error)

    def healthy(self, runtime_id: str, command: Sequence[str], timeout_seconds: float) -> bool:
        """Run the check inside; one that exceeds the timeout continues there, and counts as
        failed.
        """
        client = self._runtime.client
        try:
            created = client.exec_create(runtime_id, check_command(command))
            stream = client.exec_start(created["Id"], socket=True)
            ended = _read_to_end(stream, timeout_seconds)
            return ended and client.exec_inspect(created["Id"])["ExitCode"] == 0
        except ENGINE_TROUBLE as error:
            # The container has ended, the program does not exist, or the Engine is being restarted.
            log.debug("a health check of container %s failed: %s", runtime_id[:12], error)
            return False

    def kill(self) -> None:
        self._runtime.take_down(self.name, silently=True)

    def close(self) -> None:
        self._runtime.take_down(self.name)
        self._runtime.wait_until_gone(self.name)


def _read_to_end(stream: Any, timeout_seconds: float) -> bool:
    """Read what a check prints until it ended; False when that takes too long."""
    deadline = time.monotonic() + timeout_seconds
    socket = getattr(stream, "_sock", stream)
    with contextlib.closing(stream):
        while (left := deadline - time.monotonic()) > 0:
            socket.settimeout(left)
            try:
                if not socket.recv(4096):
                    return True
            except TimeoutError:
                return False
    return False
