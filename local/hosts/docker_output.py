"""Keeps what a container prints, as it prints it, for its log stream."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
from docker.utils.socket import frames_iter

from local.hosts.docker_engine import ENGINE_TROUBLE
from local.hosts.kept_output import KeptOutput

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""How long the last of the output may take to come once a container has ended."""


class DockerOutput:
    """Attached to a container before it starts, so that nothing is missed.

    The Engine makes a container wait that prints faster than its output is kept.
    """

    def __init__(self, client: docker.APIClient, container_id: str, path: Path) -> None:
        """`path` as for `KeptOutput`. Raises what `engine_trouble` understands."""
        parameters = {"stdout": 1, "stderr": 1, "stream": 1}
        self._stream = client.attach_socket(container_id, parameters)
        self._kept = KeptOutput(str(path))
        self._name = container_id[:12]
        self._thread = threading.Thread(
            target=self._follow, name=f"output-{self._name}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Wait for the last of it, and stop to listen. Idempotent."""
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self.abandon()

    def abandon(self) -> None:
        """Stop to listen at once: the container never ran, or something holds on to its output."""
        try:
            _socket_of(self._stream).shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("container %s has hung up already: %s", self._name, error)

    def _follow(self) -> None:
        with closing(self._stream), closing(self._kept):
            try:
                for part in self._parts():
                    self._kept.write(part)
            except ENGINE_TROUBLE as error:
                log.warning("the output of container %s breaks off: %s", self._name, error)

    def _parts(self) -> Iterator[bytes]:
        for _, part in frames_iter(self._stream, tty=False):
            yield part


def _socket_of(stream: Any) -> Any:
    return getattr(stream, "_sock", stream)
