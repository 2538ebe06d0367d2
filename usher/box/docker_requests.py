"""What the Docker Engine is asked for one box. Pure.

The container's first program is a guard of our own, a shell script that runs as another user than
the strangers' command: it unpacks the files, waits, and at the end says what the control group
counted. The command is then started beside it (`exec`), and everything ends with the container.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from usher.box.bubblewrap import box_environment
from usher.box.model import MIB, WORK, BoxError, BoxSettings, Task, Usage

LABEL = "usher.box"
GUARD = 64003
"""User and group id of the guard."""
READY = b"usher-box-ready\n"
END = b"usher-box-end\n"

# Built-in commands of the shell only where the strangers' command runs: a fork might fail then.
GUARD_SCRIPT = """\
umask 022
head -c "$1" | tar -xf - -C "$2" || exit 9
echo usher-box-ready
while read -r _; do
  for f in cpu.stat memory.peak memory.events cpuacct/cpuacct.usage \
  memory/memory.max_usage_in_bytes memory/memory.oom_control; do
    if [ -r "/sys/fs/cgroup/$f" ]; then
      while read -r a b; do echo "$f $a $b"; done < "/sys/fs/cgroup/$f"
    fi
  done
  echo usher-box-end
done
"""

# What was used until the command starts is not the command's: its first line says how much.
START_SCRIPT = """\
for f in cpu.stat cpuacct/cpuacct.usage; do
  if [ -r "/sys/fs/cgroup/$f" ]; then
    read -r a b < "/sys/fs/cgroup/$f"; echo "usher-box-start $a $b" >&2; break
  fi
done
exec env -i "$@"
"""
START_LINE = re.compile(rb"usher-box-start (?:usage_usec )?(\d+) *\n")


def create_request(
    task: Task, settings: BoxSettings, archive_size: int, profile: str
) -> dict[str, Any]:
    """The body of POST /containers/create."""
    security = ["no-new-privileges"] if settings.no_new_privileges else []
    security.append(f"seccomp={profile if settings.syscall_filter else 'unconfined'}")
    host: dict[str, Any] = {
        "NetworkMode": "none" if settings.no_network else "bridge",
        "ReadonlyRootfs": settings.read_only_root,
        "CapDrop": ["ALL"] if settings.no_capabilities else [],
        "CapAdd": [] if settings.no_capabilities else ["ALL"],
        "SecurityOpt": security,
        "IpcMode": "private" if settings.own_ipc else "host",
        "PidMode": "" if settings.own_processes else "host",
        "Tmpfs": tmpfs(task, settings),
        "Ulimits": ulimits(settings),
        "Init": True,
        "AutoRemove": settings.ends_all,
        "LogConfig": {"Type": "none"},
    }
    if settings.processes is not None:
        host["PidsLimit"] = settings.processes + 3  # the guard, its init process and a shell
    if settings.memory_mib is not None:
        host["Memory"] = host["MemorySwap"] = settings.memory_mib * MIB
    if settings.cpus is not None:
        host["NanoCpus"] = int(settings.cpus * 1e9)
    return {
        "Image": task.image,
        "Entrypoint": ["/bin/sh", "-c", GUARD_SCRIPT, "usher-box"],
        "Cmd": [str(archive_size), WORK],
        "User": f"{GUARD}:{GUARD}" if settings.user else "0:0",
        "WorkingDir": "/",
        "Hostname": "box",
        "OpenStdin": True,
        "StdinOnce": settings.ends_all,  # a judge that dies takes the box with it
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Labels": {LABEL: "1"},
        "HostConfig": host,
    }


def tmpfs(task: Task, settings: BoxSettings) -> dict[str, str]:
    """Where a box can be written, and how much."""
    bounds = ["rw", "nosuid", "nodev", "exec"]
    if settings.scratch_mib is not None:
        bounds.append(f"size={settings.scratch_mib}m")
    if settings.scratch_inodes is not None:
        bounds.append(f"nr_inodes={settings.scratch_inodes}")
    mode = "1777" if task.writable else "0755"
    owner = GUARD if settings.user else 0
    return {
        WORK: ",".join([*bounds, f"mode={mode}", f"uid={owner}", f"gid={owner}"]),
        "/tmp": ",".join([*bounds, "mode=1777"]),  # noqa: S108 - the box's own
        "/dev/shm": ",".join([*bounds, "mode=1777"]),  # noqa: S108
    }


def ulimits(settings: BoxSettings) -> list[dict[str, Any]]:
    """Of every process; the engine calls them by these names."""
    values = {
        "core": settings.core_mib * MIB,
        "nofile": settings.open_files,
        "fsize": None if settings.file_mib is None else settings.file_mib * MIB,
        "stack": None if settings.stack_mib is None else settings.stack_mib * MIB,
    }
    if settings.cpu_seconds is not None:
        values["cpu"] = int(settings.cpu_seconds) + 2
    return [
        {"Name": name, "Soft": value, "Hard": value}
        for name, value in values.items()
        if value is not None
    ]


def exec_request(task: Task, settings: BoxSettings) -> dict[str, Any]:
    """The body of POST /containers/{id}/exec for the strangers' command."""
    pairs = [f"{name}={value}" for name, value in box_environment(task).items()]
    clean = START_SCRIPT if settings.clean_environment else START_SCRIPT.replace("env -i", "env")
    return plain_exec(["/bin/sh", "-c", clean, "usher-box", *pairs, *task.argv], settings.user)


def plain_exec(command: Sequence[str], user: int) -> dict[str, Any]:
    """The body of POST /containers/{id}/exec."""
    return {
        "Cmd": list(command),
        "User": f"{user}:{user}",
        "WorkingDir": WORK,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
    }


def parse_report(text: str) -> Usage:
    """What the guard said. Raises BoxError where it said nothing about memory or time."""
    counters: dict[str, str] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        first, _, second = rest.strip().partition(" ")
        counters[name if first.isdecimal() else f"{name} {first}"] = (
            first if first.isdecimal() else second.strip()
        )
    if "cpu.stat usage_usec" in counters:
        cpu = int(counters["cpu.stat usage_usec"]) / 1e6
        peak, kills = counters.get("memory.peak", "0"), counters.get("memory.events oom_kill", "0")
    elif "cpuacct/cpuacct.usage" in counters:
        cpu = int(counters["cpuacct/cpuacct.usage"]) / 1e9
        peak = counters.get("memory/memory.max_usage_in_bytes", "0")
        kills = counters.get("memory/memory.oom_control oom_kill", "0")
    else:
        raise BoxError("the control group of the box cannot be read inside it")
    return Usage(cpu, int(peak), int(kills))


def oom_events_query(container: str, since: float, until: float) -> dict[str, str]:
    """The query of GET /events for what the kernel killed in a container for want of memory.

    Both instants in seconds since 1970.
    """
    filters = {"container": [container], "event": ["oom"]}
    return {"since": f"{since:.3f}", "until": f"{until:.3f}", "filters": json.dumps(filters)}


def parse_start(line: bytes) -> tuple[float, int] | None:
    """(seconds used before the command began, length of the line) of the first line of stderr."""
    found = START_LINE.match(line)
    if found is None:
        return None
    unit = 1e6 if b"usage_usec" in found[0] else 1e9
    return int(found[1]) / unit, found.end()
