"""What a box is given, what keeps a program inside it, and how a run ended. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from usher.errors import UsherError

MIB = 1024 * 1024
LEARNER = 64001
"""User and group id of what a learner handed in."""
AUTHOR = 64002
"""User and group id of an author's checker or interactor."""
WORK = "/box"
"""The folder inside a box that holds the given files and is the working directory."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BoxError(UsherError):
    """The box itself failed; this says nothing about the program in it."""


class NoBoxError(BoxError):
    """No runtime of this machine can make a box; the message says why."""


class Limit(Enum):
    """Which limit ended a run."""

    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"
    OUTPUT = "output"


@dataclass(frozen=True)
class BoxSettings:
    """Each field is one barrier. The defaults are what every run gets; None removes a limit.

    Tests replace one field at a time and show that the barrier was what stopped a program.
    """

    cpu_seconds: float | None = 1.0
    """Processor time of all processes together."""
    wall_seconds: float | None = 3.0
    memory_mib: int | None = 64
    """All processes, files in memory included; there is no swap beside it."""
    output_bytes: int | None = 1024 * 1024
    """Of stdout, and as much of stderr."""
    processes: int | None = 64
    """Processes and threads at once."""
    open_files: int | None = 256
    file_mib: int | None = 64
    """The largest file that a program may write."""
    core_mib: int = 0
    stack_mib: int | None = 64
    cpus: float | None = 1.0
    scratch_mib: int | None = 64
    """Of /box, /tmp and /dev/shm together, or of each, as the runtime does it."""
    scratch_inodes: int | None = 4096
    user: int = LEARNER
    no_network: bool = True
    no_capabilities: bool = True
    no_new_privileges: bool = True
    read_only_root: bool = True
    own_processes: bool = True
    """A process namespace: nothing outside can be seen or signalled."""
    own_ipc: bool = True
    syscall_filter: bool = True
    clean_environment: bool = True
    ends_all: bool = True
    """Whatever the command started is killed when it ends."""


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
    """Names of files in it that are collected, where they are there afterwards."""


@dataclass(frozen=True)
class Task:
    """One command and what it works on. Names of files are relative, without `..`."""

    argv: tuple[str, ...]
    files: Mapping[str, File] = field(default_factory=dict)
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    """Only for Docker: the image whose tools the box has."""
    collect: bool = False
    """Whether the files that are in /box afterwards are wanted."""
    collect_bytes: int = 64 * MIB
    writable: bool = True
    """Whether the command may write into /box; the given files themselves it may never change
    where it may not."""
    stdin_fd: int | None = None
    """Read from this descriptor instead of `stdin`; the box closes it."""
    stdout_fd: int | None = None
    """Pass stdout on to this descriptor as it comes, besides keeping it; the box closes it."""
    folders: tuple[Folder, ...] = ()
    """Only for Docker. The image has to have no files there."""
    work: str = WORK
    """The folder that the command starts in."""
    inner: "InnerBox | None" = None
    """Only for Docker: what `usher-box run` makes boxes of."""
    on_ready: Callable[[], None] = lambda: None
    """Called when the box is there, just before the command starts."""


@dataclass(frozen=True)
class InnerBox:
    """The boxes that a command may start others in. Limits are the most that it may ask for."""

    files: Mapping[str, File]
    """In /box at first; what its commands leave there the next one finds."""
    settings: BoxSettings


@dataclass(frozen=True)
class Usage:
    """What the kernel counted over all processes of a run."""

    cpu_seconds: float
    memory_bytes: int
    """The most at any time."""
    memory_kills: int
    """Processes that the kernel killed for want of memory."""
    is_exact: bool = True
    """Whether a control group counted; else it was watched from outside."""


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
    """On the monotonic clock: when the end was noticed, before anything was closed."""
    left_out: tuple[str, ...] = ()
    """What was in /box and is not in `files`: links, devices, too many bytes."""

    @property
    def is_success(self) -> bool:
        return self.exit_code == 0 and self.limit is None


def decide_limit(
    usage: Usage, settings: BoxSettings, *, out_of_wall: bool, too_much_output: bool
) -> Limit | None:
    """The limit that ended the run, by the final counts and not by what was noticed first."""
    if settings.cpu_seconds is not None and usage.cpu_seconds > settings.cpu_seconds:
        return Limit.CPU
    if out_of_wall:
        return Limit.WALL
    if usage.memory_kills > 0:
        return Limit.MEMORY
    return Limit.OUTPUT if too_much_output else None


def split_status(code: int) -> tuple[int | None, int | None]:
    """(exit code, signal) of a status as shells tell it: 128 + n is signal n."""
    number = code - 128
    return (None, number) if 0 < number <= 64 else (code, None)
