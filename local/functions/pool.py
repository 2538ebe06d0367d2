"""The execution environments of one function: which one takes a call, when one is started or ended.

A call takes an idle environment, the one that was used last, or starts one: a cold start. When as
many are busy as the function may have, the call is refused.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from local.functions.environment import Environment, FunctionSettings
from local.functions.failures import failed
from local.functions.payloads import (
    Outcome,
    TooManyRequestsError,
    check_request,
    error_text,
)

IDLE_SECONDS = 300.0
"""An environment that was not used for this long is ended; Lambda documents no figure."""


class Idle(Protocol):
    """An idle environment, as input of decisions."""

    last_used: float


SomeIdle = TypeVar("SomeIdle", bound=Idle)


@dataclass(frozen=True)
class Reuse:
    """The idle environment at this index takes the call."""

    index: int


@dataclass(frozen=True)
class Start:
    """A new environment takes the call."""


@dataclass(frozen=True)
class Refuse:
    """No environment may take the call."""


def decide_environment(idle: Sequence[Idle], busy: int, limit: int) -> Reuse | Start | Refuse:
    """Chooses the process for the next call. Pure."""
    if busy >= limit:
        return Refuse()
    if idle:
        return Reuse(max(range(len(idle)), key=lambda index: idle[index].last_used))
    return Start()


def plan_retirement(idle: Sequence[SomeIdle], now: float, seconds: float) -> list[SomeIdle]:
    """The idle environments to end. Pure."""
    return [one for one in idle if now - one.last_used >= seconds]


class Pool:
    """The environments of one function. Thread-safe."""

    def __init__(
        self,
        settings: FunctionSettings,
        start: Callable[[FunctionSettings], Environment],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`start` makes an environment; its process may still be on its way."""
        self.settings = settings
        self._start = start
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        self._busy: set[Environment | object] = set()
        self._closed = False
        self.cold_starts = 0
        self.throttles = 0

    def invoke(self, event: bytes) -> Outcome:
        """Run the function with this event. Raises TooManyRequestsError, RequestTooLargeError."""
        check_request(event)
        environment = self._take()
        try:
            return environment.call(event)
        finally:
            self._give_back(environment)

    def _take(self) -> Environment:
        with self._lock:
            decision = decide_environment(self._idle, len(self._busy), self.settings.concurrency)
            if self._closed or isinstance(decision, Refuse):
                self.throttles += 1
                raise TooManyRequestsError("Rate Exceeded.")
            if isinstance(decision, Reuse):
                environment = self._idle.pop(decision.index)
                self._busy.add(environment)
                return environment
            place = object()
            self._busy.add(place)
            self.cold_starts += 1
        try:
            environment = self._start(self.settings)
        except BaseException:
            with self._lock:
                self._busy.discard(place)
            raise
        with self._lock:
            self._busy.discard(place)
            self._busy.add(environment)
            if not self._closed:
                return environment
        self._give_back(environment)
        raise TooManyRequestsError("Rate Exceeded.")

    def _give_back(self, environment: Environment) -> None:
        with self._lock:
            self._busy.discard(environment)
            if environment.alive and not self._closed:
                self._idle.append(environment)
                return
        environment.kill()

    def retire(self, now: float) -> None:
        """End the environments that are idle for too long."""
        with self._lock:
            over = plan_retirement(self._idle, now, self._idle_seconds)
            self._idle = [one for one in self._idle if one not in over]
        for environment in over:
            environment.kill()

    def close(self) -> None:
        """End all environments, and start none any more."""
        with self._lock:
            self._closed = True
            ending = [*self._idle, *(one for one in self._busy if isinstance(one, Environment))]
            self._idle = []
        for environment in ending:
            environment.kill()

    def describe(self) -> dict[str, object]:
        """The pool for others to read."""
        with self._lock:
            return {
                "idle": [environment.pid for environment in self._idle],
                "busy": [one.pid for one in self._busy if isinstance(one, Environment)],
                "cold_starts": self.cold_starts,
                "throttles": self.throttles,
            }


class Pools:
    """The pools of all functions of an app, by name."""

    def __init__(
        self,
        functions: Sequence[FunctionSettings],
        project_dir: Path,
        environ_of: Callable[[FunctionSettings], Mapping[str, str]],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        # One thread that lives to the end starts all processes, see `Environment`.
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")

        def spawn(make: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
            return self._spawner.submit(make).result()

        def start(settings: FunctionSettings) -> Environment:
            return Environment(settings, project_dir, environ_of(settings), spawn)

        self._pools = {one.name: Pool(one, start, idle_seconds) for one in functions}
        self._closed = threading.Event()
        self._retiring = threading.Thread(target=self._retire, name="retiring", daemon=True)
        self._retiring.start()

    def invoke(self, function: str, event: bytes) -> Outcome:
        """Run a function. Raises KeyError, TooManyRequestsError, RequestTooLargeError."""
        outcome = self._pools[function].invoke(event)
        if outcome.error is not None:
            failed(function, error_text(outcome))
        return outcome

    def describe(self) -> dict[str, object]:
        """The environments of each function."""
        return {name: pool.describe() for name, pool in self._pools.items()}

    def close(self) -> None:
        """End all environments."""
        self._closed.set()
        for pool in self._pools.values():
            pool.close()

    def _retire(self) -> None:
        while not self._closed.wait(1.0):
            now = time.monotonic()
            for pool in self._pools.values():
                pool.retire(now)
