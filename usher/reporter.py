"""Sends the newest progress once a second, from a separate thread."""

import threading
from collections.abc import Callable

from usher.child_messages import Progress
from usher.log import say


class Reporter:
    """Create it after the fork: the first progress starts a thread."""

    def __init__(self, tell: Callable[[Progress], None], pause_seconds: float) -> None:
        self._tell = tell
        self._pause_seconds = pause_seconds
        self._newest: Progress | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, progress: Progress) -> None:
        """Send this next; replaces progress that was not sent."""
        with self._changed:
            self._newest = progress
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    def close(self, patience_seconds: float) -> None:
        """Send the newest progress without a pause and end, after `patience_seconds` at the
        latest.
        """
        with self._changed:
            self._closed.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(patience_seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._closed.is_set())
                progress, self._newest = self._newest, None
            if progress is None:
                return
            fraction = "" if progress.fraction is None else f" {progress.fraction:.0%}"
            say(f"usher: progress{fraction} {progress.message}".rstrip())
            self._tell(progress)
            self._closed.wait(self._pause_seconds)
