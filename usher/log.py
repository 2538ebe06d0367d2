"""The wrapper's own lines in a job's log: on stderr, each in one write, unbuffered."""

import os
import select

PATIENCE_SECONDS = 1.0
"""Timeout for a log that accepts nothing, for example because nobody reads it. The run
continues."""
PIECE_BYTES = 4096
"""Linux reports a pipe as writable when it has space for this many bytes: writing them does not
block."""


def say(line: str) -> None:
    """Write a line. A log without a reader must neither fail nor delay the run for long."""
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
