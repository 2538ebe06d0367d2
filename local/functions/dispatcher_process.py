"""Keeps one dispatcher process running: starts it, replaces it after a crash, ends it.

Also the way to its functions: `invoke` is what AWS's event sources do with a Lambda function.
"""

import http.client
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.functions.failures import pipe_of_failures
from local.functions.invoke_api import BASE, ENVIRONMENTS

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
STEADY_SECONDS = 10.0
"""A dispatcher that lived for this long is replaced at once; a younger one after a growing
pause."""

STOP_SECONDS = 4.0
"""Time from SIGTERM to SIGKILL."""

log = logging.getLogger(__name__)


class DispatcherDiedError(Exception):
    """The dispatcher ended before it was ready; the message has the end of its output."""


class UnreachableError(Exception):
    """The function was not executed, or the outcome is unknown: the dispatcher crashed."""


class ThrottledError(UnreachableError):
    """The function was not run: as many of its processes are busy as it may have."""


@dataclass(frozen=True)
class Invocation:
    """The result of an invocation: `payload` is the result, or the error if `error` is set."""

    payload: Any
    error: str | None = None


class DispatcherProcess:
    """One supervised `python -m local.functions.dispatcher`. Thread-safe."""

    def __init__(
        self,
        *,
        project_dir: Path,
        api: socket.socket,
        invoke: socket.socket,
        environment: Mapping[str, str],
        log_file: Path,
        options: Sequence[str] = (),
        restart: bool = True,
    ) -> None:
        self._sockets = (api, invoke)
        self._invoke_address: tuple[str, int] = invoke.getsockname()[:2]
        self._environment = dict(environment)
        self._log_file = log_file
        self._command = [sys.executable, "-m", "local.functions.dispatcher"]
        self._command += ["--project-dir", str(project_dir), *options]
        self._command += ["--http-fd", str(api.fileno()), "--invoke-fd", str(invoke.fileno())]
        self._restart = restart
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher = threading.Thread(target=self._watch, name="dispatcher", daemon=True)
        self._invocations: dict[str, Counter[str]] = {}
        self._idle: list[http.client.HTTPConnection] = []
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id of the dispatcher that runs now."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    @property
    def invocations(self) -> dict[str, dict[str, int]]:
        """The number of invocations of each function, by outcome."""
        with self._lock:
            return {name: dict(counts) for name, counts in self._invocations.items()}

    def start(self) -> None:
        """Start the process, and another one after each crash."""
        self._process = self._spawn()
        self._watcher.start()

    def wait_ready(self, seconds: float) -> list[dict[str, Any]]:
        """Wait until it answers, and return its functions. Raises DispatcherDiedError."""
        deadline = time.monotonic() + seconds
        answers: list[list[dict[str, Any]]] = []

        def ask() -> None:
            try:
                _, body = self._request("GET", BASE, b"", seconds)
                answers.append(json.loads(body)["functions"])
            except (OSError, http.client.HTTPException):
                return  # it crashed during the request, which `poll` below sees as well

        asking = threading.Thread(target=ask, name="ready", daemon=True)
        asking.start()
        while asking.is_alive() and time.monotonic() < deadline:
            asking.join(0.05)
            if self._process and self._process.poll() is not None:
                break
        if not answers:
            raise DispatcherDiedError(self.last_output())
        return answers[0]

    def last_output(self) -> str:
        """The end of its log."""
        try:
            lines = self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return f"no log: {error}"
        return "\n".join(lines[-15:])

    def invoke(self, function: str, event: Any, timeout_seconds: float = 900.0) -> Invocation:
        """Run a function with this event and wait for its end. Raises UnreachableError,
        ThrottledError.
        """
        path = f"{BASE}/{function}/invocations"
        try:
            response, body = self._request(
                "POST", path, json.dumps(event).encode(), timeout_seconds
            )
        except (OSError, http.client.HTTPException) as error:
            self._count(function, "unreachable")
            raise UnreachableError(f"{function}: {error!r}") from error
        if response.status == 429:
            self._count(function, "throttled")
            raise ThrottledError(f"{function}: {body.decode('utf-8', 'replace')}")
        error_kind = response.getheader("X-Amz-Function-Error")
        if response.status != 200:
            error_kind = "NotInvoked"
        self._count(function, "failed" if error_kind else "succeeded")
        return Invocation(json.loads(body), error_kind)

    def environments(self) -> dict[str, Any]:
        """The processes of each function; empty where they share one. Raises UnreachableError."""
        try:
            _, body = self._request("GET", ENVIRONMENTS, b"", STOP_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"the dispatcher: {error!r}") from error
        found: dict[str, Any] = json.loads(body)
        return found

    def _count(self, function: str, outcome: str) -> None:
        with self._lock:
            self._invocations.setdefault(function, Counter())[outcome] += 1

    def _request(
        self, method: str, path: str, body: bytes, timeout: float
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._take_connection(timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return response, answer

    def _take_connection(self, timeout: float) -> http.client.HTTPConnection:
        """One that is open and idle, else a new one: a new one costs a thread over there."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return http.client.HTTPConnection(*self._invoke_address, timeout=timeout)
            if connection.sock and not _has_input(connection.sock):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()

    def kill(self) -> None:
        """Kill it as a crash would; another one takes its place."""
        process = self._process
        if process:
            process.kill()

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after STOP_SECONDS. Idempotent."""
        self._stopping.set()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        if self._watcher.is_alive():
            self._watcher.join(MAX_BACKOFF_SECONDS)
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        failures = pipe_of_failures(self._log_file)
        try:
            with self._log_file.open("ab") as log_file:
                return subprocess.Popen(
                    [*self._command, "--failures-fd", str(failures)],
                    stdin=subprocess.PIPE,  # its end tells the dispatcher that this process is gone
                    stdout=log_file,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    cwd=Path(__file__).parents[2],
                    pass_fds=[failures, *(listener.fileno() for listener in self._sockets)],
                    start_new_session=True,  # Ctrl-C is for this process, which ends in order
                )
        finally:
            os.close(failures)

    def _watch(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            started = time.monotonic()
            while self._process and self._process.poll() is None:
                if self._stopping.wait(0.05):
                    return
            code = self._process.returncode if self._process else None
            if not self._restart:
                log.error("the dispatcher ended (%s) and is not replaced", code)
                return
            if time.monotonic() - started > STEADY_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            log.warning("the dispatcher ended (%s); another one in %.1f s", code, backoff)
            if self._stopping.wait(backoff):
                return
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
            old, self._process = self._process, self._spawn()
            if old and old.stdin:
                old.stdin.close()
            self.restarts += 1


def _has_input(connection: socket.socket) -> bool:
    """Whether there is something to read although nothing is expected: the end of the
    connection.
    """
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
