"""Boxes that a program in a box requests from its guard: the service behind `usher-box run`.

The program chooses a command and limits; everything else was set by the judge. Each request has a
separate process, and one is served at a time.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from usher.box import frames, launcher
from usher.box.isolation import MS_NODEV, MS_NOSUID, SERVICE, mount

SOCKET = "box.sock"
MOST_REQUEST_BYTES = 64 * 1024 * 1024


class InnerBoxes:
    """Listens in the scratch directory of one run."""

    def __init__(
        self,
        scratch: str,
        spec: dict[str, Any],
        contents: list[bytes],
        serve: Callable[[socket.socket, dict[str, Any], str], None],
        end: Callable[[], None],
    ) -> None:
        """`serve` answers one request in a separate process; `end` ends the processes that it
        started.
        """
        self._spec, self._serve, self._end = spec["inner"], serve, end
        self._user = spec["user"]
        self._child = 0
        self._place = f"{scratch}-inner"
        os.mkdir(self._place)
        options = self._spec["scratch_options"]
        mount("scratch", self._place, "tmpfs", MS_NOSUID | MS_NODEV, options)
        files = zip(self._spec["files"], contents, strict=True)
        launcher.fill_scratch(self._place, files, self._spec["user"], writable=True)
        folder = f"{scratch}/{SERVICE}"
        os.mkdir(folder)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(f"{folder}/{SOCKET}")
        os.chown(f"{folder}/{SOCKET}", self._user, self._user)
        os.chmod(f"{folder}/{SOCKET}", 0o600)
        self._socket.listen(64)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def is_free(self) -> bool:
        """Whether the next request can be accepted."""
        if self._child and os.waitpid(self._child, os.WNOHANG)[0]:
            self._child = 0
        return not self._child

    def accept(self) -> None:
        """Start to serve the next request."""
        connection, _ = self._socket.accept()
        self._child = os.fork()
        if self._child:
            connection.close()
            return
        try:
            self._socket.close()
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            self._serve(connection, self._spec, self._place)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                connection.sendall(frames.encode(frames.TROUBLE, str(error).encode()))
        finally:
            os._exit(0)

    def close(self) -> None:
        """End running requests and delete their files."""
        self._socket.close()
        if self._child and not self.is_free:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
        self._end()
        launcher.libc.umount2(self._place.encode(), 2)
        os.rmdir(self._place)


def narrowed(spec: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The judge's fields with the requested command and limits.

    Raises ValueError if they are invalid. Limits are never increased.
    """
    argv = asked.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(w, str) for w in argv):
        raise ValueError("argv is a list of texts")
    settings = dict(spec["settings"])
    for name, field in (("time", "cpu_seconds"), ("memory", "memory_mib")):
        value = asked.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name} is a number above 0")
        settings[field] = min(settings[field], value)
    settings["memory_mib"] = max(1, int(settings["memory_mib"]))
    settings["wall_seconds"] = min(settings["wall_seconds"], 2 * settings["cpu_seconds"] + 1)
    return {**spec, "argv": argv, "settings": settings}


def receive_request(connection: socket.socket, seconds: float) -> tuple[dict[str, Any], bytes]:
    """The first frame: fields and standard input. Raises ValueError, OSError."""
    connection.settimeout(seconds)
    reader, size = frames.FrameReader(), 0
    while True:
        data = connection.recv(65_536)
        size += len(data)
        if not data or size > MOST_REQUEST_BYTES:
            raise ValueError("the request is cut off, or has more than 64 MiB")
        for kind, payload in reader.feed(data):
            if kind != frames.RUN:
                raise ValueError("the first message asks for a run")
            fields, rest = frames.unpack_message(payload)
            return fields, bytes(rest)
