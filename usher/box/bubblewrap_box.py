"""Boxes with bubblewrap, for machines without a container engine."""

import contextlib
import glob
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

from usher.box import launcher
from usher.box.bubblewrap import (
    CONFIGURATION,
    ETC,
    LARGE_CONFIGURATION,
    SYSTEM,
    bubblewrap_command,
    launcher_spec,
)
from usher.box.control_group import PREFIX, ControlGroup, make_group
from usher.box.launcher_process import LauncherProcess, memory_file, start_launcher
from usher.box.model import (
    BoxError,
    BoxSettings,
    File,
    Outcome,
    Task,
    Usage,
    decide_limit,
    split_status,
)
from usher.box.pump import TICK_SECONDS, Ends, Kept, Pump
from usher.box.seccomp import AUDIT_ARCH, bpf_program
from usher.box.watching import Watch

_TRY_SECONDS = 10.0
MOST_READY = 2
"""Processes that start launchers, kept for further submissions: an interactor and its submission
need two.
"""
END_SECONDS = 10.0
"""Time for a launcher to report after SIGTERM, and to end after SIGKILL."""


def bubblewrap_missing() -> str:
    """Why bubblewrap makes no box here; empty if it does. It is tried, because kernels may forbid
    it.
    """
    if not sys.platform.startswith("linux"):
        return "bubblewrap needs Linux"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    if platform.machine() not in AUDIT_ARCH:
        return f"there is no filter of system calls for {platform.machine()}"
    try:
        tried = BubblewrapBoxes().run(Task(("true",)), BoxSettings(wall_seconds=_TRY_SECONDS))
    except BoxError as error:
        return str(error)
    output = tried.stderr.decode(errors="replace").strip()
    return "" if tried.is_success else f"bubblewrap does not work: {output or tried}"


class BubblewrapBoxes:
    """Runs commands in namespaces and, if possible, a control group, without privileges."""

    name = "bubblewrap"

    def __init__(self, parent: "BubblewrapBoxes | None" = None) -> None:
        """`parent`: boxes that lend these the processes that start launchers; `close` returns
        them.
        """
        self._parent = parent
        self._ready: list[_Launchers] = []

    def session(self) -> "BubblewrapBoxes":
        """Boxes for the runs of one submission."""
        return BubblewrapBoxes(self)

    def close(self) -> None:
        """End the processes that were kept ready, or leave them to the next session."""
        while self._ready:
            launchers = self._ready.pop()
            if self._parent is None or len(self._parent._ready) >= MOST_READY:
                launchers.close()
            else:
                self._parent._ready.append(launchers)

    def run(self, task: Task, settings: BoxSettings) -> Outcome:
        """Raises BoxError if the box could not be made or watched."""
        with contextlib.ExitStack() as stack:
            ends = stack.enter_context(contextlib.closing(Ends(task.stdin_fd, task.stdout_fd)))
            launchers = self._take()
            stack.callback(self._put_back, launchers)
            group = make_group(settings, PREFIX + uuid.uuid4().hex[:12])
            if group is not None and settings.ends_all:
                stack.callback(group.remove)
            return launchers.run(task, settings, group, ends)

    def _take(self) -> "_Launchers":
        """May be called concurrently, as an interactor and its submission do."""
        for ready in (self._ready, [] if self._parent is None else self._parent._ready):
            while ready:
                launchers = ready.pop()
                if launchers.is_alive:
                    return launchers
                launchers.close()
        return _Launchers()

    def _put_back(self, launchers: "_Launchers") -> None:
        if self._parent is not None and launchers.is_good:
            self._ready.append(launchers)
        else:
            launchers.close()


class _Launchers:
    """The process that starts one launcher after the other."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="usher-box-"))
        if os.getuid() == 0:
            os.chmod(folder, 0o711)  # noqa: S103 - the box's user passes through, sees nothing
        # Each launcher mounts a file system there, which no other process sees.
        os.mkdir(os.path.join(folder, "scratch"))
        self._scratch = mount_point(os.path.join(folder, "scratch"))
        self._etc = os.path.join(folder, "etc")
        _copy_configuration(self._etc)
        self._requests, theirs = socket.socketpair()
        self._stack.callback(self._requests.close)
        # the launcher inherits the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            self._server = subprocess.Popen(
                [sys.executable, "-I", "-S", launcher.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.is_good = True
        """Whether it may process another run: each earlier run had an outcome."""

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._server.poll() is None

    def close(self) -> None:
        """End it, and a remaining launcher."""
        self._server.kill()
        self._server.wait()
        self._stack.close()

    def run(
        self, task: Task, settings: BoxSettings, group: ControlGroup | None, ends: Ends
    ) -> Outcome:
        """Raises BoxError."""
        self.is_good = False
        report = memory_file("report")
        with contextlib.closing(report), contextlib.closing(self._launch(report)) as process:
            self._give(process, task, settings, group)
            run = _Run(process, settings, group, task)
            run.attend()
            ends.close()
            report.seek(0)
            outcome = run.outcome(report)
        self.is_good = True
        return outcome

    def _launch(self, report: IO[bytes]) -> LauncherProcess:
        """A launcher that waits for its input."""
        with memory_file("filter") as rules:
            rules.write(bpf_program(platform.machine()))
            rules.seek(0)
            return start_launcher(self._requests, report.fileno(), rules.fileno())

    def _give(
        self,
        process: LauncherProcess,
        task: Task,
        settings: BoxSettings,
        group: ControlGroup | None,
    ) -> None:
        """Send the input. Raises BoxError if the launcher has ended."""
        filter_fd = launcher.FILTER_FD if settings.syscall_filter else None
        command = bubblewrap_command(task, settings, self._scratch, _system(), filter_fd)
        spec = launcher_spec(
            task,
            settings,
            scratch=self._scratch,
            etc=self._etc,
            command=[shutil.which("bwrap") or "bwrap", *command[1:]],
            groups=group.joining_files if group else [],
            group=group.folder if group else None,
            environment={} if settings.clean_environment else os.environ,
        )
        task.on_ready()
        contents = [json.dumps(spec).encode() + b"\n", *(one.data for one in task.files.values())]
        process.give(contents)


@cache
def _system() -> Mapping[str, str | None]:
    """The paths of this machine that the box shows: path to the target of a link, or None."""
    shown: dict[str, str | None] = {}
    large = (os.path.join(ETC, name) for name in _in_etc(LARGE_CONFIGURATION))
    for path in map(Path, (*SYSTEM, *large)):
        if path.is_symlink():
            shown[str(path)] = str(path.readlink())
        elif path.exists():
            shown[str(path)] = None
    return shown


def mount_point(folder: str) -> str:
    """Where the scratch file system is mounted: there, or over the first directory on the way that
    the box's user may not pass through. Only the launcher and the box see it.
    """
    if os.getuid() != 0:  # the box's user is this one
        return folder
    closed = (path for path in reversed(Path(folder).parents) if not path.stat().st_mode & 0o001)
    return str(next(closed, folder))


def _copy_configuration(target: str) -> None:
    """Copy what the box shows of /etc into the new directory `target`, with its links and modes;
    not what this user may not read.
    """
    os.mkdir(target)
    os.chmod(target, 0o755)  # noqa: S103 - read by the box's user
    for name in _in_etc(LARGE_CONFIGURATION):
        os.mkdir(os.path.join(target, name))  # the directory itself is shown there
    for name in _in_etc(CONFIGURATION):
        source, copy = os.path.join(ETC, name), os.path.join(target, name)
        with contextlib.suppress(PermissionError, shutil.Error):
            if os.path.isdir(source):
                shutil.copytree(source, copy, symlinks=True)
            else:
                shutil.copy2(source, copy)


@cache
def _in_etc(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for one in patterns for name in sorted(glob.glob(one, root_dir=ETC)))


class _Run:
    """One launcher and its reports."""

    def __init__(
        self,
        process: LauncherProcess,
        settings: BoxSettings,
        group: ControlGroup | None,
        task: Task,
    ) -> None:
        self._process = process
        self._settings = settings
        self._group = group
        self._task = task
        self._stdout = Kept(settings.output_bytes, task.stdout_fd)
        self._stderr = Kept(settings.output_bytes)
        self._out_of_wall = False
        self._watch = Watch(process.pid, settings)
        self._usage: Callable[[], Usage] = group.usage if group else self._watch.look
        self._seconds = self._ended_at = 0.0

    def attend(self) -> None:
        """Wait until the launcher has ended, which it does after all processes of the box."""
        process, settings = self._process, self._settings
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        started_at = time.monotonic()
        os.set_blocking(stdin.fileno(), False)

        def is_over() -> bool:
            self._stdout.flush()
            passed = time.monotonic() - started_at
            if settings.wall_seconds is not None and passed > settings.wall_seconds:
                self._out_of_wall = True
            return self._out_of_wall or process.has_ended() or self._is_over_limit()

        pump = Pump(stdin.fileno(), process.close_stdin, self._task.stdin, self._task.stdin_fd)
        try:
            pump.read(stdout.fileno(), self._stdout.take)
            pump.read(stderr.fileno(), self._stderr.take)
            pump.run(is_over)
            while not process.has_ended(TICK_SECONDS) and not is_over():
                pass
        finally:
            self._ended_at = time.monotonic()
            self._seconds = self._ended_at - started_at
            self._last = self._usage() if self._group is None else None
            pump.close()
            self._end()
            process.close_stdin()
            self._stdout.finish()

    def _is_over_limit(self) -> bool:
        used, settings = self._usage(), self._settings
        too_long = settings.cpu_seconds is not None and used.cpu_seconds > settings.cpu_seconds
        too_much = self._stdout.is_over or self._stderr.is_over
        watched = self._group is None and (used.memory_kills > 0 or self._watch.too_many)
        return too_long or too_much or watched

    def _end(self) -> None:
        if self._process.has_ended():
            return
        self._process.signal(signal.SIGTERM)
        if not self._process.has_ended(END_SECONDS):
            self._process.signal(signal.SIGKILL)
            self._process.has_ended(END_SECONDS)

    def outcome(self, report_file: IO[bytes]) -> Outcome:
        """The outcome in the launcher's report."""
        try:
            report: dict[str, Any] = json.loads(report_file.readline())
        except ValueError:
            output = bytes(self._stderr.data[-500:]).decode(errors="replace")
            raise BoxError(f"the launcher of the box died: {output}") from None
        if "trouble" in report:
            raise BoxError(f"no box: {report['trouble']}")
        usage = self._counted(report)
        # The kernel's out-of-memory killer may choose bubblewrap itself.
        if not report["began"] and usage.memory_kills == 0:
            output = bytes(self._stderr.data[-500:]).decode(errors="replace")
            raise BoxError(f"no box: {output.strip()}")
        code, number = split_status(report["status"])
        return Outcome(
            code,
            number,
            usage,
            self._seconds,
            bytes(self._stdout.data),
            bytes(self._stderr.data),
            decide_limit(
                usage,
                self._settings,
                out_of_wall=self._out_of_wall,
                too_much_output=self._stdout.is_over or self._stderr.is_over,
            ),
            {name: File(report_file.read(size), mode) for name, mode, size in report["files"]},
            self._ended_at,
            tuple(report["left_out"]),
        )

    def _counted(self, report: dict[str, Any]) -> Usage:
        if self._group is not None:
            return self._group.usage()
        seen = self._last or self._watch.look()
        return Usage(
            max(seen.cpu_seconds, report["cpu_seconds"]),
            max(seen.memory_bytes, report["memory_bytes"]),
            seen.memory_kills,
            is_exact=False,
        )
