"""The wrapper's own lines in a job's log: on stderr, each in one write, never held back."""

import os


def say(line: str) -> None:
    """Write a line. A log that nobody reads any more is no reason to fail."""
    data = (line.replace("\n", " ") + "\n").encode("utf-8", "replace")
    while data:
        try:
            data = data[os.write(2, data) :]
        except OSError:
            return
