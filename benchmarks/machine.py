"""The machine of the measurements."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def describe() -> dict[str, str]:
    """For people: what a figure depends on, and nothing that names the machine."""
    return {
        "processor": f"{os.cpu_count()} x {_first('/proc/cpuinfo', 'model name') or 'unknown'}",
        "memory": f"{_memory_gib():.0f} GiB",
        "system": _system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "docker": _docker() or "none",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()) + " (1, 5, 15 minutes)",
    }


def _memory_gib() -> float:
    kib = _first("/proc/meminfo", "MemTotal").removesuffix(" kB")
    return int(kib or 0) / 1024 / 1024


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _first(path: str, name: str) -> str:
    """The value of the first line `name : value`."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, "")


def _docker() -> str:
    if not shutil.which("docker"):
        return ""
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}, {{.Server.Os}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()
