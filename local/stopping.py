"""Handles signals without losing one.

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


class SignalHandlers:
    """Calls `handle` with the number of each signal, in a separate thread, one after the other.

    Create it in the main thread, one at a time in a process, because the interpreter has one wakeup
    descriptor. As a context manager it restores the previous handlers.
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
        """Stop handling signals and restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._theirs.close()
        self._thread.join()
        self._ours.close()

    def __enter__(self) -> "SignalHandlers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while numbers := self._ours.recv(64):
            for number in numbers:
                if number in self._before:
                    self._handle(number)


def _nothing(_number: int, _frame: object) -> None:
    """The thread does the work."""


def end_process(code: int) -> NoReturn:
    """End the process with this exit code at once: output is flushed, and nothing else is done.
    Finalizing the objects of moto and botocore takes half a second of processor time, and threads
    of idle connections would delay the end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
