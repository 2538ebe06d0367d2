"""Runs one scenario on one cell: arrivals, disturbances, and a sample each minute."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from chalicelib.sessions.model import State
from simulation import scenarios
from simulation.cell import Cell
from simulation.models.latencies import Latencies
from simulation.scenarios import MINUTE, Scenario
from simulation.shape import Shape, host_type_for
from simulation.virtual_time import VirtualTime

SPOT_NOTICE_SECONDS = 120.0
ABUSER = "abuser"
OWNERS_PER_SESSION = 20
"""Of those who come at all: few have two sessions at a time."""


@dataclass(frozen=True)
class Sample:
    """A cell at an instant, in whole sessions and hosts."""

    at: float
    live: int
    warm: int
    coming: int
    hosts: int
    needed_hosts: int


@dataclass
class World:
    """One cell, and what happens to it."""

    scenario: Scenario
    cell: Cell
    chance: random.Random
    samples: list[Sample] = field(default_factory=list)
    lost_with_hosts: set[str] = field(default_factory=set)
    """Tasks that were on hosts when these went."""
    most_of_owner: int = 0
    most_live: int = 0

    def run(self, progress: Callable[[float], None] = lambda _: None) -> None:
        """Let the scenario's time pass. `progress` is told the part that has passed."""
        time, seconds = self.cell.time, self.scenario.seconds
        self.cell.begin(round(self.cell.shape.sessions * self.scenario.load(0.0)))
        time.spawn(self._arrive)
        time.spawn(self._sample)
        for disturbance in self.scenario.disturbances:
            time.spawn(lambda one=disturbance: self._disturb(one), disturbance.at)  # type: ignore[misc]
        parts = 100
        for part in range(parts):
            time.run(seconds / parts)
            progress((part + 1) / parts)

    def _arrive(self) -> None:
        """Poisson arrivals at a rate that changes: thinning of those at the highest rate."""
        shape, time = self.cell.shape, self.cell.time
        owners = max(10, round(shape.sessions * OWNERS_PER_SESSION))
        samples = [self.scenario.load(self.scenario.seconds * n / 2_000) for n in range(2_001)]
        highest = max(samples)
        while True:
            time.sleep(self.chance.expovariate(shape.starts_per_second * highest))
            if self.chance.random() * highest < self.scenario.load(time.elapsed):
                owner = f"owner-{self.chance.randrange(owners)}"
                self.visit(owner, self.chance.expovariate(1 / shape.stay_seconds))

    def visit(self, owner: str, stay_seconds: float) -> None:
        """A visitor arrives now."""
        self.cell.time.spawn(lambda: self.cell.visit(owner, stay_seconds))

    def _sample(self) -> None:
        while True:
            self._take_sample()
            self.cell.time.sleep(MINUTE)

    def _take_sample(self) -> None:
        cell = self.cell
        owned: dict[str, int] = {}
        live = warm = coming = 0
        for session in cell.table.sessions.values():
            if session.owner is not None and session.counters and session.state is not State.ENDED:
                owned[session.owner] = owned.get(session.owner, 0) + 1
            live += session.state in {State.ACTIVE, State.RESERVED}
            warm += session.state is State.WARM
            coming += session.owner is not None and session.state in {State.QUEUED, State.STARTING}
        self.most_of_owner = max([self.most_of_owner, *owned.values()])
        self.most_live = max(self.most_live, sum(owned.values()))
        batch = cell.batch
        cell.meter.level("live sessions", live)
        self.samples.append(
            Sample(
                cell.time.elapsed,
                live * batch,
                warm * batch,
                coming * batch,
                len(cell.ecs.hosts),
                -(-live // cell.shape.sessions_on_host),
            )
        )

    def _disturb(self, disturbance: scenarios.Disturbance) -> None:
        match disturbance:
            case scenarios.Deploy(is_broken=is_broken):
                self._deploy(is_broken)
            case scenarios.ZoneOutage(seconds=seconds):
                self._zone_outage(seconds)
            case scenarios.Shortage(seconds=seconds, share=share):
                self.cell.scaling.trouble.failing_launches = share
                self.cell.time.sleep(seconds)
                self.cell.scaling.trouble.failing_launches = 0.0
            case scenarios.SlowPulls(seconds=seconds, factor=factor):
                pull = self.cell.latencies.pull
                self.cell.with_latencies(pull=pull * factor)
                self.cell.time.sleep(seconds)
                self.cell.with_latencies(pull=pull)
            case scenarios.SpotReclaim(share=share):
                self._reclaim(share)
            case scenarios.AbusiveOwner(seconds=seconds, factor=factor):
                self._abuse(seconds, factor)

    def sessions_given(self) -> int:
        """How many sessions visitors got."""
        return len(self.cell.given)

    def intervals(self) -> list[tuple[float, float]]:
        """From when until when each client was served, those of the beginning too."""
        return [(start, end) for start, end in self.cell.served if end > start]

    def _deploy(self, is_broken: bool) -> None:
        self.cell.deploy()
        if is_broken:
            revision = f":{self.cell.ecs.revision}"
            self.cell.ecs.fails = lambda task: task.task_definition.endswith(revision)

    def _zone_outage(self, seconds: float) -> None:
        cell, zone = self.cell, self.cell.shape.zones[0]
        cell.scaling.trouble.zones_out.add(zone)
        for host in [host for host in cell.ecs.hosts.values() if host.zone == zone]:
            self._end_host(host.arn)
        cell.time.sleep(seconds)
        cell.scaling.trouble.zones_out.discard(zone)

    def _reclaim(self, share: float) -> None:
        hosts = list(self.cell.ecs.hosts.values())
        chosen = self.chance.sample(hosts, round(len(hosts) * share))
        for host in chosen:
            host.is_draining = True
            self.cell.on_host_leaving(host)
        self.cell.time.sleep(SPOT_NOTICE_SECONDS)
        for host in chosen:
            self._end_host(host.arn)

    def _end_host(self, arn: str) -> None:
        host = self.cell.ecs.hosts.get(arn)
        if host is not None:
            self.lost_with_hosts.update(task.started_by for task in host.tasks.values())
            self.cell.scaling.terminate(host, "terminated")
            self.cell.on_host_leaving(host)

    def _abuse(self, seconds: float, factor: float) -> None:
        time, shape = self.cell.time, self.cell.shape
        until = time.elapsed + seconds
        while time.elapsed < until:
            time.sleep(self.chance.expovariate(shape.starts_per_second * factor))
            self.visit(ABUSER, self.chance.expovariate(1 / shape.stay_seconds))


def world_of(
    scenario: Scenario,
    sessions: int,
    *,
    seed: int,
    batch: int = 1,
    shape: Shape | None = None,
    latencies: Latencies | None = None,
    cell_name: str = "cell",
    planned_hosts: bool = False,
) -> World:
    """A cell for a scenario, without visitors."""
    whole = shape or Shape(sessions, host=host_type_for(sessions))
    if batch > whole.sessions_on_host:
        raise ValueError(f"a batch of {batch}: a host takes {whole.sessions_on_host} sessions")
    chance = random.Random(f"{seed}/{cell_name}/visitors")
    cell = Cell(
        VirtualTime(),
        whole.batched(batch),
        seed=f"{seed}/{cell_name}/aws",
        batch=batch,
        latencies=latencies,
        planned_hosts=planned_hosts,
    )
    return World(scenario, cell, chance)
