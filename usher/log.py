"""The wrapper's own lines in a job's log: on stderr, each in one write, never held back."""

import os
import select

PATIENCE_SECONDS = 1.0
"""For a log that takes nothing. It may be full because nobody reads it, and that stops no run."""
PIECE_BYTES = 4096
"""Linux says that a pipe is writable when it has room for so many: writing them does not block."""


def say(line: str) -> None:
    """Write a line. A log that nobody reads any more is no reason to fail, nor to wait for long."""
    data = (line.replace("\n", " ") + "\n").encode("utf-8", "replace")
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    while data:
        try:
            if not poll.poll(PATIENCE_SECONDS * 1000):
                return
            data = data[os.write(2, data[:PIECE_BYTES]) :]
        except OSError:
            return
