"""The kernel's data on processes: processor time, memory, and which ones belong to the benchmark
(Linux).
"""

import os
import resource
import signal
import time
from collections import Counter
from pathlib import Path

MARK = "USHER_BENCHMARK"
"""Variable that processes started here carry, by which they are found again."""

_CPU_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's include/linux/posix-timers.h


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process, in nanoseconds' resolution.

    /proc/PID/stat has the same in hundredths of a second, too coarse for one request. The number
    of the clock is what clock_getcpuclockid(3) makes of the process id.
    """
    return time.clock_gettime(((~pid) << 3) | _CPU_CLOCK)


def pss_mib(pid: int) -> float:
    """Resident memory, pages shared with others divided by their number; 0 when it is gone."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def resident_bytes(pid: int) -> int:
    """Resident memory with what is shared; 0 when the process is gone."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * resource.getpagesize() if fields else 0


def descriptors(pid: int) -> Counter[str]:
    """Open descriptors by kind: socket, pipe, anon_inode, file."""
    kinds: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:  # closed meanwhile
            continue
        kind, colon, _ = target.partition(":")
        kinds[kind if colon else "file"] += 1
    return kinds


def carrying(variable: str, value: str) -> list[int]:
    """Processes with this variable in their environment."""
    wanted = f"{variable}={value}"
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in pids if wanted in _read(f"/proc/{pid}/environ").split("\0")]


def kill_marked(mark: str) -> int:
    """Kill what is left of a benchmark's processes; how many there were."""
    pids = carrying(MARK, mark)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(pids)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # it is gone, or not ours
        return ""
