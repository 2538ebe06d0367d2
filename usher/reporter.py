"""Sends the newest progress once a second, from a separate thread."""

import threading
from collections.abc import Callable

from usher.child_messages import Progress
from usher.log import say


class Reporter:
    """Make it after the fork: it starts a thread with the first progress."""

    def __init__(self, tell: Callable[[Progress], None], pause_seconds: float) -> None:
        self._tell = tell
        self._pause_seconds = pause_seconds
        self._newest: Progress | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, progress: Progress) -> None:
        """Pass this on next; what was not yet passed on is forgotten."""
        with self._changed:
            self._newest = progress
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    def close(self, patience_seconds: float) -> None:
        """Pass on the newest without a pause, and end; in any case after so many seconds."""
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
