"""Limits a local run to its CPU units: exactly with a control group, else approximately.

1024 units are one core, as on ECS.
"""

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from usher.processes import read_kernel_file

ROOT = Path("/sys/fs/cgroup")
UNITS_PER_CORE = 1024
PERIOD_US = 100_000
LEAST_QUOTA_US = 1_000
NICER_BY = 5
REMOVE_SECONDS = 1.0
PREFIX = "usher-run-"


@dataclass(frozen=True)
class CpuLimit:
    """`enforced` describes the limit. `join` is called by the process to limit."""

    enforced: str
    group: Path | None
    cores: int

    def join(self) -> None:
        """Limit this process and its children from now on."""
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))
            return
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.cores])
        os.nice(NICER_BY)

    def remove(self) -> None:
        """Remove the limit after all processes of the run have ended."""
        deadline = time.monotonic() + REMOVE_SECONDS
        while self.group is not None and self.group.exists():
            try:
                self.group.rmdir()
            except OSError:  # the last process has not quite ended
                if time.monotonic() > deadline:
                    return
                time.sleep(0.01)


def limit_cpu(units: int) -> CpuLimit:
    """The most exact limit that this machine allows."""
    cores = math.ceil(units / UNITS_PER_CORE)
    quota = max(LEAST_QUOTA_US, units * PERIOD_US // UNITS_PER_CORE)
    for parent, settings in _possible_parents(quota):
        _remove_abandoned(parent)
        group = parent / f"{PREFIX}{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            try:
                for name, value in settings.items():
                    (group / name).write_text(value)
            except OSError:
                group.rmdir()
                continue
            return CpuLimit("by a control group", group, cores)
    if hasattr(os, "sched_setaffinity"):
        word = "core" if cores == 1 else "cores"
        return CpuLimit(f"only by keeping it on {cores} {word}, with less priority", None, cores)
    return CpuLimit("not enforced, only with less priority", None, cores)


def _remove_abandoned(parent: Path) -> None:
    """Groups of runs that were killed before they removed them; one in use cannot be removed."""
    for group in parent.glob(f"{PREFIX}*"):
        pid = group.name.removeprefix(PREFIX)
        if pid.isdecimal() and not _exists(int(pid)):
            with suppress(OSError):
                group.rmdir()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _possible_parents(quota_us: int) -> list[tuple[Path, dict[str, str]]]:
    """Control groups below which one that limits CPU could be made, and the values to write
    there.
    """
    places = []
    for line in read_kernel_file("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if "cpu" in controllers.split(","):
            settings = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
            places.append((ROOT / controllers / below, settings))
            places.append((ROOT / "cpu" / below, settings))
        elif not controllers and (ROOT / "cgroup.controllers").exists():
            # Version 2: a group with processes can have no limited children, so use a sibling.
            parent = (ROOT / below).parent if below else ROOT
            if "cpu" in read_kernel_file(str(parent / "cgroup.subtree_control")).split():
                places.append((parent, {"cpu.max": f"{quota_us} {PERIOD_US}"}))
    return places
