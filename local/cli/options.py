"""The options of a run of the embedded cloud, and its listening ports."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.aws.forwarding import OtherService
from local.hosts.images import ImageSource
from local.hosts.machines import LOOPBACK, Size

ROOT = Path(__file__).parents[2]
STAGE = "local"
HOSTS_GROUP = f"usher-{STAGE}-hosts"
"""The Auto Scaling group of the hosts, and its capacity provider."""

DEFAULT_SIZE = Size(hosts=2, cpu_units=4096, memory_mib=8192)
"""Capacity for 64 sessions of the default app."""


@dataclass(frozen=True)
class Options:
    """The options of `local up`."""

    port: int = 8000
    aws_port: int = 5000
    runtime: str = "auto"
    pool: int | None = None
    feed: str = "demo"
    rate: float | None = None
    feed_engine: str = "auto"
    apps: Path | None = None
    images: tuple[ImageSource, ...] = ()
    size: Size = DEFAULT_SIZE
    start_delay_seconds: float = 0.0
    launch_type: str = "ec2"
    """Launch type of jobs without one; apps have theirs in the apps file."""
    capacity_provider: str | None = None
    """Name of a capacity provider with managed scaling that has the hosts; no hosts are added."""
    hosts_between: tuple[int, int] | None = None
    """The sizes that the hosts' Auto Scaling group may have; None = there is no group."""
    host_delay_seconds: float = 60.0
    """Time from the request of a host to its registration with ECS."""
    throttling: bool = True
    index_lag_seconds: float = 0.0
    """Reads of DynamoDB's indexes show a write after a delay of up to this; 0 = at once."""
    task_lag_seconds: float = 0.0
    """ListTasks and DescribeTasks show a new task after a delay of up to this; 0 = at once."""
    lag_seed: int = 0
    """Seed of the random lags."""
    restart: bool = True
    logs: Path | None = None
    project_dir: Path = ROOT
    template: Path = ROOT / "infra" / "template.yaml"
    region: str = "us-east-1"
    access_log: bool = False
    functions: str = "shared"
    """`shared`: all in the dispatcher's process; `lambda`: each in its own, as in Lambda."""
    allow_unprotected: bool = False
    """Whether processes start images of others where isolation protects no files."""
    iam: bool = True
    """Whether calls are checked against the policies of their principals."""
    function_concurrency: int | None = None
    function_idle_seconds: float | None = None
    allowed_hosts: tuple[str, ...] = ()
    """Further names of the dispatcher, NAME or NAME:PORT."""
    allowed_origins: tuple[str, ...] = ()
    """Further origins whose pages may use dispatcher and sessions."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of references to secrets, which are not looked up then."""
    log_streams: bool = True
    """Whether the output of sessions goes to log streams, as on AWS; else to plain files."""
    assignments: tuple[Path, ...] = ()
    """Folders of assignments that are created when the start is complete."""
    aws_services: tuple[OtherService, ...] = ()
    """Services that other emulators serve."""


@dataclass(frozen=True)
class Listeners:
    """The listening sockets of a run, bound before anything starts: no port can be lost later."""

    dispatcher: socket.socket
    invoke: socket.socket
    aws: socket.socket

    @classmethod
    def bind(cls, options: Options) -> "Listeners":
        """Raises OSError with the port in its `filename`."""
        return cls(_listen(options.port), _listen(0), _listen(options.aws_port))

    def close(self) -> None:
        """Close all."""
        for listener in (self.dispatcher, self.invoke, self.aws):
            listener.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port), backlog=1024)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(port)) from error


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
