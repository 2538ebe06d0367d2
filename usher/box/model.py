"""The input of a box, its restrictions, and the outcome of a run. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from usher.errors import UsherError

MIB = 1024 * 1024
LEARNER = 64001
"""User and group id of a learner's program."""
AUTHOR = 64002
"""User and group id of an author's checker or interactor."""
WORK = "/box"
"""The directory inside a box with the given files; also the working directory."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BoxError(UsherError):
    """The box itself failed; the program in it is not to blame."""


class NoBoxError(BoxError):
    """No runtime of this machine can make a box; the message has the reasons."""


class Limit(Enum):
    """The limit that ended a run."""

    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"
    OUTPUT = "output"


@dataclass(frozen=True)
class BoxSettings:
    """Each field is one restriction. The defaults apply to every run; None removes a limit.

    Tests change one field at a time and show that this restriction stops a program.
    """

    cpu_seconds: float | None = 1.0
    """Processor time of all processes together."""
    wall_seconds: float | None = 3.0
    memory_mib: int | None = 64
    """Memory of all processes, including files in memory, without swap."""
    output_bytes: int | None = 1024 * 1024
    """Bytes of stdout, and the same of stderr."""
    processes: int | None = 64
    """Concurrent processes and threads."""
    open_files: int | None = 256
    file_mib: int | None = 64
    """The largest file that a program may write."""
    core_mib: int = 0
    stack_mib: int | None = 64
    cpus: float | None = 1.0
    scratch_mib: int | None = 64
    """Size of /box, /tmp and /dev/shm together, or of each, depending on the runtime."""
    scratch_inodes: int | None = 4096
    user: int = LEARNER
    no_network: bool = True
    no_capabilities: bool = True
    no_new_privileges: bool = True
    read_only_root: bool = True
    own_processes: bool = True
    """A PID namespace: no process outside can be seen or signalled."""
    own_ipc: bool = True
    syscall_filter: bool = True
    clean_environment: bool = True
    ends_all: bool = True
    """All processes that the command started are killed when it ends."""


@dataclass(frozen=True)
class File:
    """One regular file, in or out of a box."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Folder:
    """A folder of a box besides /box, in memory, at an absolute path without `..`."""

    path: str
    files: Mapping[str, File] = field(default_factory=dict)
    writable: bool = True
    wanted: tuple[str, ...] = ()
    """Names of files in it that are collected if they exist after the run."""


@dataclass(frozen=True)
class Task:
    """One command and its input. Names of files are relative, without `..`."""

    argv: tuple[str, ...]
    files: Mapping[str, File] = field(default_factory=dict)
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    """Only for Docker: the image with the box's tools."""
    collect: bool = False
    """Whether the files in /box after the run are returned."""
    collect_bytes: int = 64 * MIB
    writable: bool = True
    """Whether the command may write into /box; if not, it cannot change the given files either."""
    stdin_fd: int | None = None
    """Descriptor to read stdin from instead of `stdin`; the box closes it."""
    stdout_fd: int | None = None
    """Descriptor to copy stdout to as it arrives; the box closes it."""
    folders: tuple[Folder, ...] = ()
    """Only for Docker. The image must have no files there."""
    work: str = WORK
    """The working directory."""
    inner: "InnerBox | None" = None
    """Only for Docker: the template of boxes for `usher-box run`."""
    on_ready: Callable[[], None] = lambda: None
    """Called when the box exists, just before the command starts."""


@dataclass(frozen=True)
class InnerBox:
    """The boxes that a command may request. The limits are maxima."""

    files: Mapping[str, File]
    """The initial files of /box; files that one command leaves there are available to the next."""
    settings: BoxSettings


@dataclass(frozen=True)
class Usage:
    """The kernel's counters over all processes of a run."""

    cpu_seconds: float
    memory_bytes: int
    """The maximum at any time."""
    memory_kills: int
    """Processes that the kernel killed for lack of memory."""
    is_exact: bool = True
    """Whether a control group counted; otherwise processes were sampled from outside."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. Exactly one of `exit_code` and `signal` is set, unless it was killed."""

    exit_code: int | None
    signal: int | None
    usage: Usage
    wall_seconds: float
    stdout: bytes
    stderr: bytes
    limit: Limit | None = None
    files: Mapping[str, File] = field(default_factory=dict)
    ended_at: float = 0.0
    """Monotonic time at which the end was noticed, before anything was closed."""
    left_out: tuple[str, ...] = ()
    """Entries of /box that are not in `files`: links, devices, too many bytes."""

    @property
    def is_success(self) -> bool:
        return self.exit_code == 0 and self.limit is None


def decide_limit(
    usage: Usage, settings: BoxSettings, *, out_of_wall: bool, too_much_output: bool
) -> Limit | None:
    """The limit that ended the run, from the final counters and not from the first one that was
    noticed.
    """
    if settings.cpu_seconds is not None and usage.cpu_seconds > settings.cpu_seconds:
        return Limit.CPU
    if out_of_wall:
        return Limit.WALL
    if usage.memory_kills > 0:
        return Limit.MEMORY
    return Limit.OUTPUT if too_much_output else None


def split_status(code: int) -> tuple[int | None, int | None]:
    """(exit code, signal) of a shell's status: 128 + n is signal n."""
    number = code - 128
    return (None, number) if 0 < number <= 64 else (code, None)
