"""The first process of a container: makes a box for each run that the judge requests.

It runs as root with the few capabilities that namespaces, mounts and control groups need, reads
only the judge's frames on its standard input, and runs no untrusted code itself. It uses the
standard library and the modules of `usher` in `guard_runtime.MODULES` only.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from usher.box import frames, launcher
from usher.box.control_group import ControlGroup, make_group, named_group
from usher.box.inner_boxes import InnerBoxes, narrowed, receive_request
from usher.box.isolation import (
    BEGUN,
    ENDED,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_REMOUNT,
    Started,
    mount,
    start_box,
)
from usher.box.model import WORK, BoxSettings

CONTROL = Path("/sys/fs/cgroup")
ROOT = f"{WORK}/root"
CHUNK = 65_536
MOST_WAITING = 1024 * 1024
"""Maximum output that waits for the judge; then a program's output is left in its pipe."""
MOST_WANTED_BYTES = 1024 * 1024 + 1
"""Maximum size of a single collected file: enough to notice that it exceeds 1 MiB."""
REQUEST_SECONDS = 10.0
DRAIN_SECONDS = 2.0
MIN_POLL_SECONDS = 0.002
DEFAULT_POLL_SECONDS = 0.1


class Judge:
    """The guard's end of the stream to the requesting process. Never blocks, so that requests are
    always read.
    """

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self.source, self.sink = source, sink
        os.set_blocking(source, False)
        os.set_blocking(sink, False)
        self._reader = frames.FrameReader()
        self.waiting = bytearray()
        self.is_gone = False

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Complete frames. Sets `is_gone` at the end of the stream."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return []
        self.is_gone = not data
        return self._reader.feed(data)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        self.waiting += frames.encode(kind, payload)
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe accepts now."""
        with contextlib.suppress(BlockingIOError):
            while self.waiting:
                del self.waiting[: os.write(self.sink, self.waiting[:CHUNK])]

    def flush_all(self) -> None:
        while self.waiting:
            os.set_blocking(self.sink, True)
            self.flush()
        os.set_blocking(self.sink, False)


class Streams:
    """The streams to read and write while a command runs."""

    def __init__(self, judge: Judge, started: Started, stdin: bytes, limit: int | None) -> None:
        self._judge, self._limit = judge, limit
        self._writable = os.dup(judge.sink)
        self._stdin: int | None = started.stdin
        self._waiting = bytearray(stdin)
        self._stdin_ended = False
        self._counts = {frames.STDOUT: 0, frames.STDERR: 0}
        self.is_over = False
        self._open: dict[int, bytes] = {
            started.stdout: frames.STDOUT,
            started.stderr: frames.STDERR,
        }
        for fd in (started.stdin, *self._open):
            os.set_blocking(fd, False)

    @property
    def has_output(self) -> bool:
        return bool(self._open)

    def register(self, selector: selectors.BaseSelector) -> None:
        if len(self._judge.waiting) < MOST_WAITING:
            for fd in self._open:
                selector.register(fd, selectors.EVENT_READ, lambda fd=fd: self.read(fd))
        if self._stdin is not None and self._waiting:
            selector.register(self._stdin, selectors.EVENT_WRITE, self.write)
        if self._judge.waiting:
            # A copy, because a socket is read from as well.
            selector.register(self._writable, selectors.EVENT_WRITE, self._judge.flush)

    def feed(self, data: bytes) -> None:
        self._waiting += data
        self.write()

    def end_stdin(self) -> None:
        self._stdin_ended = True
        self.write()

    def write(self) -> None:
        if self._stdin is None:
            return
        try:
            while self._waiting:
                del self._waiting[: os.write(self._stdin, self._waiting[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # the command reads no more
            self._waiting.clear()
            self._stdin_ended = True
        if self._stdin_ended:
            os.close(self._stdin)
            self._stdin = None

    def read(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            os.close(fd)
            del self._open[fd]
            return
        kind = self._open[fd]
        bytes_left = len(data) if self._limit is None else self._limit - self._counts[kind]
        self.is_over = self.is_over or len(data) > bytes_left
        self._counts[kind] += len(data)
        if bytes_left > 0:
            self._judge.send(kind, data[:bytes_left])

    def close(self) -> None:
        left = [] if self._stdin is None else [self._stdin]
        for fd in (*self._open, *left, self._writable):
            os.close(fd)
        self._open.clear()
        self._stdin = None


class Run:
    """One command, from its start to the end of all its processes."""

    def __init__(
        self,
        judge: Judge,
        spec: dict[str, Any],
        group: ControlGroup,
        scratch: str,
        inner: InnerBoxes | None = None,
    ) -> None:
        self._inner = inner
        self._judge, self._spec, self._group = judge, spec, group
        self._settings = BoxSettings(**spec["settings"])
        self._status_bytes = bytearray()
        self._is_done = self._is_stopped = self._is_killed = self.out_of_wall = False
        self._scratch = scratch
        self._look_at = 0.0

    def attend(self, stdin: bytes) -> dict[str, Any]:
        """The report. Raises OSError if there was no box."""
        fds = [os.open(path, os.O_WRONLY) for path in self._group.joining_files]
        folder = launcher.open_folder(self._group.folder)
        try:
            started = start_box(self._spec, ROOT, self._scratch, fds, folder)
        finally:
            for fd in (*fds, *([] if folder is None else [folder])):
                os.close(fd)
        self._started = started
        streams = Streams(self._judge, started, stdin, self._settings.output_bytes)
        try:
            self._await_begin()
            self._judge.send(frames.READY)
            self._loop(streams, self._is_waiting_for_go)
            self._began_at = time.monotonic()
            self._look_at = self._began_at
            self._loop(streams, self._is_running)
            ended_at = time.monotonic()
            self._end(streams)
        finally:
            streams.close()
            for fd in {started.status_fd, self._go} - {-1}:
                os.close(fd)
            self._kill()
        return self._report(streams, ended_at)

    def _await_begin(self) -> None:
        self._go = self._started.go
        message = os.read(self._started.status_fd, 4096)
        if message != BEGUN:
            raise OSError(message[1:].decode(errors="replace") or "its first process died")

    def _loop(self, streams: Streams, goes_on: Callable[[Streams], float | None]) -> None:
        """Move bytes until `goes_on` returns None; otherwise it returns the maximum time to
        wait.
        """
        while (seconds := goes_on(streams)) is not None:
            # There are few descriptors, and the set changes each time.
            with selectors.PollSelector() as selector:
                streams.register(selector)
                if not self._judge.is_gone:
                    source = self._judge.source
                    selector.register(
                        source, selectors.EVENT_READ, lambda: self._read_stream(streams)
                    )
                if not self._is_done:
                    selector.register(
                        self._started.status_fd, selectors.EVENT_READ, self._read_status
                    )
                if self._inner is not None and self._inner.is_free:
                    selector.register(self._inner, selectors.EVENT_READ, self._inner.accept)
                for key, _ in selector.select(seconds):
                    key.data()

    def _read_stream(self, streams: Streams) -> None:
        for kind, payload in self._judge.receive():
            if kind == frames.GO:
                os.write(self._go, b"g")
                os.close(self._go)
                self._go = -1
            elif kind == frames.STDIN:
                streams.feed(payload)
            elif kind == frames.STDIN_END:
                streams.end_stdin()
            elif kind == frames.STOP:
                self._is_stopped = True

    def _read_status(self) -> None:
        data = os.read(self._started.status_fd, 4096)
        self._status_bytes += data
        self._is_done = not data or self._status_bytes.startswith(ENDED)

    def _is_waiting_for_go(self, _: Streams) -> float | None:
        return None if self._go == -1 or self._judge.is_gone or self._is_stopped else 1.0

    def _is_running(self, streams: Streams) -> float | None:
        settings = self._settings
        now = time.monotonic()
        left = DEFAULT_POLL_SECONDS
        if settings.wall_seconds is not None:
            left = min(left, self._began_at + settings.wall_seconds - now)
            self.out_of_wall = self.out_of_wall or left < 0
        if settings.cpu_seconds is not None:
            if now >= self._look_at:
                unused = settings.cpu_seconds - self._group.usage().cpu_seconds
                self._is_stopped = self._is_stopped or unused < 0
                self._look_at = now + max(MIN_POLL_SECONDS, unused / (settings.cpus or 1.0))
            left = min(left, self._look_at - now)
        is_over = self._is_done or self._is_stopped or self.out_of_wall
        return None if is_over or streams.is_over or self._judge.is_gone else max(0.0, left)

    def _end(self, streams: Streams) -> None:
        """All processes are dead after this, and their last output is read."""
        self._kill()
        deadline = time.monotonic() + DRAIN_SECONDS
        self._loop(
            streams,
            lambda now: (
                max(0.0, deadline - time.monotonic())
                if now.has_output and not now.is_over and time.monotonic() < deadline
                else None
            ),
        )

    def _kill(self) -> None:
        """Kill the first process, with which the kernel ends its PID namespace, and the control
        group.
        """
        if self._is_killed or (not self._settings.ends_all and self._is_done):
            return
        self._is_killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._started.pid, signal.SIGKILL)
        self._group.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._started.pid, 0)

    def _report(self, streams: Streams, ended_at: float) -> dict[str, Any]:
        status_bytes = bytes(self._status_bytes)
        if status_bytes and not status_bytes.startswith(ENDED):
            raise OSError(status_bytes[1:].decode(errors="replace"))
        used = self._group.usage()
        return {
            "status": int(status_bytes[1:]) if status_bytes else 128 + signal.SIGKILL,
            "cpu_seconds": used.cpu_seconds,
            "memory_bytes": used.memory_bytes,
            "memory_kills": used.memory_kills,
            "out_of_wall": self.out_of_wall,
            "too_much_output": streams.is_over,
            "cpu_limit": self._settings.cpu_seconds,
            "wall_seconds": ended_at - self._began_at,
            "ended_at": ended_at,
        }


class Guard:
    """Processes one run after the other."""

    def __init__(self) -> None:
        self._judge = Judge()
        self._count = 0
        self._left_running = False
        self._own = prepare_groups()
        os.mkdir(ROOT)

    def serve(self) -> None:
        """Run until the judge has closed the stream; then the container ends with all its
        processes.
        """
        with selectors.PollSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            while not self._judge.is_gone:
                selector.select()
                for kind, payload in self._judge.receive():
                    if kind == frames.RUN:
                        self._run(payload)
        while self._left_running:
            with contextlib.suppress(ChildProcessError):
                os.wait()

    def _run(self, payload: bytes) -> None:
        self._count += 1
        scratch = f"{WORK}/{self._count}"
        inner = None
        try:
            spec, rest = frames.unpack_message(payload)
            contents = frames.take_contents(rest, _sizes(spec))
            stdin = contents.pop()
            if not spec["folders"] and not spec["inner"]:  # an image names its users by number
                spec["user"] = launcher.own_user(spec["user"])
            self._make_scratch(scratch, spec, contents)
            if spec["inner"]:
                inner = InnerBoxes(scratch, spec, contents, self._serve_inner, self._end_inner)
            group = self._make_group(spec, f"run-{self._count}")
        except (OSError, ValueError) as error:
            self._judge.send(frames.TROUBLE, str(error).encode())
            return
        self._run_in(group, scratch, spec, stdin, inner)

    def _run_in(
        self,
        group: ControlGroup,
        scratch: str,
        spec: dict[str, Any],
        stdin: bytes,
        inner: InnerBoxes | None,
    ) -> None:
        settings = BoxSettings(**spec["settings"])
        trouble = ""
        try:
            report = Run(self._judge, spec, group, scratch, inner).attend(stdin)
            left_out: list[str] = []
            found = self._collected(scratch, spec, left_out)
            report["files"] = [[name, mode, len(data)] for name, mode, data in found]
            report["left_out"] = left_out
        except OSError as error:
            trouble = str(error) or repr(error)
        finally:
            if inner is not None:
                inner.close()
            if settings.ends_all:
                group.remove()
                _reap()
            else:
                self._left_running = True
            launcher.check(launcher.libc.umount2(scratch.encode(), MNT_DETACH))
            os.rmdir(scratch)
        if trouble:
            self._judge.send(frames.TROUBLE, trouble.encode())
        else:
            report["is_clean"] = not group.exists and is_alone()
            message = frames.pack_message(report, (data for _, _, data in found))
            self._judge.send(frames.DONE, message)
        self._judge.flush_all()

    def _serve_inner(self, connection: socket.socket, spec: dict[str, Any], scratch: str) -> None:
        """Serve one request of `usher-box`, in a separate process."""
        asked, stdin = receive_request(connection, REQUEST_SECONDS)
        spec = narrowed(spec, asked)
        group = self._make_group(spec, self._inner_name)
        judge = Judge(connection.fileno(), connection.fileno())
        try:
            report = Run(judge, spec, group, scratch).attend(stdin)
            judge.send(frames.DONE, frames.pack_message(report, []))
        finally:
            group.remove()
            judge.flush_all()

    @property
    def _inner_name(self) -> str:
        return f"run-{self._count}-inner"

    def _end_inner(self) -> None:
        group = named_group(self._inner_name, CONTROL, self._own)
        if group is not None:
            group.remove()

    def _make_group(self, spec: dict[str, Any], name: str) -> ControlGroup:
        group = make_group(BoxSettings(**spec["settings"]), name, CONTROL, self._own)
        if group is None:
            raise OSError("no control group can be made in the container")
        return group

    @staticmethod
    def _collected(
        scratch: str, spec: dict[str, Any], left_out: list[str]
    ) -> list[tuple[str, int, bytes]]:
        found = launcher.collect_named(
            [
                (f"{scratch}/{number}/{name}", f"{folder['path']}/{name}")
                for number, folder in enumerate(spec["folders"])
                for name in folder["wanted"]
            ],
            MOST_WANTED_BYTES,
        )
        if spec["collect"]:
            found += launcher.collect(f"{scratch}/box", spec["collect_bytes"], left_out)
        return found

    @staticmethod
    def _make_scratch(scratch: str, spec: dict[str, Any], contents: list[bytes]) -> None:
        os.mkdir(scratch)
        flags = MS_NOSUID | MS_NODEV
        mount("scratch", scratch, "tmpfs", flags, spec["scratch_options"])
        take = iter(contents)
        user = spec["user"]
        given = [(file, next(take)) for file in spec["files"]]
        launcher.fill_scratch(scratch, given, user, writable=spec["writable"])
        for number, folder in enumerate(spec["folders"]):
            os.mkdir(f"{scratch}/{number}")
            given = [(file, next(take)) for file in folder["files"]]
            launcher.fill_folder(f"{scratch}/{number}", given, user, writable=folder["writable"])
        contents[:] = take  # those of the inner box


def prepare_groups() -> str:
    """Make the container's control groups writable; returns the guard's own group, as the text that
    /proc/self/cgroup would have with the container's as the root. Raises OSError.
    """
    flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV
    if (CONTROL / "cgroup.controllers").exists():
        mount("", str(CONTROL), flags=flags)
        # In version 2 a group with processes cannot enable controllers for its children.
        (CONTROL / "guard").mkdir(exist_ok=True)
        (CONTROL / "guard/cgroup.procs").write_text("0")
        return "0::/"
    names = [
        name
        for name in ("cpu", "cpuacct", "memory", "pids")
        if (CONTROL / name / "cgroup.procs").exists()
    ]
    for name in names:
        mount("", str((CONTROL / name).resolve()), flags=flags)
    return "\n".join(f"1:{name}:/" for name in names)


def _sizes(spec: dict[str, Any]) -> list[int]:
    """Sizes of all contents of a message, in order."""
    listed = [*spec["files"]]
    for folder in spec["folders"]:
        listed += folder["files"]
    listed += (spec["inner"] or {"files": []})["files"]
    return [*(size for _, _, size in listed), spec["stdin_bytes"]]


def is_alone() -> bool:
    """Whether the container has no process besides this one."""
    return all(int(name) == os.getpid() for name in os.listdir("/proc") if name.isdigit())


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """The container's command."""
    try:
        Guard().serve()
    except OSError as error:
        sys.stderr.write(f"usher: the guard of the box failed: {error} ({error.filename})\n")
        sys.exit(1)
