"""Memory limits by control groups, version 1 or 2, where this process may make some.

Where no group can be made, the agent watches the memory of its containers itself.
"""

import contextlib
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """One control group of one container."""

    path: Path
    version: int

    @property
    def kills_file(self) -> Path:
        """Has a line `oom_kill n`: how many processes the kernel killed for using too much."""
        return self.path / ("memory.oom_control" if self.version == 1 else "memory.events")

    def remove(self) -> None:
        """Harmless when it is gone or processes are left in it."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


def candidates() -> list[tuple[Path, int]]:
    """Folders in which groups may be possible: the memory controller's, our own and above."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[Path, int]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found += _upwards(_ROOT / "memory", path, 1)
        elif not controllers:
            found += _upwards(_ROOT, path, 2)
    return found


def _upwards(root: Path, path: str, version: int) -> list[tuple[Path, int]]:
    own = root / path.lstrip("/")
    folders = [own, *(folder for folder in own.parents if folder.is_relative_to(root))]
    return [(folder, version) for folder in folders]


@cache
def usable_parent() -> tuple[Path, int] | None:
    """The folder in which groups work here: one is made, limited and joined to see."""
    for folder, version in candidates():
        group = make(folder, version, f"usher-try-{os.getpid()}", 64 * 1024 * 1024)
        if group is None:
            continue
        works = _child_can_join(group)
        group.remove()
        if works:
            return folder, version
    return None


def _child_can_join(group: Group) -> bool:
    script = 'echo $$ > "$0/cgroup.procs"'
    tried = subprocess.run(["sh", "-c", script, group.path], capture_output=True, check=False)
    return tried.returncode == 0


def make(folder: Path, version: int, name: str, limit_bytes: int) -> Group | None:
    """A group with a hard memory limit and no swap, or None where that is not possible."""
    group = Group(folder / name, version)
    limits = (
        (("memory.limit_in_bytes", True), ("memory.memsw.limit_in_bytes", False))
        if version == 1
        else (("memory.max", True), ("memory.swap.max", False))
    )
    try:
        group.path.mkdir(exist_ok=True)
    except OSError:
        return None
    for file, needed in limits:
        value = "0" if file == "memory.swap.max" else str(limit_bytes)
        if not _write(group.path / file, value) and needed:
            group.remove()
            return None
    return group


def _write(path: Path, value: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY)  # never creates: a missing file is no controller
    except OSError:
        return False
    try:
        os.write(descriptor, value.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_left(prefix: str) -> None:
    """Remove the groups `prefix-...` that a run left behind; those in use stay."""
    for folder, version in candidates():
        if folder.is_dir():
            for path in folder.glob(f"{prefix}-*"):
                Group(path, version).remove()
