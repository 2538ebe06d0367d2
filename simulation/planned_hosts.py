"""The hosts of a cell as the dispatcher's own planner has them, in the place of managed scaling."""

from collections import deque
from collections.abc import Callable
from typing import Any

from chalicelib.capacity.cluster_state import (
    ACTIVE,
    DRAINING,
    ClusterState,
    HostState,
    Need,
    PlacedTask,
    TaskKind,
)
from chalicelib.capacity.hosts import Demand, HostPolicy, Memory, plan_hosts
from simulation.models.ecs import Host, Task
from simulation.models.scaling import HOST_SECONDS, HOST_SPREAD_SECONDS, PERIOD_SECONDS, AutoScaling

PLACE = Need(cpu=1, memory=1)
"""A host's resources are counted in sessions here: the simulated app has one size."""
RATE_PERIODS = 5
"""Starts and ends are those of so many minutes."""


class PlannedHosts(AutoScaling):
    """Carries out `plan_hosts` each minute."""

    def __init__(self, *arguments: Any, stay_seconds: float, **settings: Any) -> None:
        """`stay_seconds`: how long a session is taken to stay."""
        super().__init__(*arguments, **settings)
        self._policy = HostPolicy(place=PLACE, expected_seconds=stay_seconds)
        self._memory = Memory()
        self._seen: deque[tuple[float, float]] = deque(maxlen=RATE_PERIODS + 1)
        self.kind_of: Callable[[Task], TaskKind] = lambda _: TaskKind.SESSION
        self.move: Callable[[str], None] = lambda _: None
        """Stops a warm container, by its task's ARN."""

    def _evaluate(self) -> None:
        self._seen.append((self._ecs.started, self._ecs.ended))
        hosts = {host.arn: host for host in self._ecs.hosts.values()}
        state = ClusterState(
            hosts=[self._state_of(host) for host in hosts.values()],
            desired=len(hosts) + self._coming,
            maximum=self.maximum,
            minimum=self._minimum,
        )
        now = self._time.now()
        plan = plan_hosts(state, self._demand(), self._policy, self._memory, now=now)
        self._memory = plan.memory
        for arn in plan.drain:
            hosts[arn].is_draining = True
        for arn in plan.take_back:
            hosts[arn].is_draining = False
        for task in plan.move:
            self.move(task)
        for arn in plan.end:
            self.terminate(hosts[arn], "terminated")
        for _ in range(plan.add):
            self._launch()
        if plan.take_back:
            self._ecs.place_waiting()

    def _demand(self) -> Demand:
        (started, ended), seconds = self._seen[0], PERIOD_SECONDS * max(1, len(self._seen) - 1)
        return Demand(
            waiting=len(self._ecs.provisioning),
            starts_per_second=(self._ecs.started - started) / seconds,
            ends_per_second=(self._ecs.ended - ended) / seconds,
            host_seconds=HOST_SECONDS + HOST_SPREAD_SECONDS + PERIOD_SECONDS,
        )

    def _state_of(self, host: Host) -> HostState:
        free = host.slots - len(host.tasks)
        return HostState(
            id=host.arn,
            cpu=host.slots,
            memory=host.slots,
            free_cpu=free,
            free_memory=free,
            tasks=tuple(
                PlacedTask(task.arn, "listings", PLACE, self.kind_of(task), pool="listings")
                for task in host.tasks.values()
            ),
            status=DRAINING if host.is_draining else ACTIVE,
            attributes={"ecs.availability-zone": host.zone},
            registered_at=host.joined_at,
        )
