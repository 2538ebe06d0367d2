"""A job's output as lines that its log can be made of.

Docker's awslogs driver makes no event of an empty line, so an empty line is written as a space. A
last line without its newline is ended, or what is printed next would go on with it. What cannot be
written (a full disk, a reader that is gone) is dropped: a log is no reason for a job to fail.
"""

import io
import os
import select
from typing import Any, TextIO


class StandardStream(io.FileIO):
    """The descriptor of a standard stream. `lost`: the first error of a write that was dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it. Waits while a program that shares the stream made it non-blocking."""
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
    """A standard stream that the lines of a log are read from."""

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
    """A stream in the place of a standard one: it passes on each line as it is printed."""
    if stream is None:
        return None  # closed before the program began
    return io.TextIOWrapper(
        io.BufferedWriter(StandardStream(stream.fileno())),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def flush(stream: TextIO | None) -> None:
    """Write what is held back, if the job has neither closed the stream nor replaced it badly."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError, AttributeError):
        return
