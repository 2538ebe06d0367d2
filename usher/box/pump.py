"""Moves bytes between the judge and a running box, bounded, until it ends or a limit is seen."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 65_536
TICK_SECONDS = 0.02


@dataclass
class Kept:
    """One output stream: keeps the first `limit` bytes, counts the rest, passes all on."""

    limit: int | None
    copy_to: int | None = None
    data: bytearray = field(default_factory=bytearray)
    is_over: bool = False

    def take(self, data: bytes) -> None:
        room = len(data) if self.limit is None else self.limit - len(self.data)
        self.data += data[: max(0, room)]
        self.is_over = self.is_over or len(data) > room
        if self.copy_to is not None:
            try:
                _write_all(self.copy_to, data)
            except OSError:  # whoever read it is gone
                self.close()

    def close(self) -> None:
        if self.copy_to is not None:
            with contextlib.suppress(OSError):
                os.close(self.copy_to)
            self.copy_to = None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Pump:
    """Feeds stdin, from bytes or from a descriptor, and hands on what can be read.

    `close_stdin` is called once, when all was written or the program takes no more.
    """

    def __init__(
        self,
        write_fd: int,
        close_stdin: Callable[[], None],
        data: bytes,
        source_fd: int | None = None,
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._write_fd: int | None = write_fd
        self._close_stdin = close_stdin
        self._waiting = memoryview(data)
        self._source_fd = source_fd
        self._open = 0
        if source_fd is not None:
            self._selector.register(source_fd, selectors.EVENT_READ, self._read_source)
        elif not data:
            self._end_stdin()
        if self._waiting:
            self._selector.register(write_fd, selectors.EVENT_WRITE, self._write)

    def read(self, fd: int, take: Callable[[bytes], None]) -> None:
        """Call `take` with all that comes, until the end of the stream."""
        if fd == self._write_fd:  # a socket, in both directions
            raise ValueError("duplicate the descriptor of a socket")
        self._open += 1
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._take(fd, take))

    def run(self, is_over: Callable[[], bool]) -> None:
        """Until all streams ended, or `is_over()`, which is asked every TICK_SECONDS."""
        asked_at = time.monotonic()
        while self._open:
            for key, _ in self._selector.select(TICK_SECONDS):
                key.data()
            now = time.monotonic()
            if now - asked_at >= TICK_SECONDS:
                asked_at = now
                if is_over():
                    return

    def close(self) -> None:
        self._selector.close()
        if self._source_fd is not None:
            os.close(self._source_fd)
            self._source_fd = None

    def _take(self, fd: int, take: Callable[[bytes], None]) -> None:
        try:
            data = os.read(fd, CHUNK)
        except ConnectionError:
            data = b""
        if data:
            take(data)
            return
        self._selector.unregister(fd)
        self._open -= 1

    def _read_source(self) -> None:
        assert self._source_fd is not None  # noqa: S101 - it is registered
        data = os.read(self._source_fd, CHUNK)
        self._selector.unregister(self._source_fd)
        if data and self._write_fd is not None:
            self._waiting = memoryview(data)
            self._selector.register(self._write_fd, selectors.EVENT_WRITE, self._write)
        else:
            self._end_stdin()

    def _write(self) -> None:
        assert self._write_fd is not None  # noqa: S101 - it is registered
        try:
            self._waiting = self._waiting[os.write(self._write_fd, self._waiting[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # the program does not read, or has ended
            self._selector.unregister(self._write_fd)
            self._end_stdin()
            return
        if not self._waiting:
            self._selector.unregister(self._write_fd)
            if self._source_fd is None:
                self._end_stdin()
            else:
                self._selector.register(self._source_fd, selectors.EVENT_READ, self._read_source)

    def _end_stdin(self) -> None:
        self._write_fd = None
        self._close_stdin()
