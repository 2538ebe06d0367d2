"""The process of this machine for a container: program, environment, limits, sandbox.

All of it is decided here; the agent only forks.
"""

import os
import platform
import resource
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chalicelib.contract import Env
from local.hosts import isolation
from local.hosts.base import CannotStartError, ContainerSpec
from local.hosts.images import ImageSource, Program, cannot_pull, find_source, resolve
from local.hosts.isolation import USER_INSIDE, Kind, Sandbox

RUN_VARIABLE = "USHER_LOCAL_RUN"
HOST_VARIABLE = "USHER_LOCAL_HOST"
_MIB = 1024 * 1024
VOLUME_MIB = 1024
"""Size of an empty volume, which is memory here; on Fargate it is part of 20 GiB of storage."""
_ELF_MACHINES = {"x86_64": {62, 3}, "aarch64": {183, 40}}
"""e_machine of what a kernel runs; a 64-bit kernel mostly runs its 32-bit kin, too.
https://man7.org/linux/man-pages/man5/elf.5.html"""
_REFUSED = (
    "CannotStartContainerError: Error response from daemon: failed to create task for container: "
    "unable to start container process: exec: "
)


@dataclass(frozen=True)
class Prepared:
    """A program ready to be started, and checks beside it in a sandbox like its own."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    sandbox: Sandbox
    limits: tuple[tuple[str, int, int], ...]
    memory_bytes: int | None

    def order(self, kind: Kind, argv: Sequence[str], *, log: Path) -> dict[str, Any]:
        """The agent's order to run `argv`."""
        return {
            "argv": isolation.wrap(kind, argv, self.sandbox),
            "env": dict(self.environment),
            "cwd": str(self.sandbox.working_directory),
            "log": str(log),
            "limits": self.limits,
            "init": self.sandbox.init_process and isolation.lacks_init(kind),
            "depth": isolation.depth(kind, init_process=self.sandbox.init_process),
        }


def prepare(
    spec: ContainerSpec,
    images: Sequence[ImageSource],
    *,
    packages: Path | None,
    path: str,
    marks: Mapping[str, str],
    hidden: tuple[Path, ...],
) -> Prepared:
    """`path` is the search path, `marks` are variables by which processes are found again,
    `packages` is what `local.hosts.packages` installed for the image.

    Raises CannotPullImageError and CannotStartError.
    """
    source = find_source(spec.image, images)
    if source is None:
        raise cannot_pull(spec.image)
    program = resolve(
        spec.image,
        images,
        entry_point=spec.entry_point,
        command=spec.command,
        working_directory=spec.working_directory,
        packages=packages,
    )
    environment = {
        "PATH": path,
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        **program.environment,
        **spec.environment,
        **marks,
    }
    if spec.ports:
        # There is no separate network in which the container's port would be free.
        environment[Env.SESSION_PORT] = str(spec.ports[0].host_port)
        environment.setdefault(Env.SESSION_HOST, spec.address)
    directory = program.working_directory
    if not directory.is_dir():
        raise CannotStartError(f"{_REFUSED}chdir to cwd ({directory}): no such file or directory")
    executable = find_program(program.argv[0], directory, environment["PATH"])
    user = spec.user or program.user or ""
    sandbox = Sandbox(
        working_directory=directory,
        visible=_without_repeats(
            source.context,
            *program.python_path,
            directory,
            Path(sys.prefix),
            Path(sys.base_prefix),
            executable.parent,
            executable.resolve().parent,
        ),
        hidden=hidden,
        user=int(user.partition(":")[0]) if user.partition(":")[0].isdecimal() else USER_INSIDE,
        init_process=spec.init_process,
        read_only_tmp=spec.read_only_root,
        tmpfs={**spec.tmpfs, **_writable_volumes(spec, program)},
    )
    _check_mount_points(sandbox)
    return Prepared(
        argv=(str(executable), *program.argv[1:]),
        environment=environment,
        sandbox=sandbox if sandbox.user else replace(sandbox, user=USER_INSIDE),
        limits=_limits(spec),
        memory_bytes=None if spec.memory_mib is None else spec.memory_mib * _MIB,
    )


def find_program(word: str, directory: Path, path: str) -> Path:
    """The executable file, as a container runtime looks for it. Raises CannotStartError."""
    if "/" not in word:
        found = shutil.which(word, path=path)
        if found is None:
            raise CannotStartError(f'{_REFUSED}"{word}": executable file not found in $PATH')
        return _runnable(Path(found), word)
    file = directory / word
    if not file.exists():
        raise CannotStartError(f'{_REFUSED}"{word}": stat {word}: no such file or directory')
    if shutil.which(str(file)) is None:
        raise CannotStartError(f'{_REFUSED}"{word}": permission denied')
    return _runnable(file, word)


def _runnable(file: Path, word: str) -> Path:
    """The file, if Linux would run it. Raises CannotStartError.

    In a sandbox the one that fails to run it is the sandbox's own program, whose end would pass for
    the container's; and where it is a shell script without `#!`, that would run it all the same.
    https://man7.org/linux/man-pages/man2/execve.2.html
    """
    if sys.platform != "linux":
        return file
    trouble = _format_trouble(file)
    if trouble:
        raise CannotStartError(f'{_REFUSED}"{word}": {trouble}')
    return file


def _format_trouble(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            head = opened.read(256)
    except OSError:
        return None  # what may be run and not read: the kernel decides
    if head.startswith(b"#!"):
        parts = head[2:].split(b"\n")[0].split()
        interpreter = os.fsdecode(parts[0]) if parts else ""
        found = shutil.which(interpreter) if interpreter.startswith("/") else None
        return None if found else f"no such file or directory: its interpreter is {interpreter!r}"
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        return "exec format error"
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    fits = machine in _ELF_MACHINES.get(platform.machine(), {machine})
    return None if fits else f"exec format error: it is for another machine ({machine})"


def _without_repeats(*paths: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(paths))


def _writable_volumes(spec: ContainerSpec, program: Program) -> dict[str, int]:
    """Empty volumes that the image declares, with its own ownership; others only root may write."""
    return {path: VOLUME_MIB for path in spec.volumes if path in program.volumes}


def _check_mount_points(sandbox: Sandbox) -> None:
    for place in sandbox.tmpfs or {}:
        if not Path(place).is_dir():
            raise CannotStartError(
                f"CannotStartContainerError: tmpfs {place}: the process runtime can cover only "
                "folders that this machine has"
            )


def _limits(spec: ContainerSpec) -> tuple[tuple[str, int, int], ...]:
    """Limits as (RLIMIT name, soft, hard); -1 is unlimited. No core dumps by default."""
    limits = []
    for name, (soft, hard) in {"core": (0, 0), **spec.ulimits}.items():
        constant = f"RLIMIT_{name.upper()}"
        if not hasattr(resource, constant):
            raise CannotStartError(
                f"CannotStartContainerError: this machine knows no limit named {name}"
            )
        limits.append((constant, soft, hard))
    if spec.memory_mib is not None and "data" not in spec.ulimits:
        limits.append(_growth_limit(spec.memory_mib))
    return tuple(limits)


def _growth_limit(memory_mib: int) -> tuple[str, int, int]:
    """RLIMIT_DATA for memory that is only sampled: stops a program that grows between two samples.

    Twice the limit plus allowance for the mappings that a runtime reserves, because it counts per
    process and includes unused memory.
    """
    most = (2 * memory_mib + 256) * _MIB
    return ("RLIMIT_DATA", most, most)
