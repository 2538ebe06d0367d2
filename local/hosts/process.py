"""Containers as processes of this machine: a host is an agent process that forks them.

The agent watches memory, every second, and ten times as often what uses more than half of its
limit; RLIMIT_DATA stops a process that grows quicker than that. A control group would be exact,
but the kernel halts all forks of the machine while a process joins one: 13 ms later for one start,
0.1 s for twenty at once on two busy cores. RLIMIT_AS would count address space that Node and others
reserve and never use. CPU units are reserved when tasks are placed, and not enforced: they are
shares, and the kernel shares fairly.

The image of a task is the machine itself, so its root is always read-only where it is isolated.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.logs.streams import new_stream
from local.hosts.base import CannotStartError, ContainerSpec, Exit, HostDownError
from local.hosts.images import ImageSource, find_source
from local.hosts.isolation import Kind, detect, hidden_paths
from local.hosts.packages import Packages
from local.hosts.programs import HOST_VARIABLE, RUN_VARIABLE, Prepared, prepare
from local.hosts.trust import decide_trust, read_entries

__all__ = ["ProcessHost", "remove_leftovers"]

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
_END_SECONDS = 10.0


@dataclass(frozen=True)
class _Running:
    prepared: Prepared
    on_exit: Callable[[Exit], None]


class ProcessHost:
    """A host whose containers are processes; see `local.hosts.base.Host`."""

    runtime = "process"

    def __init__(
        self,
        name: str,
        *,
        run_id: str,
        images: Iterable[ImageSource],
        logs: Path,
        streams: Path | None = None,
        kind: Kind | None = None,
        packages: Packages | None = None,
        allow_unprotected: bool = False,
        user: int | None = None,
    ) -> None:
        """`logs` is an existing directory for containers' output, one file each; `streams` one for
        log streams, see `local.aws.logs.streams`; without it there are only files in `logs`.

        `kind` is the isolation; None = the best that works here. If that protects no files, only
        images of directories that nobody but `user` (default: the present user) can change start,
        unless `allow_unprotected`.
        """
        self.name = name
        self._run_id = run_id
        self._images = tuple(images)
        self._packages = packages or Packages(log.info)
        self._logs = logs
        self._streams = streams
        self.kind = detect() if kind is None else kind
        self._allow_unprotected = allow_unprotected
        self._user = os.getuid() if user is None else user
        self._marks = {RUN_VARIABLE: run_id, HOST_VARIABLE: f"{run_id}/{name}"}
        self._path = os.environ.get("PATH", os.defpath)
        self._hidden = hidden_paths(Path.home())
        self._lock = threading.Lock()
        self._next = 1
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._running: dict[int, _Running] = {}
        self._down = False
        self._agent = subprocess.Popen(
            [sys.executable, "-E", "-s", "-S", "-m", "local.hosts.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={"PATH": self._path, **self._marks},
            start_new_session=True,  # a Ctrl-C in the terminal is handled by `local up` only
        )
        self._reader = threading.Thread(target=self._read, name=f"host-{name}", daemon=True)
        self._reader.start()

    @property
    def isolation(self) -> str:
        return self.kind.description

    @property
    def alive(self) -> bool:
        return not self._down

    @property
    def agent_pid(self) -> int:
        """Id of the agent's process: when it ends, the host has failed."""
        return self._agent.pid

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        source = find_source(spec.image, self._images)
        self._check_trust(source)
        prepared = prepare(
            spec,
            self._images,
            packages=self._packages.folder_for(source) if source else None,
            path=self._path,
            marks=self._marks,
            hidden=self._hidden,
        )
        number, answer = self._expect(_Running(prepared, on_exit))
        log = self._logs / f"{spec.task_id}-{spec.name}.log"
        order = prepared.order(self.kind, prepared.argv, log=log)
        if self._streams is not None and spec.log_stream is not None:
            order["stream"] = str(new_stream(self._streams, *spec.log_stream))
        self._send({"op": "start", "id": number, "most_bytes": prepared.memory_bytes, **order})
        error = answer.result().get("error")
        if error is not None:
            with self._lock:
                self._running.pop(number, None)
            raise CannotStartError(f"CannotStartContainerError: {prepared.argv[0]}: {error}")
        return f"{self.name}-{number}"

    def _check_trust(self, source: ImageSource | None) -> None:
        if source is None or self._allow_unprotected:
            return
        if source.context.resolve().is_relative_to(_ROOT):
            return  # of the checkout that this very program is from
        try:
            why = decide_trust(self.kind, read_entries(source.context, self._user), self._user)
        except OSError as error:
            raise CannotStartError(f"CannotStartContainerError: {error}") from error
        if why is not None:
            raise CannotStartError(f"CannotStartContainerError: {why}")

    def signal(self, runtime_id: str, signal_name: str) -> None:
        self._send({"op": "signal", "id": _number(runtime_id), "signal": signal_name})

    def healthy(self, runtime_id: str, command: Sequence[str], timeout_seconds: float) -> bool:
        """Runs the check beside the container: a sandbox like its own, the same network."""
        with self._lock:
            running = self._running.get(_number(runtime_id))
        if running is None:
            return False
        argv = ["/bin/sh", "-c", command[1]] if command[0] == "CMD-SHELL" else command[1:]
        number, answer = self._expect(None)
        order = running.prepared.order(self.kind, argv, log=Path(os.devnull))
        self._send({"op": "check", "id": number, "timeout": timeout_seconds, **order})
        return answer.result().get("code") == 0

    def kill(self) -> None:
        with self._lock:
            self._running.clear()  # exits are not reported any more
        self._agent.kill()
        self._reader.join()

    def close(self) -> None:
        with self._lock:
            if self._agent.stdin is not None and not self._agent.stdin.closed:
                with suppress(BrokenPipeError):  # an agent that ended has released its tasks
                    self._agent.stdin.close()
        try:
            self._agent.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._agent.kill()
        self._reader.join()

    def _expect(self, running: _Running | None) -> tuple[int, Future[dict[str, Any]]]:
        """A number for an order, and its answer. Raises HostDownError."""
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            if self._down:
                raise HostDownError(self.name)
            number = self._next
            self._next += 1
            self._answers[number] = answer
            if running is not None:
                self._running[number] = running
        return number, answer

    def _send(self, order: dict[str, Any]) -> None:
        data = json.dumps(order).encode() + b"\n"
        with self._lock:
            if self._down or self._agent.stdin is None or self._agent.stdin.closed:
                raise HostDownError(self.name)
            try:
                self._agent.stdin.write(data)
                self._agent.stdin.flush()
            except BrokenPipeError as error:
                raise HostDownError(self.name) from error

    def _read(self) -> None:
        """Read the agent's reports until it is dead; then the host is down."""
        if self._agent.stdout is not None:
            with self._agent.stdout as lines:
                for line in lines:
                    self._handle(json.loads(line))
        self._agent.wait()
        _kill_marked(frozenset({f"{HOST_VARIABLE}={self._marks[HOST_VARIABLE]}".encode()}))
        with self._lock:
            self._down = True
            unanswered = list(self._answers.values())
            self._answers.clear()
            self._running.clear()
        for answer in unanswered:
            answer.set_exception(HostDownError(self.name))

    def _handle(self, message: dict[str, Any]) -> None:
        if "exit" not in message:
            with self._lock:
                answer = self._answers.pop(message["id"], None)
            if answer is not None:
                answer.set_result(message)
            return
        with self._lock:
            running = self._running.pop(message["exit"], None)
        if running is not None:
            running.on_exit(Exit(message["code"], OUT_OF_MEMORY if message["oom"] else None))


def _number(runtime_id: str) -> int:
    return int(runtime_id.rpartition("-")[2])


def remove_leftovers(run_ids: Collection[str]) -> int:
    """Kill all processes of dead runs; returns their number.

    Only processes with one of these run ids in their environment are killed, including those of
    other parents. Works with /proc; elsewhere agents end with their owner anyway.
    """
    return _kill_marked(frozenset(f"{RUN_VARIABLE}={run_id}".encode() for run_id in run_ids))


def _kill_marked(marks: frozenset[bytes]) -> int:
    """Kill until none is left, as what is killed may just have forked."""
    killed: set[int] = set()
    deadline = time.monotonic() + _END_SECONDS
    while (found := _marked(marks)) and time.monotonic() < deadline:
        for pid in found:
            killed.add(pid)
            _kill_if_marked(pid, marks)
        time.sleep(0.01)
    return len(killed)


def _marked(marks: frozenset[bytes]) -> list[int]:
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()] if _HAS_PROC else []
    return [pid for pid in pids if pid != os.getpid() and _carries(pid, marks)]


_HAS_PROC = Path("/proc/self/environ").exists()


def _carries(pid: int, marks: frozenset[bytes]) -> bool:
    """False too for processes of others, for zombies and for those that have gone."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return not marks.isdisjoint(environment.split(b"\0"))


def _kill_if_marked(pid: int, marks: frozenset[bytes]) -> None:
    """Holds on to the process while it looks once more, so that a reused pid is never killed."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _carries(pid, marks):
            signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(held)
