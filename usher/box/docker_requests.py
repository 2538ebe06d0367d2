"""Requests to the Docker Engine and to the guard in a container. Pure.

A container runs a guard (`usher.box.guard`), which makes one box after the other: each run has
namespaces, a file system in memory, a control group and a process tree.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from usher.box.bubblewrap import SYSTEM, box_environment, resource_limits, scratch_options
from usher.box.frames import pack_message
from usher.box.model import WORK, BoxSettings, File, Task, Usage

LABEL = "usher.box"
RUNTIME = "/usher"
"""Directory of the guard's Python in a container; boxes do not show it."""
CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_ADMIN",  # the loopback device of a new network namespace
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",  # namespaces, mounts, control groups
    "SYS_CHROOT",
)
"""Capabilities of the guard; a run has none."""
PYTHON = (
    f"{RUNTIME}/ld.so",
    "--library-path",
    f"{RUNTIME}/lib",
    f"{RUNTIME}/bin/python3",
    "-I",
    "-S",
    "-c",
)
"""The guard's own loader, libraries and Python, so that the image needs none."""
START = (
    *PYTHON,
    f"import sys; sys.path.insert(0, '{RUNTIME}/app'); from usher.box.guard import main; main()",
)
CONFINED_BY = "docker-default"
"""The AppArmor profile of a run, which is that of other containers."""


def create_request(
    task: Task, settings: BoxSettings, *, volume: str, profile: str, has_apparmor: bool
) -> dict[str, Any]:
    """The body of POST /containers/create. Containers of equal requests are interchangeable."""
    security = [f"seccomp={profile if settings.syscall_filter else 'unconfined'}"]
    # That profile forbids mounts; the guard applies it to each run.
    security += ["apparmor=unconfined"] if has_apparmor else []
    return {
        "Image": task.image,
        "Entrypoint": list(START),
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Hostname": "box",
        "OpenStdin": True,
        "StdinOnce": settings.ends_all,  # the container ends with the judge
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Labels": {LABEL: "1"},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "none" if settings.no_network else "bridge",
            "ReadonlyRootfs": settings.read_only_root,
            "CapDrop": ["ALL"],
            "CapAdd": list(CAPABILITIES),
            "SecurityOpt": security,
            "IpcMode": "private" if settings.own_ipc else "host",
            "PidMode": "" if settings.own_processes else "host",
            # Mount points only: the guard mounts the directories that a run may write to.
            "Tmpfs": {
                WORK: "rw,nosuid,nodev,noexec,size=64k,mode=0700",
                "/tmp": "ro",  # noqa: S108
                **{folder.path: "ro" for folder in task.folders},
            },
            "Mounts": [{"Type": "volume", "Source": volume, "Target": RUNTIME, "ReadOnly": True}],
            "AutoRemove": settings.ends_all,
            "LogConfig": {"Type": "none"},
        },
    }


def run_payload(
    task: Task, settings: BoxSettings, *, filter_program: bytes, has_apparmor: bool
) -> bytes:
    """The request to the guard."""
    fields = run_fields(task, settings, filter_program, has_apparmor=has_apparmor)
    contents = [file.data for file in task.files.values()]
    contents += [file.data for folder in task.folders for file in folder.files.values()]
    if task.inner is not None:
        inner = Task((), task.inner.files)
        fields["inner"] = {
            **run_fields(inner, task.inner.settings, filter_program, has_apparmor=has_apparmor),
            "only": [*SYSTEM, "/etc"],
        }
        contents += [file.data for file in inner.files.values()]
    return pack_message(fields, [*contents, task.stdin])


def run_fields(
    task: Task, settings: BoxSettings, filter_program: bytes, *, has_apparmor: bool
) -> dict[str, Any]:
    """All fields except the contents of files."""
    flags = (
        "own_processes", "own_ipc", "no_network", "no_capabilities", "no_new_privileges",
        "read_only_root", "clean_environment", "ends_all",
    )  # fmt: skip
    environment = box_environment(task)
    if task.inner is not None:
        environment["PATH"] += f":{RUNTIME}/bin"
    return {
        "argv": list(task.argv),
        "environment": environment,
        "folder": task.work,
        "files": _listed(task.files),
        "folders": [
            {
                "path": folder.path,
                "files": _listed(folder.files),
                "writable": folder.writable,
                "wanted": list(folder.wanted),
            }
            for folder in task.folders
        ],
        "inner": None,
        "only": [],
        "stdin_bytes": len(task.stdin),
        "writable": task.writable,
        "collect": task.collect,
        "collect_bytes": task.collect_bytes,
        "scratch_options": scratch_options(settings),
        "rlimits": resource_limits(settings, has_group=True),
        "filter": filter_program.hex() if settings.syscall_filter else "",
        "confined_by": CONFINED_BY if has_apparmor else "",
        "settings": asdict(settings),
        "user": settings.user,
    } | {name: getattr(settings, name) for name in flags}


def _listed(files: Mapping[str, File]) -> list[tuple[str, int, int]]:
    return [(name, file.mode, len(file.data)) for name, file in files.items()]


def reported_usage(report: dict[str, Any]) -> Usage:
    """The counters of a run's control group."""
    return Usage(report["cpu_seconds"], report["memory_bytes"], report["memory_kills"])
