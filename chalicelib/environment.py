"""What is no AWS: the machine's time, randomness and threads, and the look at a container's health.

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
    """Where identifiers, keys and spread come from."""

    def uuid(self) -> str:
        """A new random UUID (version 4)."""
        ...

    def key(self) -> str:
        """A new random key that cannot be guessed."""
        ...

    def part(self) -> float:
        """A number from 0 up to 1."""
        ...


class SystemIds:
    """The machine's randomness."""

    def uuid(self) -> str:
        """A random UUID, version 4."""
        return str(uuid.uuid4())

    def key(self) -> str:
        """256 random bits."""
        return secrets.token_urlsafe(32)

    def part(self) -> float:
        """A number from 0 up to 1."""
        return random.random()  # noqa: S311 - spreads load, guards nothing


def in_thread(call: Callable[[], None]) -> Callable[[], None]:
    """Start `call` in a thread of its own; returns what waits for its end."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread.join


class RunEach(Protocol):
    """Makes one call for each item, at most so many at a time; the results in order."""

    def __call__(
        self, call: Callable[[Item], Result], items: Sequence[Item], at_once: int
    ) -> list[Result]:
        """See `run_each_in_threads`."""
        ...


def run_each_in_threads(
    call: Callable[[Item], Result], items: Sequence[Item], at_once: int
) -> list[Result]:
    """`call` for each item, in `at_once` threads. Raises what the first call that failed raised."""
    from concurrent.futures import ThreadPoolExecutor  # no request for a session needs it

    with ThreadPoolExecutor(max_workers=at_once) as threads:
        return list(threads.map(call, items))


@dataclass(frozen=True)
class Environment:
    """What is no AWS: the machine's time and randomness, the look at a container's health."""

    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    sleep: Callable[[float], None] = time.sleep
    probe: Callable[[str], Found] = probe
    """Asks the container at a URL; see `chalicelib.tasks.probe`."""
    ids: Ids = field(default_factory=SystemIds)
    starters: int = 8
    """How many containers of a pool are started at a time."""
    wait: Callable[[threading.Event, float], object] = threading.Event.wait
    """Waits so many seconds for an event at most."""
    beside: Callable[[Callable[[], None]], Callable[[], None]] = in_thread
    """Starts a call at the same time; returns what waits for its end."""
    run_each: RunEach = run_each_in_threads
