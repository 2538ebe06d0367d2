"""Reports failed functions to the terminal of `local up`: a line for each, through a pipe.

The dispatcher's output goes to a file, which has the traceback.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

QUIET_SECONDS = 10.0
"""The same failure is not reported again within this time, because failed events are repeated at
once."""
MOST_CHARACTERS = 300

log = logging.getLogger(__name__)

_NAME = "local.functions.failed"


def failed(function: str, error: str) -> None:
    """A function failed in a separate process, which does not use this process's loggers."""
    logging.getLogger(_NAME).error("%s failed: %s", function, error)


class FailureReports(logging.Handler):
    """In the dispatcher's process: reports each error that is logged with a traceback."""

    def __init__(self, fd: int) -> None:
        super().__init__(logging.ERROR)
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, in one piece; shorter than what a pipe takes at once."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None and record.name != _NAME:
            return
        text = record.getMessage()
        if error is not None:
            text += f": {type(error).__name__}: {error}"
        line = json.dumps(" ".join(text.split())[:MOST_CHARACTERS]) + "\n"
        try:
            os.write(self._fd, line.encode())
        except OSError:  # the reader is gone: `local up` is ending
            self.close()


def warn_of_failures(fd: int, log_file: Path, now: Callable[[], float] = time.monotonic) -> None:
    """In `local up`: a warning for each report, until the pipe ends; closes it."""
    last: dict[str, float] = {}
    with open(fd, encoding="utf-8") as reports:
        for line in reports:
            text = json.loads(line)
            if now() - last.get(text, -QUIET_SECONDS) >= QUIET_SECONDS:
                last = {one: at for one, at in last.items() if now() - at < QUIET_SECONDS}
                last[text] = now()
                log.warning("%s; its traceback is in %s", text, log_file)


def pipe_of_failures(log_file: Path) -> int:
    """The writing end of a new pipe for reports, which a thread prints."""
    reading, writing = os.pipe()
    threading.Thread(
        target=warn_of_failures, args=(reading, log_file), name="failures", daemon=True
    ).start()
    return writing
