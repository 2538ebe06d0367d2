"""A launcher from the judge's side: its streams, its end, and signals to it."""

import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Iterable
from typing import IO

from usher.box.model import BoxError

_NUMBER = struct.Struct("=i")


def memory_file(name: str) -> IO[bytes]:
    """A file without a name, deleted with its last descriptor."""
    return os.fdopen(os.memfd_create(name), "w+b")


class LauncherProcess:
    """Its process number is reserved until the next request to the process that forked it."""

    def __init__(self, pid: int, streams: tuple[int, int, int], spec: int, ended: int) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(fd, mode, buffering=0)
            for fd, mode in zip(streams, ("wb", "rb", "rb"), strict=True)
        )
        self._spec: int | None = spec
        self._ended = ended

    def give(self, contents: Iterable[bytes]) -> None:
        """Send the input. Raises BoxError if it has ended."""
        spec, self._spec = self._spec, None
        assert spec is not None  # noqa: S101 - once
        try:
            with os.fdopen(spec, "wb") as file:
                file.writelines(contents)
        except OSError as error:
            raise BoxError(f"the launcher of the box died: {error}") from None

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, or ends within `seconds`."""
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def close_stdin(self) -> None:
        """Close the program's input after it was read."""
        with contextlib.suppress(OSError):
            self.stdin.close()

    def close(self) -> None:
        """Kill it if it is alive."""
        if not self.has_ended():
            self.signal(signal.SIGKILL)
        self.close_stdin()
        self.stdout.close()
        self.stderr.close()
        if self._spec is not None:
            os.close(self._spec)
        os.close(self._ended)


def start_launcher(requests: socket.socket, report: int, rules: int) -> LauncherProcess:
    """Have a launcher forked by the process at the other end of `requests`. Raises BoxError.

    `report` and `rules` stay the caller's.
    """
    (in_r, in_w), (out_r, out_w), (err_r, err_w), (spec_r, spec_w), (end_r, end_w) = (
        os.pipe() for _ in range(5)
    )
    theirs = (in_r, out_w, err_w, spec_r, end_w)
    try:
        fds = [in_r, out_w, err_w, spec_r, report, rules, end_w]
        socket.send_fds(requests, [b"r"], fds)
        (pid,) = _NUMBER.unpack(requests.recv(_NUMBER.size, socket.MSG_WAITALL))
    except (OSError, struct.error) as error:  # it ended
        for fd in (in_w, out_r, err_r, spec_w, end_r):
            os.close(fd)
        raise BoxError(f"no launcher of the box can be started: {error}") from None
    finally:
        for fd in theirs:
            os.close(fd)
    return LauncherProcess(pid, (in_w, out_r, err_r), spec_w, end_r)
