"""Boxes by a Docker Engine, beside the judge: files in and results out over its socket."""

import contextlib
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator

from usher.box.archive import pack, unpack
from usher.box.docker_requests import (
    END,
    GUARD,
    READY,
    create_request,
    exec_request,
    oom_events_query,
    parse_report,
    parse_start,
    plain_exec,
)
from usher.box.engine import Demultiplexer, Engine, EngineError, socket_path
from usher.box.model import (
    MIB,
    WORK,
    BoxError,
    BoxSettings,
    File,
    Outcome,
    Task,
    Usage,
    decide_limit,
    split_status,
)
from usher.box.pump import Ends, Kept, Pump
from usher.box.seccomp import AUDIT_ARCH, docker_profile

ASK_SECONDS = 0.1
"""Between two looks at a running command."""
GUARD_SECONDS = 30.0
EVENT_SECONDS = 2.0
"""How long an event of the engine may take to be known."""
SILENT_SECONDS = 2.0
"""After its end a command's output is waited for so long: longer only if something left behind
still holds its stdout."""


def docker_missing() -> str:
    """Why no Docker Engine makes boxes here; empty where one does."""
    path = socket_path()
    if path is None:
        return "DOCKER_HOST is no socket of this machine"
    try:
        info = Engine(path).call("GET", "/info", seconds=10)
    except EngineError as error:
        return str(error)
    if info.get("OSType") != "linux" or info.get("Architecture") not in AUDIT_ARCH:
        return f"the Docker Engine runs {info.get('OSType')} on {info.get('Architecture')}"
    options = " ".join(info.get("SecurityOptions") or ())
    return "" if "seccomp" in options else "the Docker Engine has no seccomp"


class DockerBoxes:
    """Each run in a container of its own."""

    name = "docker"

    def __init__(self, path: str | None = None) -> None:
        self._engine = Engine(path or socket_path() or "")

    def run(self, task: Task, settings: BoxSettings) -> Outcome:
        """Raises BoxError when the box could not be made or watched."""
        with contextlib.closing(Ends(task.stdin_fd, task.stdout_fd)) as ends:
            return self._run(task, settings, ends)

    def _run(self, task: Task, settings: BoxSettings, ends: Ends) -> Outcome:
        if not task.image:
            raise BoxError("a box in Docker needs an image")
        owner = GUARD if settings.user else 0
        files = pack(task.files, owner)
        request = create_request(task, settings, len(files), docker_profile(platform.machine()))
        container = self._engine.call("POST", "/containers/create", body=request)["Id"]
        with _Box(self._engine, container, settings) as box:
            box.start(files)
            return box.run(task, ends)


class _Box:
    """A container with its guard; removed on every way out."""

    def __init__(self, engine: Engine, container: str, settings: BoxSettings) -> None:
        self._engine = engine
        self._container = container
        self._path = f"/containers/{container}"
        self._began_at = time.time()
        self._settings = settings
        self._guard: socket.socket | None = None
        self._said = bytearray()
        self._frames = Demultiplexer()

    def __enter__(self) -> "_Box":
        return self

    def __exit__(self, *_: object) -> None:
        if self._guard is not None:
            self._guard.close()
        if self._settings.ends_all:
            try:
                self._engine.call("DELETE", self._path, {"force": "true", "v": "true"})
            except EngineError as error:
                if error.status not in (404, 409):  # gone, or going by itself
                    raise

    def start(self, files: bytes) -> None:
        """Returns when the guard has unpacked the files."""
        every = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1"}
        self._guard = self._engine.stream(f"{self._path}/attach", every)
        self._guard.settimeout(GUARD_SECONDS)
        self._engine.call("POST", f"{self._path}/start")
        self._guard.sendall(files)
        self._await(READY, "the box cannot be filled")

    def report(self) -> Usage:
        """The control group's counts until now, by the guard."""
        assert self._guard is not None  # noqa: S101 - started
        self._said.clear()
        self._guard.sendall(b"\n")
        self._await(END, "the guard of the box is gone")
        return parse_report(self._said.decode(errors="replace"))

    def _await(self, mark: bytes, trouble: str) -> None:
        assert self._guard is not None  # noqa: S101 - started
        while mark not in self._said:
            try:
                data = self._guard.recv(65_536)
            except OSError as error:
                raise BoxError(f"{trouble}: {error}") from error
            if not data:
                said = self._said.decode(errors="replace").strip()
                raise BoxError(f"{trouble}: {said or 'it ended'} (does the image have sh and tar?)")
            for _, part in self._frames.feed(data):
                self._said += part

    def run(self, task: Task, ends: Ends) -> Outcome:
        """The strangers' command, from its start to the reading of what it used."""
        settings = self._settings
        command = _Command(self._engine, self._path, settings, task, self.report)
        files: dict[str, File] = {}
        left_out: list[str] = []
        try:
            self._attend(command, task, ends)
            if task.collect:
                files, left_out = self._collect(task)
            whole = self.report()
        except BoxError:
            if not self._ran_out_of_memory():
                raise
            # The kernel chose the guard, as a program filled the memory with files.
            most = (settings.memory_mib or 0) * MIB
            whole = Usage(command.used_before, most, memory_kills=1, is_exact=False)
        used = max(0.0, whole.cpu_seconds - command.used_before)
        usage = Usage(used, whole.memory_bytes, whole.memory_kills)
        code, number = split_status(command.status)
        return Outcome(
            code,
            number,
            usage,
            command.seconds,
            bytes(command.stdout.data),
            command.stderr_data(),
            decide_limit(
                usage,
                settings,
                out_of_wall=command.out_of_wall,
                too_much_output=command.stdout.is_over or command.stderr.is_over,
            ),
            files,
            command.ended_at,
            tuple(left_out),
        )

    def _attend(self, command: "_Command", task: Task, ends: Ends) -> None:
        try:
            task.on_ready()
            command.attend(exec_request(task, self._settings))
        finally:
            command.close()
            ends.close()  # whoever talks with the command learns of its end at once

    def _ran_out_of_memory(self) -> bool:
        """Whether the kernel killed something in the box for want of memory, by the engine's word:
        the container may be gone already.
        """
        deadline = time.monotonic() + EVENT_SECONDS
        while True:
            query = oom_events_query(self._container, self._began_at - 1, time.time())
            if self._engine.events(query):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def _collect(self, task: Task) -> tuple[dict[str, File], list[str]]:
        """The files below /box, as a tar made by the strangers' user."""
        kept = Kept(task.collect_bytes)
        command = ["tar", "-cf", "-", "-C", WORK, "."]
        with _exec(self._engine, self._path, plain_exec(command, self._settings.user)) as (_, sock):
            frames = Demultiplexer()
            sock.settimeout(GUARD_SECONDS)
            with contextlib.suppress(TimeoutError):
                while not kept.is_over and (data := sock.recv(65_536)):
                    for stream, part in frames.feed(data):
                        if stream == 1:
                            kept.take(part)
        return unpack(bytes(kept.data))


@contextlib.contextmanager
def _exec(engine: Engine, path: str, request: object) -> Iterator[tuple[str, socket.socket]]:
    number = engine.call("POST", f"{path}/exec", body=request)["Id"]
    sock = engine.stream(f"/exec/{number}/start", body={"Detach": False, "Tty": False})
    try:
        yield number, sock
    finally:
        sock.close()


class _Command:
    """One running command and its streams."""

    def __init__(
        self,
        engine: Engine,
        path: str,
        settings: BoxSettings,
        task: Task,
        report: Callable[[], Usage],
    ) -> None:
        self._engine = engine
        self._report = report
        self._look_at = 0.0
        self._path = path
        self._settings = settings
        self._task = task
        self._frames = Demultiplexer()
        self.stdout = Kept(settings.output_bytes, task.stdout_fd)
        limit = settings.output_bytes
        self.stderr = Kept(None if limit is None else limit + 64)
        self.out_of_wall = False
        self.used_before = 0.0
        self.seconds = self.ended_at = 0.0
        self.status = 128 + 9
        """As shells tell it; of a command that had to be stopped, SIGKILL's."""
        self._start_line = 0
        self._is_started = False
        self._ended_at: float | None = None

    def attend(self, request: object) -> None:
        """Until it ended by itself, or has to be stopped, which the end of the box does."""
        with _exec(self._engine, self._path, request) as (number, sock):
            self._started_at = self._asked_at = time.monotonic()
            sock.setblocking(False)
            pump = Pump(sock.fileno(), lambda: _end(sock), self._task.stdin, self._task.stdin_fd)
            copy = os.dup(sock.fileno())
            try:
                pump.read(copy, self._take)
                pump.run(lambda: self._is_over(number))
            finally:
                pump.close()
                os.close(copy)
                self.ended_at = time.monotonic()
                self.seconds = self.ended_at - self._started_at
            self._read_status(number)

    def _take(self, data: bytes) -> None:
        if self._ended_at is not None:
            self._ended_at = time.monotonic()
        for stream, part in self._frames.feed(data):
            if stream == 1:
                self.stdout.take(part)
                continue
            self.stderr.take(part)
            if not self._is_started and (answer := parse_start(bytes(self.stderr.data[:80]))):
                self.used_before, self._start_line = answer
                self._is_started = True
                self._started_at = time.monotonic()

    def stderr_data(self) -> bytes:
        """Without our own first line."""
        return bytes(self.stderr.data[self._start_line :])

    def _is_over(self, number: str) -> bool:
        self.stdout.flush()
        now = time.monotonic()
        wall = self._settings.wall_seconds
        if wall is not None and now - self._started_at > wall:
            self.out_of_wall = True
        if self.out_of_wall or self.stdout.is_over or self.stderr.is_over:
            return True
        if now - self._asked_at < ASK_SECONDS:
            return False
        self._asked_at = now
        if self._ended_at is not None:
            return now - self._ended_at > SILENT_SECONDS
        if not self._engine.call("GET", f"/exec/{number}/json")["Running"]:
            self._ended_at = now
        return self._is_over_cpu(now)

    def _is_over_cpu(self, now: float) -> bool:
        """Looks when the limit can have been passed at the earliest.

        The guard answers at once; the engine's own statistics take a second.
        """
        limit = self._settings.cpu_seconds
        if limit is None or now < self._look_at:
            return False
        left = limit - (self._report().cpu_seconds - self.used_before)
        self._look_at = now + left / (self._settings.cpus or 1.0)
        return left < 0

    def _read_status(self, number: str) -> None:
        """The engine learns of the end a little after the streams have ended."""
        deadline = time.monotonic() + 2.0
        while not (self.out_of_wall or self.stdout.is_over or self.stderr.is_over):
            answer = self._engine.call("GET", f"/exec/{number}/json")
            if not answer["Running"]:
                self.status = int(answer["ExitCode"])
                return
            if time.monotonic() > deadline:
                return
            time.sleep(0.005)

    def close(self) -> None:
        self.stdout.finish()


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
