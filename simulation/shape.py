"""A cell: its app, pool, hosts and limits, in real sessions before batching."""

from dataclasses import dataclass, replace

from chalicelib.apps import App, Apps, Limits, PoolSize
from chalicelib.callers import AuthMode
from chalicelib.config import Config
from chalicelib.task_placement import Placement

APP = "listings"


@dataclass(frozen=True)
class HostType:
    """An instance type; its price is in prices.toml under its name."""

    name: str
    vcpus: int
    sessions: int
    """So many of the simulated app fit."""


T3_LARGE = HostType("t3.large", 2, 60)
"""As the template has unless told; at `cpu = 32` and 128 MiB. Of 8 GiB some 300 MiB are the
system's and the agent's."""
M7G_4XLARGE = HostType("m7g.4xlarge", 16, 490)
LARGE_CELL = 10_000
"""A cell with this many sessions or more has the larger hosts."""
LEAST_SLOTS = 5
"""Batches are no larger than leaves so many simulated sessions on a host."""


def host_type_for(sessions: int) -> HostType:
    """The host type of a cell with this many sessions."""
    return M7G_4XLARGE if sessions >= LARGE_CELL else T3_LARGE


@dataclass(frozen=True)
class Shape:
    """One cell. `sessions` is how many live at once when nothing special happens."""

    sessions: int
    host: HostType = T3_LARGE
    zones: tuple[str, ...] = ("us-east-1a", "us-east-1b", "us-east-1c")
    stay_seconds: float = 1_200.0
    """How long a client stays, on average."""
    pool_share: float = 0.02
    """Minimum of the pool, of the sessions that live."""
    room: float = 4.0
    """Limits and the largest group of hosts allow so many times the usual sessions."""
    per_owner: int = 50
    pool: tuple[int, int] | None = None
    """Minimum and maximum of the warm pool, where they do not follow from the sessions."""
    slots: int = 0
    """Sessions on a host, where it is not the host type's."""

    @property
    def starts_per_second(self) -> float:
        """The rate that keeps the number of sessions constant."""
        return self.sessions / self.stay_seconds

    @property
    def pool_minimum(self) -> int:
        """Of the warm pool."""
        return max(2, round(self.sessions * self.pool_share))

    @property
    def most_sessions(self) -> int:
        """The limit of the deployment."""
        return round(self.sessions * self.room)

    @property
    def sessions_on_host(self) -> int:
        """The number of sessions on a host."""
        return self.slots or self.host.sessions

    def batched(self, batch: int) -> "Shape":
        """The same cell where each simulated session stands for `batch`.

        It has as many hosts, and each takes so many fewer. What has a rate has a part of it.
        """
        return replace(
            self,
            sessions=max(1, self.sessions // batch),
            per_owner=max(2, self.per_owner // batch),
            slots=max(1, round(self.sessions_on_host / batch)),
        )

    def config(self, waiting_sessions: int = 300) -> Config:
        """The dispatcher's configuration of this cell."""
        app = App(
            name=APP,
            image="usher-session",
            cpu=32,
            memory=128,
            queue_seconds=300,
            pool=PoolSize(*(self.pool or (self.pool_minimum, max(20, self.sessions // 4)))),
            placement=Placement(("attribute:ecs.availability-zone",), "memory"),
        )
        limits = Limits(total=self.most_sessions, per_owner=self.per_owner)
        return Config(
            stage="sim",
            region="us-east-1",
            apps=Apps(APP, {APP: app}, limits),
            feed_url="redis://feed/updates",
            callback_base_url="https://api",
            container_aws_endpoint_url=None,
            allowed_origins="*",
            session_url_template="ws://{ip}:{port}{path}",
            default_wait_seconds=20,
            metrics_here=False,
            auth_mode=AuthMode.IAM,
            api_keys=(),
            operators=frozenset(),
            viewers=frozenset(),
            critical_owners=frozenset(),
            capacity_provider="hosts",
            waiting_sessions=waiting_sessions,
        )
