"""Keeps what a container prints, as it prints it, for its log stream."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import docker
from docker.utils.socket import frames_iter

from local.hosts.kept_output import KeptOutput

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""Time for the last output to arrive once a container has ended."""
LINE_BYTES = 16_384
"""A longer part of a line is forwarded before its newline arrives, as Docker's log drivers do."""


class DockerOutput:
    """Attached to a container before it starts, so that nothing is missed.

    The Engine blocks a container that prints faster than its output is kept. Errors here are not
    errors of the container: `close` and `abandon` never raise.
    """

    def __init__(self, client: docker.APIClient, container_id: str, path: Path) -> None:
        """`path` as for `KeptOutput`. Raises what `engine_trouble` understands."""
        parameters = {"stdout": 1, "stderr": 1, "stream": 1}
        self._stream = client.attach_socket(container_id, parameters)
        # Held on its own: a stream that was closed has forgotten its socket.
        self._socket = getattr(self._stream, "_sock", self._stream)
        self._path = path
        self._name = container_id[:12]
        self._thread = threading.Thread(
            target=self._follow, name=f"output-{self._name}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Wait for the last output, and stop reading. Idempotent."""
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self.abandon()

    def abandon(self) -> None:
        """Stop reading at once: the container never ran, or a process keeps its output open."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("container %s has hung up already: %s", self._name, error)

    def _follow(self) -> None:
        try:
            with closing(self._stream), closing(KeptOutput(str(self._path))) as kept:
                self._keep(kept)
        except Exception as error:  # noqa: BLE001 - any error affects the output only
            log.warning("the output of container %s breaks off: %r", self._name, error)

    def _keep(self, kept: KeptOutput) -> None:
        lines = LineMerger(kept.write)
        try:
            # 1 for stdout or 2 for stderr, and bytes
            for stream, part in frames_iter(self._stream, tty=False):
                lines.add(stream, part)
        finally:
            lines.close()


class LineMerger:
    """Merges stdout and stderr by complete lines, so that their lines are not mixed.

    At most LINE_BYTES of an incomplete line are held back, until its end or `close`.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._held: dict[int, bytes] = {}
        self._unfinished: int | None = None
        """The stream that wrote last, if it stands in the middle of a line."""

    def add(self, stream: int, data: bytes) -> None:
        """Take what `stream` printed."""
        data = self._held.pop(stream, b"") + data
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > LINE_BYTES:
            cut = len(data)
        self._pass_on(stream, data[:cut])
        self._held[stream] = data[cut:]

    def close(self) -> None:
        """Forward incomplete lines: their newlines will not arrive."""
        for stream in sorted(self._held):
            self._pass_on(stream, self._held.pop(stream))

    def _pass_on(self, stream: int, data: bytes) -> None:
        if not data:
            return
        if self._unfinished not in {None, stream}:
            self._write(b"\n")
        self._write(data)
        self._unfinished = None if data.endswith(b"\n") else stream
