"""A job's standard streams as files that its log can be made of.

Docker's awslogs driver makes no event of an empty line, so an empty line is written as a space. A
last line without its newline is ended, or what is printed next would go on with it. What cannot be
written (a full disk, a reader that is gone) is dropped: a log is no reason for a job to fail.
"""

import io
import os
import select
from typing import Any, TextIO


class LogFile(io.FileIO):
    """The descriptor of a standard stream. `lost`: the first error of a write that was dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None
        self._begins_line = True

    def write(self, data: Any) -> int:
        """Write all of it."""
        given = bytes(data)
        text = given.replace(b"\n\n", b"\n \n").replace(b"\n\n", b"\n \n")
        if self._begins_line and text.startswith(b"\n"):
            text = b" " + text
        if given:
            self._begins_line = given.endswith(b"\n")
        try:
            self._write_all(text)
        except OSError as error:
            self.lost = self.lost or error
        return len(given)

    def end_line(self) -> None:
        """End the last line, if it has no newline."""
        if not self._begins_line:
            self.write(b"\n")

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self.fileno(), data) :]
            except BlockingIOError:
                select.select([], [self.fileno()], [])


def log_stream(stream: TextIO | None) -> TextIO | None:
    """A stream in the place of a standard one: it passes on each line as it is printed."""
    if stream is None:
        return None  # closed before the program began
    return io.TextIOWrapper(
        io.BufferedWriter(LogFile(stream.fileno())),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )


def finish_log(stream: TextIO | None) -> OSError | None:
    """Write what is held back, and end the last line. Returns why output was lost, if any was."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    try:
        if stream is not None:
            stream.flush()
        if isinstance(raw, LogFile):
            raw.end_line()
    except (OSError, ValueError, AttributeError):  # the job closed it, or put another in its place
        return None
    return raw.lost if isinstance(raw, LogFile) else None
