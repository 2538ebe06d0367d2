"""Formats a job's output for its log driver.

Docker's awslogs driver makes no event of an empty line, so an empty line is written as a space. A
last line without newline is ended, so that the following output starts a new line. Output that
cannot be written (a full disk, a missing reader) is dropped, because a log must not fail a job.
"""

import io
import os
import select
from typing import Any, TextIO


class StandardStream(io.FileIO):
    """The descriptor of a standard stream. `lost`: the first error of a dropped write."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it. Waits if a program that shares the stream made it non-blocking."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                try:
                    left = left[os.write(self.fileno(), left) :]
                except BlockingIOError:
                    select.select([], [self.fileno()], [])
        except OSError as error:
            self.lost = self.lost or error
        return size


class LogFile(StandardStream):
    """A standard stream that a log driver reads."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._begins_line = True

    def write(self, data: Any) -> int:
        """Write all of it, with a space in each empty line."""
        given = bytes(data)
        text = given.replace(b"\n\n", b"\n \n").replace(b"\n\n", b"\n \n")
        if self._begins_line and text.startswith(b"\n"):
            text = b" " + text
        if given:
            self._begins_line = given.endswith(b"\n")
        super().write(text)
        return len(given)

    def end_line(self) -> None:
        """End the last line, if it has no newline."""
        if not self._begins_line:
            self.write(b"\n")


def line_stream(stream: TextIO | None) -> TextIO | None:
    """A stream that replaces a standard one: it forwards each line as it is printed."""
    if stream is None:
        return None  # closed before the program began
    return io.TextIOWrapper(
        io.BufferedWriter(StandardStream(stream.fileno())),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def flush(stream: TextIO | None) -> None:
    """Flush buffered output, unless the job closed or replaced the stream."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError, AttributeError):
        return
