"""Control groups for boxes without a container engine.

Version 2, if the needed controllers can be enabled below a writable group; else the separate
hierarchies of version 1. https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from usher.box.model import MIB, BoxSettings, Usage
from usher.processes import read_kernel_file

ROOT = Path("/sys/fs/cgroup")
PREFIX = "usher-box-"
REMOVE_SECONDS = 2.0
_PERIOD_US = 100_000
_NEEDED = ("memory", "pids")


@dataclass(frozen=True)
class ControlGroup:
    """One group for each controller; in version 2 they are the same directory."""

    folders: Mapping[str, Path]
    version: int

    @property
    def joining_files(self) -> list[str]:
        """A process of one thread joins by writing 0 to each of these files.

        In version 1 that is `tasks`: a thread moves itself at once, while a write to `cgroup.procs`
        waits 10 to 20 ms for the forks and ends of all processes of the machine. In version 2 a
        process is started in `folder` instead, and writes only where the kernel cannot do that.
        """
        name = "tasks" if self.version == 1 else "cgroup.procs"
        return self._files(name)

    @property
    def folder(self) -> str | None:
        """The directory in which `launcher.fork_into` starts a process; None in version 1."""
        return str(self.folders["memory"]) if self.version == 2 else None

    def _files(self, name: str) -> list[str]:
        return [str(folder / name) for folder in dict.fromkeys(self.folders.values())]

    def usage(self) -> Usage:
        """Resources used so far by all processes that are or were in it."""
        return v2_usage(self.folders["memory"]) if self.version == 2 else v1_usage(self.folders)

    @property
    def exists(self) -> bool:
        """Whether one of its directories exists."""
        return any(folder.exists() for folder in self.folders.values())

    def kill(self) -> None:
        """Send SIGKILL to every process in it. New ones may start while one is left."""
        with contextlib.suppress(OSError):
            (self.folders["memory"] / "cgroup.kill").write_text("1")
            return
        for file in self._files("cgroup.procs"):
            for word in read_kernel_file(file).split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(word), 9)

    def remove(self) -> None:
        """Kill the remaining processes and remove the group. Returns after REMOVE_SECONDS at the
        latest.
        """
        deadline = time.monotonic() + REMOVE_SECONDS
        left = set(self.folders.values())
        while left and time.monotonic() < deadline:
            for folder in list(left):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    left.discard(folder)
                except OSError:
                    self.kill()
                    time.sleep(0.005)
                else:
                    left.discard(folder)


def v2_usage(folder: Path) -> Usage:
    """Resources used, from the files of one group of version 2."""
    cpu = _fields(folder / "cpu.stat").get("usage_usec", 0) / 1e6
    kills = _fields(folder / "memory.events").get("oom_kill", 0)
    return Usage(cpu, _number(folder / "memory.peak"), kills)


def v1_usage(folders: Mapping[str, Path]) -> Usage:
    """Resources used, from the files of the hierarchies of version 1."""
    cpu = _number(folders["cpuacct"] / "cpuacct.usage") / 1e9 if "cpuacct" in folders else 0.0
    memory = folders["memory"]
    kills = _fields(memory / "memory.oom_control").get("oom_kill", 0)
    return Usage(cpu, _number(memory / "memory.max_usage_in_bytes"), kills)


def _number(path: Path) -> int:
    text = read_kernel_file(str(path)).strip()
    return int(text) if text.isdecimal() else 0


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in read_kernel_file(str(path)).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def make_group(
    settings: BoxSettings, name: str, root: Path = ROOT, own: str | None = None
) -> ControlGroup | None:
    """A new group with the limits of `settings`; None if none can be made.

    `own` is the text of /proc/self/cgroup.
    """
    text = read_kernel_file("/proc/self/cgroup") if own is None else own
    for group in _candidates(text, root, name):
        try:
            for folder in dict.fromkeys(group.folders.values()):
                folder.mkdir()
            for path, value, is_needed in _values(group, settings):
                if is_needed or path.exists():
                    path.write_text(value)
        except OSError:
            group.remove()
            continue
        return group
    return None


def named_group(name: str, root: Path, own: str) -> ControlGroup | None:
    """The group that `make_group` made under this name; None if it does not exist."""
    for group in _candidates(own, root, name):
        if group.exists:
            return group
    return None


def _candidates(text: str, root: Path, name: str) -> Iterator[ControlGroup]:
    version1: dict[str, Path] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if not controllers and (root / "cgroup.controllers").exists():
            for parent in dict.fromkeys(((root / below).parent if below else root, root)):
                if _enable(parent):
                    yield ControlGroup(dict.fromkeys(("cpu", *_NEEDED), parent / name), 2)
        for controller in controllers.split(","):
            if controller in ("cpu", "cpuacct", *_NEEDED):
                version1[controller] = root / controllers / below / name
    if all(controller in version1 for controller in (*_NEEDED, "cpuacct")):
        yield ControlGroup(version1, 1)


def _enable(parent: Path) -> bool:
    control = parent / "cgroup.subtree_control"
    missing = {"cpu", *_NEEDED} - set(read_kernel_file(str(control)).split())
    if not missing:
        return True
    try:
        control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
    except OSError:
        return False
    return True


def _values(group: ControlGroup, settings: BoxSettings) -> Iterator[tuple[Path, str, bool]]:
    """(file, value, whether it must exist)."""
    memory, pids, cpu = (group.folders.get(name) for name in ("memory", "pids", "cpu"))
    if memory is not None and settings.memory_mib is not None:
        size = str(settings.memory_mib * MIB)
        if group.version == 2:
            yield memory / "memory.max", size, True
            yield memory / "memory.swap.max", "0", False
        else:
            yield memory / "memory.limit_in_bytes", size, True
            yield memory / "memory.memsw.limit_in_bytes", size, False
    if pids is not None and settings.processes is not None:
        yield pids / "pids.max", str(settings.processes), True
    if cpu is not None and settings.cpus is not None:
        quota = int(settings.cpus * _PERIOD_US)
        if group.version == 2:
            yield cpu / "cpu.max", f"{quota} {_PERIOD_US}", False
        else:
            yield cpu / "cpu.cfs_period_us", str(_PERIOD_US), False
            yield cpu / "cpu.cfs_quota_us", str(quota), False
