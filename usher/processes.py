"""All processes of a job: its process group, and descendants that left the group.

Functions that need /proc have no effect without it (macOS): then only the group is known.
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
    """Become the parent of orphaned descendants, as process 1 is already."""
    if os.getpid() != 1:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Request SIGKILL when the parent ends. In a container the kernel ends all processes anyway."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_memory() -> None:
    """Deny processes without CAP_SYS_PTRACE access to our memory and environment; disables core
    dumps.

    https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html: exec undoes it in a child.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def signal_job(leader: int, number: int) -> None:
    """Send a signal to the process group, and to its leader if that left the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(leader) != leader:
            os.kill(leader, number)


def kill_all(leader: int) -> bool:
    """Send SIGKILL to the group and all descendants, and reap them; returns whether none is left.

    Repeated until there is none, because a process that was not yet found may start others.
    """
    deadline = time.monotonic() + END_SECONDS
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        if os.getpid() == 1:
            # Everything in this PID namespace, in one step; it has no other processes.
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
    """Reap dead children: pid to exit code, or to the negative signal number."""
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
    """Whether there are children, dead or alive."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def descendants() -> list[int]:
    """Pids of all descendants of this process."""
    if not HAS_PROC:
        return []
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            # After the name, which may have any characters: `) S PPID …`
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
    """A small file of /proc or /sys; empty if it or its process does not exist."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65_536)
    except OSError:
        return ""
