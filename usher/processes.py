"""All processes of a job: its group, and what left the group but descends from us.

What needs /proc does nothing where there is none (macOS): then the group is all we know.
"""

import contextlib
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
END_SECONDS = 5.0
HAS_PROC = os.path.exists("/proc/self/stat")


def adopt_orphans() -> None:
    """Become the parent of what descendants leave behind, as process 1 is anyway."""
    if os.getpid() != 1:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Get SIGKILL when our parent is gone. In a container the kernel ends us all anyway."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Let no process without CAP_SYS_PTRACE read our memory and environment; makes no core dumps.

    https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html: exec undoes it in a child.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def signal_job(leader: int, number: int) -> None:
    """Send a signal to the process group, and to its leader even if that left the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(leader) != leader:
            os.kill(leader, number)


def kill_all(leader: int) -> bool:
    """SIGKILL for the group and for all descendants, and reap them; whether none is left.

    A process that is told so can start no other, but one we have not yet seen can: so again,
    until there is none.
    """
    deadline = time.monotonic() + END_SECONDS
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        if os.getpid() == 1:
            # Everything in this PID namespace, in one step. Nothing else is at home here.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(-1, signal.SIGKILL)
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reap()
        if not has_children():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)


def reap() -> dict[int, int]:
    """Collect the dead children: pid to exit code, or minus the signal."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def has_children() -> bool:
    """Whether any child is left, dead or alive."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def descendants() -> list[int]:
    """Pids of all processes below this one."""
    if not HAS_PROC:
        return []
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            # After the name, which may hold anything: `) S PPID …`
            fields = read_kernel_file(f"/proc/{entry}/stat").rpartition(")")[2].split()
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    below = list(children.get(os.getpid(), ()))
    while below:
        pid = below.pop()
        found.append(pid)
        below += children.get(pid, ())
    return found


def read_kernel_file(path: str) -> str:
    """A small file of /proc or /sys; empty where it is not, or what it tells of is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65_536)
    except OSError:
        return ""
