"""The machines of the ECS engine: their runtime, number, and addresses of this machine's
servers.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from local.aws.ecs.model import HostSlot
from local.hosts.base import CannotPullImageError, Host, HostDownError
from local.hosts.images import ImageSource
from local.judge import IMAGE as JUDGE_IMAGE
from local.judge import HostWithJudge

LOOPBACK = "127.0.0.1"
FARGATE = "fargate"
FARGATE_CPU_UNITS = 64 * 1024
"""The quota of vCPUs that the embedded account has on Fargate."""


class NoRuntimeError(Exception):
    """The requested runtime is not available; the message has the reason."""


@dataclass(frozen=True)
class Size:
    """The number of hosts, and the resources that each declares."""

    hosts: int
    cpu_units: int
    memory_mib: int
    zones: int = 3
    """Number of zones that they are spread over, at most 3."""


@dataclass(frozen=True)
class Machines:
    """All hosts of a run."""

    runtime: str
    slots: list[HostSlot]
    make: Callable[[str, str, str], HostSlot]
    """Makes one more host, by its name, instance and zone. Who makes it closes it."""
    fargate: HostSlot
    """Runs the tasks of Fargate."""
    addresses: Mapping[int, str]
    """Port of a server on our loopback to host:port under which containers reach it."""
    close: Callable[[], None]
    """Takes away what the hosts have in common. The hosts themselves are closed before."""

    @property
    def isolation(self) -> str:
        """The isolation of tasks, for display."""
        return self.slots[0].host.isolation


@dataclass(frozen=True)
class Site:
    """The environment of machines."""

    run_id: str
    sources: Sequence[ImageSource]
    size: Size
    region: str
    logs: Path
    streams: Path
    """Directory of log streams, see `local.aws.logs.streams`."""
    ports: Sequence[int]
    """Ports on loopback that containers must reach."""
    allow_unprotected: bool
    """Whether processes start images of others where isolation protects no files."""
    tell: Callable[[str], None]
    """Called with the runtime before anything is created in it, so that it is found if this run is
    killed."""


def make_machines(wanted: str, site: Site, say: Callable[[str], None]) -> Machines:
    """Make hosts of the wanted runtime, `process`, `docker` or `auto`. Raises NoRuntimeError.

    `auto` is Docker where its Engine answers and the images can be had, else processes.
    """
    if wanted != "process":
        try:
            return _docker(site, say)
        except NoRuntimeError as error:
            if wanted == "docker":
                raise
            say(f"containers are processes, not Docker's: {error}")
    return _processes(site, say)


def _docker(site: Site, say: Callable[[str], None]) -> Machines:
    from local.hosts.docker import DockerHost, DockerRuntime, docker_available

    problem = docker_available()
    if problem:
        raise NoRuntimeError(problem)
    site.tell("docker")
    with ExitStack() as undo:
        try:
            runtime = DockerRuntime(
                site.run_id, site.sources, logs=site.logs, streams=site.streams, on_progress=say
            )
            undo.callback(runtime.close)
            for source in site.sources:
                if source.name == JUDGE_IMAGE:
                    continue  # it runs on the machine itself
                runtime.images.image(source.name)
            addresses = {port: f"{runtime.expose(port)}:{port}" for port in site.ports}
        except (HostDownError, CannotPullImageError, OSError) as error:
            raise NoRuntimeError(str(error)) from error
        make = _maker(
            lambda name: _with_judge(DockerHost(runtime, name), name, site, say, runtime.gateway),
            site,
        )
        slots = _slots(make, site)
        fargate = _fargate(DockerHost(runtime, FARGATE), site)
        undo.pop_all()
        return Machines("docker", slots, make, fargate, addresses, runtime.close)


def _processes(site: Site, say: Callable[[str], None]) -> Machines:
    from local.hosts.packages import Packages
    from local.hosts.process import ProcessHost

    packages = Packages(say)

    def host(name: str) -> ProcessHost:
        logs = site.logs / name
        logs.mkdir(exist_ok=True)
        return ProcessHost(
            name,
            run_id=site.run_id,
            images=site.sources,
            logs=logs,
            streams=site.streams,
            packages=packages,
            allow_unprotected=site.allow_unprotected,
        )

    site.tell("process")
    make = _maker(lambda name: _with_judge(host(name), name, site, say), site)
    slots = _slots(make, site)
    addresses = {port: f"{LOOPBACK}:{port}" for port in site.ports}
    fargate = _fargate(host(FARGATE), site)
    return Machines("process", slots, make, fargate, addresses, close=lambda: None)


def _with_judge(
    host: Host, name: str, site: Site, say: Callable[[str], None], gateway: str | None = None
) -> Host:
    """The host, which starts judges as plain processes of the machine."""
    from local.hosts.isolation import Kind
    from local.hosts.packages import Packages
    from local.hosts.process import ProcessHost

    def judges() -> Host:
        logs = site.logs / f"{name}-judges"
        logs.mkdir(exist_ok=True)
        return ProcessHost(
            f"{name}-judges",
            run_id=site.run_id,
            images=site.sources,
            logs=logs,
            streams=site.streams,
            kind=Kind.NONE,
            packages=Packages(say),
        )

    return HostWithJudge(host, judges, site.logs.parent / "judges", gateway)


def _maker(make: Callable[[str], Host], site: Site) -> Callable[[str, str, str], HostSlot]:
    """Hosts of the size that was asked for."""

    def made(name: str, instance: str, zone: str) -> HostSlot:
        return HostSlot(
            name=name,
            host=make(name),
            address=LOOPBACK,
            cpu_units=site.size.cpu_units,
            memory_mib=site.size.memory_mib,
            ec2_instance_id=instance,
            availability_zone=zone,
        )

    return made


def zones_of(region: str, count: int) -> tuple[str, ...]:
    """The names of so many zones of a region."""
    return tuple(f"{region}{letter}" for letter in "abc"[:count])


def _slots(make: Callable[[str, str, str], HostSlot], site: Site) -> list[HostSlot]:
    zones = zones_of(site.region, site.size.zones)
    return [
        make(f"host-{n}", f"i-{n:017x}", zones[(n - 1) % len(zones)])
        for n in range(1, site.size.hosts + 1)
    ]


def _fargate(host: Host, site: Site) -> HostSlot:
    return HostSlot(
        name=FARGATE,
        host=host,
        address=LOOPBACK,
        cpu_units=FARGATE_CPU_UNITS,
        memory_mib=4 * FARGATE_CPU_UNITS,
        ec2_instance_id="",
        availability_zone=f"{site.region}a",
    )
