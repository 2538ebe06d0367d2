"""The machine of a process host: forks containers, watches them, and ends them when it ends.

    python -S -m local.hosts.agent

One JSON object a line. In: {"op": "start" | "check" | "signal", "id": n, ...}; out: an answer
{"id": n, ...} to each start and check, and {"exit": n, "code": c, "oom": bool} for the end of what
was started. One thread, standard library only, as few modules as possible: it forks, and a fork
costs the more the larger the process is.

The end of its input means that its owner is gone: it kills everything and ends. When it is killed
itself, the kernel kills its containers (PR_SET_PDEATHSIG, which the helpers that make namespaces
set for what they start in turn).
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from local.hosts.kept_output import KeptOutput

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_RETRY_SECONDS = 0.01
_POLL_SECONDS = 1.0
_CLOSE_POLL_SECONDS = 0.1
_MAXRSS_UNIT = 1024 if sys.platform == "linux" else 1
_END_SECONDS = 5.0
_CHUNK_BYTES = 65536
_PIPE_CHUNKS = 16  # what a pipe holds; a process that got away may go on to fill it
_NICER_BY = 5  # the dispatcher and AWS are on other machines: a rush of starts may not stall them
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

Order = dict[str, Any]


class Child:
    """A forked process: a container, or a health check in one."""

    def __init__(self, order: Order, pid: int, output: int | None) -> None:
        self.number: int = order["id"]
        self.pid = pid
        """Process id of the program, or of the helper that makes its namespaces; leads a process
        group.
        """
        self.depth: int = order["depth"]
        """Number of processes between it and the program."""
        self.needs_init: bool = order.get("init", False)
        """Whether a signal that it does not handle ends it although it is process 1."""
        self.ended_by: int | None = None
        """The signal that ended it in place of an init process."""
        self.most_bytes: int | None = order.get("most_bytes")
        """The memory limit."""
        self.next_check = time.monotonic() + _CLOSE_POLL_SECONDS
        self.is_check = order["op"] == "check"
        self.deadline = time.monotonic() + order["timeout"] if self.is_check else None
        self.pending: list[int] = []
        """Signals that came before there was a program to get them."""
        self.over_memory = False
        self.output = output
        """Reading end of its output, if that goes to a log stream."""
        self.keeps = True
        """False once it could not be kept, as on a full disk: then it is read and dropped."""
        self.stream = str(order.get("stream", ""))
        """Where that is kept."""
        self.kept = self._new_kept(order)

    def read_output(self) -> bool:
        """Keep the next piece of what it printed; whether there was one."""
        if self.output is None:
            return False
        try:
            data = os.read(self.output, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self._keep(lambda kept: kept.write(data))
        return bool(data)

    def close_output(self) -> None:
        """Close the output: no more follows, or nothing reads it."""
        if self.output is not None:
            os.close(self.output)
            self._keep(lambda kept: kept.close())
        self.output = self.kept = None

    def _new_kept(self, order: Order) -> KeptOutput | None:
        if self.output is None:
            return None
        try:
            return KeptOutput(order["stream"])
        except OSError as error:
            self._lose_output(error)
            return None

    def _lose_output(self, error: OSError) -> None:
        self.keeps = False
        sys.stderr.write(
            f"what a container prints into {self.stream} is lost from here on: {error}\n"
        )

    def _keep(self, action: Callable[[KeptOutput], None]) -> None:
        if self.kept is None or not self.keeps:
            return
        try:
            action(self.kept)
        except OSError as error:
            self._lose_output(error)

    def program(self) -> int | None:
        """The process of the program; None while the helpers that make its namespaces still run.

        The last helper executes the program in its own process. Before that it has the helper's
        name, and it may block signals that it unblocks for the program: as process 1 of its
        namespace it would lose them then.
        """
        pid = self.pid
        for _ in range(self.depth):
            below = _children(pid)
            if not below:
                return None
            pid = below[0]
        is_helper = pid != self.pid and _name(pid) == _name(self.pid)
        return None if is_helper else pid

    def deliver(self) -> None:
        """Send pending signals to the program, if it has started."""
        program = self.program() if self.pending else None
        if program is not None:
            for number in self.pending:
                if self.needs_init and not _is_handled(program, number):
                    self.ended_by = number
                    self.kill()
                else:
                    _kill(program, number)
            self.pending.clear()

    def kill(self) -> None:
        """Kill all of it. In namespaces the death of the first process is that of all."""
        strays = [] if self.depth else _descendants(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in strays:
            _kill(pid, signal.SIGKILL)

    def check_memory(self, now: float) -> None:
        """Kill it if it exceeds its memory limit. Checks more often the nearer it is to the
        limit.
        """
        if self.most_bytes is None or now < self.next_check:
            return
        pids = (self.pid, *_descendants(self.pid))
        resident = sum(_resident_bytes(pid) for pid in pids)
        if resident > self.most_bytes and sum(map(_own_bytes, pids)) > self.most_bytes:
            self.over_memory = True
            self.kill()
        near = resident > self.most_bytes / 2
        self.next_check = now + (_CLOSE_POLL_SECONDS if near else _POLL_SECONDS)

    def outcome(self, code: int, peak_bytes: int) -> Order:
        """The report of its end.

        One of its processes may have exceeded the limit between two checks and failed at its
        RLIMIT_DATA. If the kernel had enforced the limit, it would have killed the process.
        """
        grew = self.most_bytes is not None and peak_bytes > self.most_bytes and code != 0
        out_of_memory = self.over_memory or grew
        if self.ended_by is not None and code == 128 + signal.SIGKILL:
            code = 128 + self.ended_by
        killed = 128 + signal.SIGKILL if out_of_memory else code
        return {"exit": self.number, "code": killed, "oom": out_of_memory}


class Agent:
    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._by_pid: dict[int, Child] = {}
        self._by_output: dict[int, Child] = {}
        self._poll = select.poll()
        self._input = b""
        self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        self._poll.register(0, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        open_input = True
        while open_input:
            for descriptor, _ in self._poll.poll(self._patience_ms()):
                if descriptor == 0:
                    open_input = self._read_commands()
                elif descriptor == self._woken:
                    os.read(self._woken, 4096)
                else:
                    self._take_output(self._by_output[descriptor])
            self._reap()
            self._check_children()
        self._end()

    def _patience_ms(self) -> int | None:
        if any(child.pending for child in self._children.values()):
            return round(_RETRY_SECONDS * 1000)
        now = time.monotonic()
        waits = [c.deadline - now for c in self._children.values() if c.deadline is not None]
        waits += [c.next_check - now for c in self._children.values() if c.most_bytes is not None]
        return max(0, round(min(waits) * 1000) + 1) if waits else None

    def _read_commands(self) -> bool:
        data = os.read(0, 65536)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["op"] == "signal":
                self._signal(order)
            else:
                self._fork(order)
        return bool(data)

    def _fork(self, order: Order) -> None:
        try:
            pid, output = _spawn(order)
        except OSError as error:
            _say({"id": order["id"], "error": os.strerror(error.errno or 0)})
            return
        child = Child(order, pid, output)
        if output is not None:
            self._by_output[output] = child
            self._poll.register(output, select.POLLIN)
        self._children[child.number] = self._by_pid[pid] = child
        if not child.is_check:
            _say({"id": child.number, "pid": pid})

    def _take_output(self, child: Child) -> None:
        if not child.read_output():
            self._forget_output(child)

    def _forget_output(self, child: Child) -> None:
        if child.output is not None:
            self._poll.unregister(child.output)
            del self._by_output[child.output]
            child.close_output()

    def _signal(self, order: Order) -> None:
        child = self._children.get(order["id"])
        if child is None:
            return
        number = signal.Signals[order["signal"]]
        if number is signal.SIGKILL:
            child.kill()
        else:
            child.pending.append(number)
            child.deliver()

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            child = self._by_pid.pop(ended.si_pid, None)
            if child is not None:
                child.kill()  # what it left in its group, while the zombie keeps the pid ours
            _, _, usage = os.wait4(ended.si_pid, 0)
            if child is not None:
                by_signal = ended.si_code != os.CLD_EXITED
                code = ended.si_status + (128 if by_signal else 0)
                self._report(child, code, usage.ru_maxrss * _MAXRSS_UNIT)

    def _report(self, child: Child, code: int, peak_bytes: int) -> None:
        del self._children[child.number]
        for _ in range(_PIPE_CHUNKS):  # all of its output is kept before its end is reported
            if not child.read_output():
                break
        self._forget_output(child)
        if child.is_check:
            _say({"id": child.number, "code": code})
        else:
            _say(child.outcome(code, peak_bytes))

    def _check_children(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            child.deliver()
            if child.deadline is not None and now >= child.deadline:
                child.kill()
            child.check_memory(now)

    def _end(self) -> None:
        deadline = time.monotonic() + _END_SECONDS
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        while time.monotonic() < deadline:
            for child in self._children.values():
                child.kill()
            for pid in _descendants(os.getpid()):
                _kill(pid, signal.SIGKILL)
            self._reap()
            if not self._children and not _children(os.getpid()):
                return
            poll.poll(round(_RETRY_SECONDS * 1000))


def _spawn(order: Order) -> tuple[int, int | None]:
    """Fork, and return when the program has started: its pid, and the reading end of its output if
    that goes to a log stream. Raises OSError on failure.
    """
    report, failed = os.pipe2(os.O_CLOEXEC)
    output, printed = os.pipe2(os.O_CLOEXEC) if "stream" in order else (None, None)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, parent, failed, printed)
    os.close(failed)
    error = os.read(report, 16)
    os.close(report)
    if printed is not None:
        os.close(printed)
    if error:
        os.waitpid(pid, 0)
        if output is not None:
            os.close(output)
        raise OSError(int(error), os.strerror(int(error)))
    if output is not None:
        os.set_blocking(output, False)
    return pid, output


def _become(order: Order, parent: int, failed: int, printed: int | None) -> NoReturn:
    """Turn this fork into the program that was ordered, or write the errno and end."""
    try:
        os.setsid()
        os.nice(_NICER_BY)
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it ended before the line above
                os._exit(137)
        nothing = os.open(os.devnull, os.O_RDONLY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = os.open(order["log"], flags, 0o600) if printed is None else printed
        for descriptor, standard in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, standard)
        os.chdir(order["cwd"])
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores the last two
        for name, soft, hard in order["limits"]:
            _limit(getattr(resource, name), soft, hard)
        os.execvpe(order["argv"][0], order["argv"], order["env"])
    except OSError as error:
        os.write(failed, str(error.errno).encode())
    finally:
        os._exit(127)


def _limit(kind: int, soft: int, hard: int) -> None:
    """Set it as far as this user may: the hard limit can be lowered, not raised."""
    try:
        resource.setrlimit(kind, (soft, hard))
    except ValueError:
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (min(soft, most), most))


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _descendants(pid: int) -> list[int]:
    found = _children(pid)
    for child in found:
        found += _children(child)
    return found


def _name(pid: int) -> str:
    """The name of the file that the process executes, which is readable even if its links are
    not.
    """
    return _read(f"/proc/{pid}/comm")


def _resident_bytes(pid: int) -> int:
    numbers = _read(f"/proc/{pid}/statm").split()
    return int(numbers[1]) * resource.getpagesize() if numbers else 0


def _own_bytes(pid: int) -> int:
    """Resident memory with shared pages divided by their sharers: exact, and slow to get."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident_bytes(pid)


def _is_handled(pid: int, number: int) -> bool:
    """Whether the process catches, ignores or blocks the signal, so that it does not end it."""
    masks = dict(line.split(":", 1) for line in _read(f"/proc/{pid}/status").splitlines())
    handled = 0
    for name in ("SigCgt", "SigIgn", "SigBlk"):
        handled |= int(masks.get(name, "0"), 16)
    return bool(handled >> (number - 1) & 1)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _read(path: str) -> str:
    """A file of the kernel; empty if its process is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _say(answer: dict[str, Any]) -> None:
    """Write to the owner; if it is gone, the end of input reports that too."""
    data = json.dumps(answer).encode() + b"\n"
    with contextlib.suppress(BrokenPipeError):
        while data:
            data = data[os.write(1, data) :]


if __name__ == "__main__":
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Agent().run()
