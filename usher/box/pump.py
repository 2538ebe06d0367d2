"""Moves bytes between the judge and a running box, with bounds, until it ends or exceeds a
limit.
"""

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 65_536
TICK_SECONDS = 0.02
FINISH_SECONDS = 2.0


@dataclass
class Kept:
    """One output stream: keeps the first `limit` bytes and forwards them.

    A slow or missing reader of the copy never delays reading the stream.
    """

    limit: int | None
    copy_to: int | None = None
    data: bytearray = field(default_factory=bytearray)
    is_over: bool = False
    _copied: int = 0

    def __post_init__(self) -> None:
        if self.copy_to is not None:
            os.set_blocking(self.copy_to, False)

    def take(self, data: bytes) -> None:
        bytes_left = len(data) if self.limit is None else self.limit - len(self.data)
        self.data += data[: max(0, bytes_left)]
        self.is_over = self.is_over or len(data) > bytes_left
        self.flush()

    def flush(self) -> bool:
        """Forward as much as the reader accepts now; returns whether nothing is left."""
        while self.copy_to is not None and self._copied < len(self.data):
            try:
                part = bytes(self.data[self._copied : self._copied + CHUNK])
                self._copied += os.write(self.copy_to, part)
            except BlockingIOError:
                return False
            except OSError:  # the reader has gone
                self.copy_to = None
        return True

    def finish(self) -> None:
        """Forward the rest to a reader that accepts it within FINISH_SECONDS."""
        deadline = time.monotonic() + FINISH_SECONDS
        while not self.flush() and time.monotonic() < deadline:
            time.sleep(0.005)


class Ends:
    """Descriptors of a task, which are closed only once."""

    def __init__(self, *fds: int | None) -> None:
        self._fds = [fd for fd in fds if fd is not None]

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


class Pump:
    """Writes stdin, from bytes or from a descriptor, and forwards what can be read.

    `close_stdin` is called once, when all was written or the program reads no more.
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
        """Call `take` with all data until the end of the stream."""
        if fd == self._write_fd:  # a socket for both directions
            raise ValueError("duplicate the descriptor of a socket")
        self._open += 1
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._take(fd, take))

    def run(self, is_over: Callable[[], bool]) -> None:
        """Until all streams ended, or `is_over()`, which is called every TICK_SECONDS."""
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
