"""Isolates a process task from the machine: with bubblewrap, plain namespaces, or not at all.

In all cases tasks share the network (their ports are the host's) and see the host's files, because
there is no image. Hidden are /run (with the sockets of Docker and of the session bus) and the usual
places of keys.

With namespaces a program is process 1, as in Docker: it gets SIGTERM only if it handles it, unless
the task definition has `initProcessEnabled`. Then bubblewrap adds an init process, and with plain
namespaces the agent ends a program that does not handle the signal.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

USER_INSIDE = 1000
_HIDDEN_FOLDERS = ("/run", "/var/tmp")
_HIDDEN_AT_HOME = (
    ".aws",
    ".azure",
    ".config",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".ssh",
)
_TRY_SECONDS = 5.0


class Kind(Enum):
    """Kinds of isolation, the best first."""

    BUBBLEWRAP = "bubblewrap"
    UNSHARE = "unshare"
    NONE = "none"

    @property
    def protects_files(self) -> bool:
        """Whether a program cannot write the files of the user that runs `local up`."""
        return self is Kind.BUBBLEWRAP

    @property
    def description(self) -> str:
        """The description for display."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Kind.BUBBLEWRAP: (
        "bubblewrap: own process, user, IPC and mount namespaces, read-only files, private /tmp, "
        "no capabilities; network shared"
    ),
    Kind.UNSHARE: (
        "user namespaces: own process, user, IPC and mount namespaces, no capabilities; "
        "files and network shared"
    ),
    Kind.NONE: "none: plain processes with resource limits",
}


@dataclass(frozen=True)
class Sandbox:
    """The isolation of one program. Paths are absolute; sizes in MiB."""

    working_directory: Path
    visible: tuple[Path, ...] = ()
    """Folders the program needs, even if they are below one that is hidden or covered."""
    hidden: tuple[Path, ...] = ()
    user: int = USER_INSIDE
    init_process: bool = False
    read_only_tmp: bool = False
    tmpfs: Mapping[str, int] | None = None


@cache
def detect() -> Kind:
    """The best kind that works here."""
    return next(kind for kind in Kind if works(kind))


def works(kind: Kind) -> bool:
    """Whether this kind works here: it is tried, because kernels and containers may forbid it."""
    argv = wrap(kind, ["true"], Sandbox(working_directory=Path("/")))
    try:
        tried = subprocess.run(argv, capture_output=True, check=False, timeout=_TRY_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def hidden_paths(home: Path) -> tuple[Path, ...]:
    """Existing paths that are hidden from tasks."""
    paths = [Path(folder) for folder in _HIDDEN_FOLDERS]
    paths += [home / name for name in _HIDDEN_AT_HOME]
    return tuple(path for path in paths if path.exists() and not path.is_symlink())


def wrap(kind: Kind, argv: Sequence[str], sandbox: Sandbox) -> list[str]:
    """The command that runs `argv` in the sandbox; it starts in the working directory."""
    match kind:
        case Kind.BUBBLEWRAP:
            return [*_bubblewrap(sandbox), "--", *argv]
        case Kind.UNSHARE:
            return [*_unshare(sandbox), "--", *argv]
        case Kind.NONE:
            return list(argv)


def depth(kind: Kind, *, init_process: bool) -> int:
    """Number of processes between the forked one and the program in the sandbox."""
    match kind:
        case Kind.BUBBLEWRAP:
            return 2 if init_process else 1
        case Kind.UNSHARE:
            return 1
        case Kind.NONE:
            return 0


def lacks_init(kind: Kind) -> bool:
    """Whether its programs are process 1 even where an init process is wanted."""
    return kind is Kind.UNSHARE


def _unshare(sandbox: Sandbox) -> list[str]:
    flags = "--user --pid --fork --kill-child --mount --mount-proc --ipc --uts"
    ids = [f"--map-user={sandbox.user}", f"--map-group={sandbox.user}"]
    return ["unshare", *flags.split(), *ids]


def _bubblewrap(sandbox: Sandbox) -> list[str]:
    command = ["bwrap", "--unshare-user", "--uid", str(sandbox.user), "--gid", str(sandbox.user)]
    command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    command += ["--die-with-parent", "--cap-drop", "ALL"]
    if not sandbox.init_process:
        command.append("--as-pid-1")
    command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    # bubblewrap covers /proc/sys only where the folder itself is writable, which it never is;
    # the files in it are, for a task of a `local up` that runs as root.
    command += ["--ro-bind", "/proc/sys", "/proc/sys"]
    tmpfs = sandbox.tmpfs or {}
    covered = [Path(folder) for folder in tmpfs]
    for folder, size in tmpfs.items():
        command += ["--size", str(size * 1024 * 1024), "--tmpfs", folder]
    if "/tmp" not in tmpfs:
        command += ["--tmpfs", "/tmp"]
        covered.append(Path("/tmp"))
    for path in sandbox.hidden:
        if path.is_dir():
            command += ["--tmpfs", str(path)]
            covered.append(path)
        else:
            command += ["--ro-bind", "/dev/null", str(path)]
    for path in _below(sandbox.visible, covered):
        command += ["--ro-bind", str(path), str(path)]
    if sandbox.read_only_tmp and "/tmp" not in tmpfs:
        command += ["--remount-ro", "/tmp"]
    return [*command, "--chdir", str(sandbox.working_directory)]


def _below(paths: Iterable[Path], covered: Sequence[Path]) -> list[Path]:
    return [p for p in paths if any(p.is_relative_to(folder) for folder in covered)]
