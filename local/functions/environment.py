"""One execution environment, from outside: a worker process that is thawed for one call at a time.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from local.functions.payloads import Outcome, exited, killed, limited, timed_out

ROOT = Path(__file__).parents[2]
INIT_SECONDS = 10.0
"""Lambda's limit for the initialization; after that it is repeated with the function's own
timeout."""

POLL_SECONDS = 0.05
"""Interval at which the memory of a running function is measured."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class FunctionSettings:
    """One function as it is deployed."""

    name: str
    handler: str
    """MODULE.ATTRIBUTE"""
    timeout_seconds: int
    memory_mib: int
    concurrency: int
    """Maximum number of concurrent environments."""


@dataclass(frozen=True)
class Header:
    """The first frame of an invocation; see `local.functions.worker.Context`."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int
    deadline: float


class _EndedError(Exception):
    """The worker closed its socket."""


class _OverError(Exception):
    """The call is over before its answer: `outcome` is the answer."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


class Environment:
    """A worker process. One call at a time; between two calls the process is stopped."""

    def __init__(
        self,
        settings: FunctionSettings,
        project_dir: Path,
        environ: Mapping[str, str],
        spawn: Callable[[Callable[[], subprocess.Popen[bytes]]], subprocess.Popen[bytes]],
    ) -> None:
        """Start the process. `spawn` runs its argument in a thread that lives as long as this
        process: Linux notifies a child of its parent's death when the thread that created it ends.
        """
        self.settings = settings
        self._socket, theirs = socket.socketpair()
        self._ready = False
        self.last_used = 0.0
        command = [sys.executable, "-m", "local.functions.worker"]
        command += ["--project-dir", str(project_dir), "--handler", settings.handler]
        command += ["--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
        with theirs:
            self._process = spawn(
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    env=environ,
                    cwd=ROOT,
                    pass_fds=[theirs.fileno()],
                )
            )

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether another call is possible."""
        return self._process.poll() is None

    def call(self, event: bytes) -> Outcome:
        """Thaw it, run the function with this event, freeze it.

        A process that crashes, takes too long or too much memory is killed and answers as Lambda
        does.
        """
        request_id = str(uuid.uuid4())
        timeout = self.settings.timeout_seconds
        try:
            if not self._ready:
                self._read_frame(request_id, time.monotonic() + INIT_SECONDS + timeout)
                self._ready = True
            deadline = time.monotonic() + timeout
            self._send(
                Header(self.settings.name, request_id, self.settings.memory_mib, deadline), event
            )
            header = json.loads(self._read_frame(request_id, deadline))
            outcome = Outcome(self._read_frame(request_id, deadline), header["error"])
        except _OverError as over:
            self.kill()
            return over.outcome
        except (_EndedError, ConnectionError):
            self.kill()
            status = self._process.returncode
            return exited(request_id, status) if status >= 0 else killed(request_id)
        os.kill(self.pid, signal.SIGSTOP)
        self.last_used = time.monotonic()
        return limited(outcome)

    def kill(self) -> None:
        """Kill the process, also during a call. Idempotent."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5 if self._is_ending() else 0)
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _is_ending(self) -> bool:
        """Whether it closed its socket, as it does on its way out with an exit status."""
        if self._socket.fileno() < 0:
            return False
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return False

    def _send(self, header: Header, event: bytes) -> None:
        os.kill(self.pid, signal.SIGCONT)
        frames = [json.dumps(asdict(header)).encode(), event]
        self._socket.sendall(b"".join(struct.pack("!I", len(frame)) + frame for frame in frames))

    def _read_frame(self, request_id: str, deadline: float) -> bytes:
        (length,) = struct.unpack("!I", self._read(4, request_id, deadline))
        return self._read(length, request_id, deadline)

    def _read(self, length: int, request_id: str, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < length:
            wait = min(POLL_SECONDS, deadline - time.monotonic())
            readable, _, _ = select.select([self._socket], [], [], max(0.0, wait))
            if readable:
                part = self._socket.recv(min(length - len(found), 1 << 20))
                if not part:
                    raise _EndedError
                found += part
            elif time.monotonic() >= deadline:
                raise _OverError(timed_out(request_id, self.settings.timeout_seconds))
            elif _resident_bytes(self.pid) > self.settings.memory_mib * 1024 * 1024:
                raise _OverError(killed(request_id))
        return bytes(found)


def _resident_bytes(pid: int) -> int:
    """The memory of a process, its children apart; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE
    except OSError:
        return 0
