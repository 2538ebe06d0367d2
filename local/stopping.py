"""Hearing signals without losing one.

A Python signal handler runs in the main thread, between two bytecodes: a main thread that is just
going to sleep on a lock never runs it, and one that holds the lock of an Event must not set it.
Here the interpreter writes each signal's number to a socket, and a thread reads it there.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import NoReturn


class HeardSignals:
    """Calls `handle` with the number of each signal, in a thread of its own, one after the other.

    Made in the main thread, once at a time in a process: there is one place where the interpreter
    writes to. As a context manager it restores what was there before.
    """

    def __init__(self, numbers: Iterable[int], handle: Callable[[int], None]) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._handle = handle
        self._fd_before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        # Without a handler of ours the default action would be taken: the end.
        self._before = {number: signal.signal(number, _nothing) for number in numbers}
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear no more, and leave signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._theirs.close()
        self._thread.join()
        self._ours.close()

    def __enter__(self) -> "HeardSignals":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while numbers := self._ours.recv(64):
            for number in numbers:
                if number in self._before:
                    self._handle(number)


def _nothing(_number: int, _frame: object) -> None:
    """What has to be done is done in the thread."""


def end_process(code: int) -> NoReturn:
    """End the process with this exit code, at once: what was printed is written out, and nothing
    else is done. Taking moto's and botocore's objects apart one by one takes half a second of
    processor, and threads of idle connections would hold up the end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
