"""Memory figures of the kernel: the container's limit and peak, or a process tree's use."""

import resource
import sys

from usher.ending import Memory
from usher.processes import descendants, read_kernel_file

MIB = 1024 * 1024
NO_LIMIT = 1 << 62
"""Control groups version 1 have a number around 2^63 for no limit."""
NEAR = 0.95
_PAGE = resource.getpagesize()
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class ControlGroup:
    """The container's own control group, as seen from within, in either version."""

    FILES = (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory.events"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.max_usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.oom_control",
        ),
    )

    def __init__(self) -> None:
        self.limit_bytes: int | None = None
        """The group's limit; None = it has none, so it is not a container's group, and its figures
        are not this container's.
        """
        for limit, peak, events in self.FILES:
            text = read_kernel_file(limit).strip()
            if text.isdecimal() and int(text) < NO_LIMIT:
                self.limit_bytes, self._peak, self._events = int(text), peak, events
                return

    def peak_bytes(self) -> int | None:
        """The maximum memory in use, including the page cache."""
        text = "" if self.limit_bytes is None else read_kernel_file(self._peak).strip()
        return int(text) if text.isdecimal() else None

    def kills(self) -> int:
        """The number of processes that the kernel killed for lack of memory."""
        if self.limit_bytes is None:
            return 0
        for line in read_kernel_file(self._events).splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill" and number.isdecimal():
                return int(number)
        return 0

    def facts(self) -> Memory:
        """The input for the decision how a run ended."""
        if self.limit_bytes is None:
            return Memory()
        peak = self.peak_bytes() or 0
        return Memory(
            limit_mib=self.limit_bytes // MIB,
            killed_by_kernel=self.kills() > 0,
            near_limit=peak >= NEAR * self.limit_bytes,
        )


def largest_child_bytes() -> int:
    """The maximum resident size of any reaped process."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT


def tree_bytes(more_than: int) -> int:
    """The memory of all descendants of this process, with shared pages counted once.

    That is slow, so the fast sum (shared pages counted for each process) is returned if it does not
    exceed `more_than`.
    """
    pids = descendants()
    quick = sum(_resident_bytes(pid) for pid in pids)
    return quick if quick <= more_than else sum(_own_bytes(pid) for pid in pids)


def _resident_bytes(pid: int) -> int:
    fields = read_kernel_file(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def _own_bytes(pid: int) -> int:
    for line in read_kernel_file(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident_bytes(pid)
