"""Samples the resources of a process tree from outside, if no control group counts them."""

import os

from usher.box.model import MIB, BoxSettings, Usage
from usher.processes import read_kernel_file

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Watch:
    """Keeps the maximum memory of all samples, and whether a limit was exceeded."""

    def __init__(self, leader: int, settings: BoxSettings) -> None:
        self._leader = leader
        self._settings = settings
        self._peak = 0
        self._kills = 0
        self._own_ticks: dict[tuple[int, str], int] = {}
        """Processor time of every process that was seen, by its number and its start."""
        self.too_many = False

    def look(self) -> Usage:
        """Processor time of live processes, of dead ones that were waited for, and of dead ones
        that were sampled alive; total memory.

        A parent has a child's time only after it waited for it, and one that ignores SIGCHLD never
        does (getrusage(2)); therefore the sampled time of each process is kept.
        """
        ticks = pages = count = 0
        for pid in descendants_of(self._leader):
            fields = read_kernel_file(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if len(fields) > 21:
                ticks += sum(int(field) for field in fields[11:15])
                self._own_ticks[pid, fields[19]] = int(fields[11]) + int(fields[12])
                pages += max(0, int(fields[21]))
                count += 1
        memory = pages * _PAGE
        self._peak = max(self._peak, memory)
        limit = self._settings.memory_mib
        if limit is not None and memory > limit * MIB:
            self._kills += 1
        if self._settings.processes is not None and count > self._settings.processes:
            self.too_many = True
        ticks = max(ticks, sum(self._own_ticks.values()))
        return Usage(ticks / _TICK, self._peak, self._kills, is_exact=False)


def descendants_of(leader: int) -> list[int]:
    """Pids of all descendants of a process."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            fields = read_kernel_file(f"/proc/{entry}/stat").rpartition(")")[2].split()
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    below = list(children.get(leader, ()))
    while below:
        pid = below.pop()
        found.append(pid)
        below += children.get(pid, ())
    return found
