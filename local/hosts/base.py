"""The ECS engine's interface to a host: start a container, stop it, report its end.

Two implementations: `process.ProcessHost` (an agent process that forks children) and
`docker.DockerHost` (a Docker Engine). The engine decides, a host only executes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class PortMapping:
    """One published port. `host_port` is chosen by the engine before the start."""

    container_port: int
    host_port: int
    protocol: str = "tcp"


@dataclass(frozen=True)
class ContainerSpec:
    """One container of one task, resolved: task definition with the overrides applied."""

    task_id: str
    name: str
    image: str
    entry_point: Sequence[str] | None
    command: Sequence[str] | None
    environment: Mapping[str, str]
    ports: Sequence[PortMapping]
    cpu_units: int
    """CPU shares in ECS units, 1024 = one core; 0 = none reserved."""
    memory_mib: int | None
    """Hard limit in MiB; the container is killed beyond it (exit 137, OutOfMemoryError)."""
    user: str | None
    read_only_root: bool
    drop_capabilities: Sequence[str] = ()
    no_new_privileges: bool = True
    init_process: bool = False
    network_mode: str = "bridge"
    address: str = "127.0.0.1"
    """Address of this machine at which its ports are published; a task on Fargate has a separate
    one."""
    volumes: Sequence[str] = ()
    """Mount points of empty volumes. They belong to root (0755), unless the image declares the very
    path with VOLUME: then owner, mode and content are the image's.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html
    """
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    """Mount point to size in MiB."""
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """nofile, nproc, fsize, core … to (soft, hard)."""
    working_directory: str | None = None
    log_stream: tuple[str, str] | None = None
    """Log group and stream for its output; None = no log stream."""
    health_check: Sequence[str] | None = None
    """["CMD", …] or ["CMD-SHELL", "…"], run inside the container."""


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int | None
    """128 + n for signal n, as Docker reports it; None when the host cannot know."""
    reason: str | None = None
    """ECS's reason if it has one ("OutOfMemoryError: …"); None otherwise."""


class CannotPullImageError(Exception):
    """The image is not available: ECS's CannotPullContainerError."""


class CannotStartError(Exception):
    """The image exists, its program does not start: ECS's CannotStartContainerError."""


class HostDownError(Exception):
    """The host is gone; what ran on it is lost."""


class Host(Protocol):
    """A machine that runs containers. Thread-safe; methods block until the work is done."""

    @property
    def runtime(self) -> str:
        """`process` or `docker`."""

    @property
    def isolation(self) -> str:
        """The isolation of tasks from the machine and from each other, for display."""

    @property
    def alive(self) -> bool:
        """False once the host is gone finally."""

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        """Start one container and return its runtime id once it runs.

        `on_exit` is called exactly once, from any thread, when it ended for any reason except the
        failure of the host. Raises CannotPullImageError, CannotStartError, HostDownError; then
        `on_exit` is never called.
        """

    def signal(self, runtime_id: str, signal_name: str) -> None:
        """Send SIGTERM to the container's main process or SIGKILL to all of it.

        Harmless when it has ended.
        """

    def healthy(self, runtime_id: str, command: Sequence[str], timeout_seconds: float) -> bool:
        """Run a health check inside the container; returns whether it exited with 0 in time."""

    def kill(self) -> None:
        """Kill the host and everything on it, as a power cut would: no exits are reported."""

    def close(self) -> None:
        """Stop and remove everything, and return when it is gone. Idempotent."""
