"""The process's environment except AWS: time, randomness, threads, health requests to containers.

Tests replace it as a whole; see `Environment`.
"""

import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from chalicelib.tasks.probe import Found, probe

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ids(Protocol):
    """Generates identifiers, keys and random fractions."""

    def uuid(self) -> str:
        """A new random UUID (version 4)."""
        ...

    def key(self) -> str:
        """A new random key that cannot be guessed."""
        ...

    def part(self) -> float:
        """A random number, 0 <= n < 1."""
        ...


class SystemIds:
    """Random values of the operating system."""

    def uuid(self) -> str:
        """A random UUID, version 4."""
        return str(uuid.uuid4())

    def key(self) -> str:
        """256 random bits."""
        return secrets.token_urlsafe(32)

    def part(self) -> float:
        """A random number, 0 <= n < 1."""
        return random.random()  # noqa: S311 - spreads load, guards nothing


def in_thread(call: Callable[[], None]) -> Callable[[], None]:
    """Start `call` in a new thread; returns a function that waits for its end."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread.join


class RunEach(Protocol):
    """Calls a function for each item, at most `at_once` concurrently; results in order."""

    def __call__(
        self, call: Callable[[Item], Result], items: Sequence[Item], at_once: int
    ) -> list[Result]:
        """See `run_each_in_threads`."""
        ...


def run_each_in_threads(
    call: Callable[[Item], Result], items: Sequence[Item], at_once: int
) -> list[Result]:
    """Call `call` for each item in `at_once` threads. Raises the first exception of a call."""
    from concurrent.futures import ThreadPoolExecutor  # not needed by requests for sessions

    with ThreadPoolExecutor(max_workers=at_once) as threads:
        return list(threads.map(call, items))


@dataclass(frozen=True)
class Environment:
    """Time, randomness, threads, and health requests to containers."""

    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    sleep: Callable[[float], None] = time.sleep
    probe: Callable[[str], Found] = probe
    """Requests the health of the container at a URL; see `chalicelib.tasks.probe`."""
    ids: Ids = field(default_factory=SystemIds)
    starters: int = 8
    """Number of concurrent starts for a pool."""
    wait: Callable[[threading.Event, float], object] = threading.Event.wait
    """Waits for an event, at most this many seconds."""
    beside: Callable[[Callable[[], None]], Callable[[], None]] = in_thread
    """Starts a call in parallel; returns a function that waits for its end."""
    run_each: RunEach = run_each_in_threads
