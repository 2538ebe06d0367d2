"""Writes the output of the job and its child processes to the container's log, line by line.

They write into pipes, and a thread of the main process forwards the data, up to 64 KiB at a time,
in order. A log that accepts nothing therefore delays only the processes that print, but neither the
time limit nor the end; and a process that keeps a pipe open after the end is not waited for.
"""

import contextlib
import os
import select
import threading
from collections.abc import Sequence

from usher.log import say
from usher.log_file import LogFile

STREAMS = (1, 2)
CHUNK_BYTES = 65_536


class OutputRelay:
    """Create it before the fork; call `take_streams` in the child and `start` in the parent."""

    def __init__(self) -> None:
        self._logs: dict[int, LogFile] = {}
        """The output streams by the reading ends of their pipes."""
        self._writing: dict[int, int] = {}
        """The writing end of the pipe of each standard stream."""
        self._stop_reading, self._stop_writing = os.pipe()
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        for streams in _one_file_each(STREAMS):
            read, write = os.pipe()
            os.set_blocking(read, False)
            self._logs[read] = LogFile(streams[0])
            self._writing |= dict.fromkeys(streams, write)

    def take_streams(self) -> None:
        """In the child, before it becomes another program: redirect its standard streams to the
        pipes.
        """
        for stream, write in self._writing.items():
            os.dup2(write, stream)

    def start(self) -> None:
        """In the parent, after the fork."""
        for write in set(self._writing.values()):
            os.close(write)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Forward the remaining output, end the last lines, and log lost output.

        Call it when no process of the job is left. Returns after `seconds` at the latest.
        """
        os.close(self._stop_writing)
        self._thread.join(seconds)
        if self._thread.is_alive():
            say("usher: some of what the job printed is lost: the log takes no more")
            return
        for log in self._logs.values():
            if log.lost is not None:
                say(f"usher: some of what the job printed is lost: {log.lost}")

    def _run(self) -> None:
        poll = select.poll()
        open_pipes = set(self._logs)
        for descriptor in (self._stop_reading, *open_pipes):
            poll.register(descriptor, select.POLLIN)
        stopping = False
        while open_pipes and not stopping:
            ready = [descriptor for descriptor, _ in poll.poll()]
            stopping = self._stop_reading in ready
            for pipe in sorted(open_pipes if stopping else open_pipes.intersection(ready)):
                if not self._pass_on(pipe, to_the_end=stopping):
                    poll.unregister(pipe)
                    open_pipes.remove(pipe)
        for log in self._logs.values():
            log.end_line()

    def _pass_on(self, pipe: int, *, to_the_end: bool) -> bool:
        """Forward a chunk, or everything; False at the end."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(pipe, CHUNK_BYTES):
                self._logs[pipe].write(data)
                if not to_the_end:
                    return True
            return False
        return True


def _one_file_each(streams: Sequence[int]) -> list[list[int]]:
    """The open ones of these streams, grouped by file, as on a terminal.

    One pipe for both keeps the order of a job's writes to them.
    """
    files: dict[tuple[int, int], list[int]] = {}
    for stream in streams:
        with contextlib.suppress(OSError):
            found = os.fstat(stream)
            files.setdefault((found.st_dev, found.st_ino), []).append(stream)
    return list(files.values())
