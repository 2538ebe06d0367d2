"""The arguments of bubblewrap and the launcher for one run. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from usher.box.model import MIB, PATH, WORK, BoxSettings, Task

PLACES = {"box": WORK, "tmp": "/tmp", "shm": "/dev/shm"}  # noqa: S108 - the box's own
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
"""Directories of this machine with tools. The box shows no other files of it except
CONFIGURATION."""
ETC = "/etc"
LARGE_CONFIGURATION = ("alternatives", "java-*")
"""Patterns of names in /etc, of directories with hundreds of files, which are slow to copy."""
CONFIGURATION = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "python3*",
)
"""Patterns of further names in /etc. The box shows copies: every mount costs processor time."""

BY_SHELL = ("/bin/sh", "-c", 'exec "$@"', "sh")
"""The shell that starts the command: a missing command ends with 127 and is not an error of
bubblewrap.
"""


def box_environment(task: Task) -> dict[str, str]:
    """The complete environment of a program, unless a test passes more."""
    return {"PATH": PATH, "HOME": WORK, "TMPDIR": "/tmp", "LANG": "C.UTF-8", **task.environment}  # noqa: S108


def bubblewrap_command(
    task: Task,
    settings: BoxSettings,
    scratch: str,
    system: Mapping[str, str | None],
    filter_fd: int | None,
) -> list[str]:
    """The command line before the program's own.

    `scratch` has the directories of a box, and `etc`; `system` has the paths to show, with the
    target for a symbolic link.
    """
    bind = "--ro-bind" if settings.read_only_root else "--bind"
    command = ["bwrap", "--new-session", "--uid", str(settings.user), "--gid", str(settings.user)]
    command += ["--unshare-user", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "box"]
    command += ["--die-with-parent"] if settings.ends_all else []
    command += ["--unshare-pid"] if settings.own_processes else []
    command += ["--unshare-ipc"] if settings.own_ipc else []
    command += ["--unshare-net"] if settings.no_network else []
    command += ["--cap-drop" if settings.no_capabilities else "--cap-add", "ALL"]
    command += [bind, f"{scratch}/etc", ETC]
    for path, target in system.items():
        command += [bind, path, path] if target is None else ["--symlink", target, path]
    command += ["--proc", "/proc"] if settings.own_processes else ["--ro-bind", "/proc", "/proc"]
    command += ["--dev", "/dev"]
    for name, inside in PLACES.items():
        is_writable = name != "box" or task.writable
        command += ["--bind" if is_writable else "--ro-bind", f"{scratch}/{name}", inside]
    if settings.read_only_root:
        command += ["--remount-ro", "/dev", "--remount-ro", "/"]
        # Covered, because a user that is root outside could write to it.
        command += ["--ro-bind", "/proc/sys", "/proc/sys"] if settings.own_processes else []
    if settings.clean_environment:
        command.append("--clearenv")
    for name, value in box_environment(task).items():
        command += ["--setenv", name, value]
    command += [] if filter_fd is None else ["--seccomp", str(filter_fd)]
    return [*command, "--chdir", WORK, "--"]


MOST_STACK_MIB = 64
"""Without a control group."""


def resource_limits(settings: BoxSettings, *, has_group: bool) -> list[tuple[str, int, int]]:
    """(name in the module `resource`, soft, hard) for every process of the box."""
    limits = [("RLIMIT_CORE", settings.core_mib * MIB, settings.core_mib * MIB)]
    stack_mib = settings.stack_mib
    if not has_group and stack_mib is not None:
        # The stack of a thread is as large, and reserved memory counts below.
        stack_mib = min(stack_mib, MOST_STACK_MIB)
    for name, value, unit in (
        ("RLIMIT_NOFILE", settings.open_files, 1),
        ("RLIMIT_FSIZE", settings.file_mib, MIB),
        ("RLIMIT_STACK", stack_mib, MIB),
    ):
        if value is not None:
            limits.append((name, value * unit, value * unit))
    if settings.cpu_seconds is not None:
        seconds = int(settings.cpu_seconds) + 2
        limits.append(("RLIMIT_CPU", seconds, seconds))
    if not has_group and settings.memory_mib is not None:
        # For one process; the sum is watched. Doubled, because this limit includes reserved memory.
        size = settings.memory_mib * MIB * 2
        limits.append(("RLIMIT_DATA", size, size))
    return limits


def scratch_options(settings: BoxSettings) -> str:
    """Options of the tmpfs that /box, /tmp and /dev/shm share."""
    options = ["mode=0755"]
    if settings.scratch_mib is not None:
        options.append(f"size={settings.scratch_mib}m")
    if settings.scratch_inodes is not None:
        options.append(f"nr_inodes={settings.scratch_inodes}")
    return ",".join(options)


def launcher_spec(
    task: Task,
    settings: BoxSettings,
    *,
    scratch: str,
    etc: str,
    command: Sequence[str],
    groups: Sequence[str],
    group: str | None,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The launcher's input; the contents of the files follow it in this order."""
    return {
        "argv": [*command, *BY_SHELL, *task.argv],
        "environment": dict(environment),
        "scratch": scratch,
        "scratch_options": scratch_options(settings),
        "etc": etc,
        "files": [[name, file.mode, len(file.data)] for name, file in task.files.items()],
        "writable": task.writable,
        "user": settings.user,
        "groups": list(groups),
        "group": group,
        "rlimits": resource_limits(settings, has_group=bool(groups)),
        "ends_all": settings.ends_all,
        "collect": task.collect,
        "collect_bytes": task.collect_bytes,
    }
