"""Handles SIGTERM and similar signals during the whole life of the container's main process.

The kernel delivers to process 1 only signals that it handles, so this comes first.
"""

import os
import signal
import time
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopAskedError(Exception):
    """A signal requested the end of the process before a run began."""


class Signals:
    """Installed handlers. Create it in the main thread, before anything else."""

    def __init__(self) -> None:
        self.times_asked = 0
        """Number of signals that requested the end of this process."""
        self.asked_at: float | None = None
        """Monotonic time of the first of them."""
        self._raises = False
        self.wakeup, write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.times_asked += 1
        self.asked_at = self.asked_at or time.monotonic()
        if self._raises:
            raise StopAskedError

    def raise_from_now(self) -> None:
        """Let a signal end waiting with StopAskedError."""
        self._raises = True
        if self.times_asked:
            raise StopAskedError

    def raise_no_more(self) -> None:
        """Let a signal only be counted and make `wakeup` readable."""
        self._raises = False

    def drain(self) -> None:
        """Empty `wakeup`."""
        try:
            while os.read(self.wakeup, 4096):
                pass
        except BlockingIOError:
            return


def hold() -> None:
    """Block signals, so that none arrives between a fork and the child's own handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def release() -> None:
    """Unblock them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def become_a_job() -> None:
    """In the child: SIGTERM ends `run` like sys.exit(143), so that its `finally` blocks run."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _exit_143)
    release()


def _exit_143(number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + number)
