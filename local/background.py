"""Work in threads: a value that is computed in the background, an end with a timeout."""

import ctypes
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

_M_ARENA_MAX = -8


class InBackground:
    """A value that is computed in a thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._value: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._make()
        except Exception as error:  # noqa: BLE001  raised again where the value is needed
            self._error = error

    def is_made(self, within_seconds: float) -> bool:
        """Whether it is computed, or failed, by then."""
        self._thread.join(within_seconds)
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Wait for the value. Raises what making it raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._value


def within(seconds: float, what: str, end: Callable[[], None]) -> None:
    """Run `end`, but wait for it at most this long; report if it takes longer."""
    thread = threading.Thread(target=end, name=f"close {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.error("%s did not end within %.0f s", what, seconds)


@contextmanager
def no_garbage() -> Iterator[None]:
    """Turn garbage collection off during the start of a process, and exclude the objects that it
    creates from later collections. They stay until the end; this saves a sixth of the start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_memory_together(arenas: int = 2) -> None:
    """Limit the C library's memory arenas: with the default of eight for each processor, memory
    that short calls free in one cannot be used by threads of another.

    For the start of a process, before its threads. No effect without glibc.
    https://man7.org/linux/man-pages/man3/mallopt.3.html (M_ARENA_MAX)
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, arenas)
    except (AttributeError, OSError):
        log.debug("this C library has no mallopt")
