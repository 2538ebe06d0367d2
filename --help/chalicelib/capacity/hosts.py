"""Plans which hosts to add, drain, reactivate and terminate. Pure.

Sessions cannot be moved. A host is therefore drained before it is terminated: it takes no more
tasks, its warm containers are started elsewhere, and it is terminated when its last task has ended.
A host that another party drained (an operator, ECS, a Spot interruption) is neither reactivated nor
terminated.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chalicelib.capacity.cluster_state import (
    ACTIVE,
    DRAINING,
    ClusterState,
    HostState,
    Need,
    TaskKind,
)

SAFETY = 1.5
"""As for pools: a factor on the mean demand, because requests arrive in bursts."""
DEVIATIONS = 2.0
"""Standard deviations of the number of starts during a host's start that are kept free in
addition."""


class DrainReason(StrEnum):
    """The reason why a host is drained."""

    SCALE_IN = "scale-in"
    """There are more hosts than needed. Reactivated when demand returns."""
    AGE = "age"
    """It exceeds its maximum age."""
    IMAGE = "image"
    """Newer hosts have another machine image."""


@dataclass(frozen=True)
class Budget:
    """Maximum numbers of hosts that may be away (draining or unreachable) at once for recycling;
    None = no limit.
    """

    hosts: int | None = 1
    """In the whole Auto Scaling group."""
    per_zone: int | None = None
    per_capacity_group: int | None = None
    """Hosts that have tasks of one capacity group."""
    warm_per_pool: int | None = None
    """Warm containers of one app that are moved at once, also for scale-in."""


@dataclass(frozen=True)
class HostPolicy:
    """The settings of the planner. Durations in seconds."""

    place: Need
    """The size of a task in which free capacity is measured."""
    least_free_places: int = 0
    """Minimum number of free places."""
    ahead: float = 1.0
    """Factor on `Demand.ahead`; 0 = a host is added only when a task waits for it."""
    scale_in_after_seconds: float = 300.0
    """A host is drained after there were too many for this long."""
    maximum_age_seconds: float | None = None
    recycles_images: bool = False
    """Whether hosts with an outdated machine image are recycled, regardless of their age."""
    expected_seconds: float = 1_200.0
    """Assumed maximum duration of a task, for comparing hosts."""
    most_drains: int = 10
    """In one plan; the maximum of UpdateContainerInstancesState."""
    budget: Budget = Budget()


@dataclass(frozen=True)
class Demand:
    """Demand for hosts beyond the present tasks. Rates in tasks per second."""

    waiting: int = 0
    """Tasks that wait for a host now, in places."""
    starts_per_second: float = 0.0
    ends_per_second: float = 0.0
    host_seconds: float = 180.0
    """From the request of a host to its first task."""

    @property
    def ahead(self) -> int:
        """The number of places that are taken while a new host starts.

        The rule of the warm pool (`sessions/pool.py`) with the start time of a host and net starts,
        because ended sessions free their places, plus an allowance for chance.
        """
        growth = max(0.0, self.starts_per_second - self.ends_per_second)
        expected = growth * self.host_seconds * SAFETY
        deviation = DEVIATIONS * math.sqrt(max(0.0, self.starts_per_second) * self.host_seconds)
        return math.ceil(expected + deviation)


@dataclass(frozen=True)
class Drained:
    """A host that this planner drains."""

    reason: DrainReason
    at: float


@dataclass(frozen=True)
class Memory:
    """State that one plan leaves to the next."""

    drained: Mapping[str, Drained] = field(default_factory=dict)
    """By host id."""
    surplus_since: float | None = None
    """Time since which there are more hosts than needed."""


@dataclass(frozen=True)
class HostPlan:
    """Steps to take now. Each is idempotent and may be missed because of a crash."""

    drain: Mapping[str, DrainReason] = field(default_factory=dict)
    take_back: tuple[str, ...] = ()
    """Draining hosts to reactivate."""
    move: tuple[str, ...] = ()
    """Ids of warm tasks on draining hosts, to be stopped if they are still without an owner."""
    end: tuple[str, ...] = ()
    """Empty drained hosts to terminate, lowering the desired capacity."""
    add: int = 0
    """Number of instances to add."""
    memory: Memory = Memory()
    free_places: int = 0
    wanted_places: int = 0
    notes: tuple[str, ...] = ()
    """Steps that were not taken, with reasons, for display."""


def plan_hosts(
    state: ClusterState, demand: Demand, policy: HostPolicy, memory: Memory, *, now: float
) -> HostPlan:
    """Compare free with required capacity and plan the steps."""
    return _Planner(state, demand, policy, memory, now).plan()


def lifetime_left(host: HostState, policy: HostPolicy, now: float) -> float:
    """Total seconds that its tasks may still run, which a drain has to wait for.

    A task with a known end counts with its remaining time, any other with `expected_seconds`. Hosts
    with few tasks therefore precede full ones, and hosts whose tasks expire soon precede those with
    new ones.
    """
    known = sum(
        policy.expected_seconds
        if task.ends_by is None
        else min(policy.expected_seconds, max(0.0, task.ends_by - now))
        for task in host.busy
    )
    unknown = max(0, (host.pending_or_running or 0) - len(host.tasks))
    return known + unknown * policy.expected_seconds


def is_away(host: HostState) -> bool:
    """Whether it takes no tasks at present."""
    return not host.takes_tasks


class _Planner:
    def __init__(
        self, state: ClusterState, demand: Demand, policy: HostPolicy, memory: Memory, now: float
    ) -> None:
        self._state = state
        self._policy = policy
        self._now = now
        self._hosts = {host.id: host for host in state.hosts}
        self._drained = {
            host_id: drained
            for host_id, drained in memory.drained.items()
            if host_id in self._hosts and self._hosts[host_id].status == DRAINING
        }
        self._surplus_since = memory.surplus_since
        ahead = math.ceil(demand.ahead * policy.ahead)
        self._wanted = demand.waiting + max(policy.least_free_places, ahead)
        self._free = sum(host.places(policy.place) for host in state.hosts if host.takes_tasks)
        self._desired = state.desired
        self._drain: dict[str, DrainReason] = {}
        self._notes: list[str] = []

    def plan(self) -> HostPlan:
        free_now = self._free
        take_back = self._take_back()
        add = self._add()
        if not take_back and not add:
            add = self._recycle()
        if not take_back and not add:
            self._scale_in()
        else:
            self._surplus_since = None
        end = self._end(take_back)
        drained = {
            **{i: d for i, d in self._drained.items() if i not in take_back and i not in end},
            **{i: Drained(reason, self._now) for i, reason in self._drain.items()},
        }
        return HostPlan(
            drain=self._drain,
            take_back=take_back,
            move=self._move(),
            end=end,
            add=add,
            memory=Memory(drained, self._surplus_since),
            free_places=free_now,
            wanted_places=self._wanted,
            notes=tuple(self._notes),
        )

    # Reactivation.

    def _take_back(self) -> tuple[str, ...]:
        """Drains for scale-in that are no longer needed, those with the longest lifetime left
        first.

        Hosts beyond their maximum age are reactivated only if the group may not grow.
        """
        taken: list[str] = []
        may_grow = self._desired < self._state.maximum
        candidates = [
            self._hosts[host_id]
            for host_id, drained in self._drained.items()
            if drained.reason is DrainReason.SCALE_IN or not may_grow
        ]
        for host in sorted(candidates, key=self._cost, reverse=True):
            if self._free + self._coming() >= self._wanted:
                break
            if host.is_connected:
                taken.append(host.id)
                self._free += host.places(self._policy.place)
        return tuple(taken)

    def _coming(self) -> int:
        """Places on instances that are starting."""
        return self._state.on_their_way * self._places_of_new()

    def _places_of_new(self) -> int:
        """The number of tasks that an empty host takes; 1 if unknown."""
        sizes = Counter((host.cpu, host.memory) for host in self._state.hosts)
        if not sizes:
            return 1
        (cpu, memory), _ = sizes.most_common(1)[0]
        empty = HostState(id="", cpu=cpu, memory=memory, free_cpu=cpu, free_memory=memory)
        return max(1, empty.places(self._policy.place))

    def _add(self) -> int:
        missing = self._wanted - self._free - self._coming()
        wanted = max(
            math.ceil(missing / self._places_of_new()), self._state.minimum - self._desired
        )
        return self._grow(max(0, wanted))

    def _grow(self, wanted: int) -> int:
        add = min(wanted, max(0, self._state.maximum - self._desired))
        if add < wanted:
            self._notes.append(
                f"{wanted - add} hosts more are needed than the group's maximum of "
                f"{self._state.maximum}"
            )
        self._desired += add
        return add

    # Scale-in.

    def _scale_in(self) -> None:
        """Drain hosts that were superfluous for long enough."""
        candidates = [
            host
            for host in self._candidates()
            if host.id not in self._drain and host.places(self._policy.place)
        ]
        if not candidates or not self._can_spare(candidates[0]):
            self._surplus_since = None
            return
        if self._surplus_since is None:
            self._surplus_since = self._now
        if self._now - self._surplus_since < self._policy.scale_in_after_seconds:
            return
        for host in candidates[: self._policy.most_drains]:
            if not self._can_spare(host):
                break  # fuller hosts have less free capacity and take longer to drain
            if self._warm_budget_allows(host):
                self._note_drain(host, DrainReason.SCALE_IN)

    def _candidates(self) -> list[HostState]:
        return sorted((h for h in self._state.hosts if h.takes_tasks), key=self._cost)

    def _cost(self, host: HostState) -> tuple[float, bool, float, str]:
        left = lifetime_left(host, self._policy, self._now)
        if self._recycling_reason(host) is not None:  # it will be recycled anyway
            left /= 2
        return left, not host.image_outdated, host.registered_at, host.id

    def _can_spare(self, host: HostState) -> bool:
        """Whether enough capacity is left without it, including places for its warm containers."""
        leaving = sum(is_away(h) for h in self._state.hosts if h.id in self._drained)
        staying = len(self._state.hosts) - leaving - len(self._drain) - 1
        if staying < self._state.minimum:
            return False
        moved = sum(task.kind is TaskKind.WARM for task in host.tasks)
        return self._free - host.places(self._policy.place) - moved >= self._wanted

    def _note_drain(self, host: HostState, reason: DrainReason) -> None:
        self._drain[host.id] = reason
        self._free -= host.places(self._policy.place)
        self._free -= sum(task.kind is TaskKind.WARM for task in host.tasks)

    # Recycling.

    def _recycling_reason(self, host: HostState) -> DrainReason | None:
        most = self._policy.maximum_age_seconds
        if most is not None and self._now - host.registered_at > most:
            return DrainReason.AGE
        if self._policy.recycles_images and host.image_outdated:
            return DrainReason.IMAGE
        return None

    def _recycle(self) -> int:
        """Drain hosts that are due, within the budget; returns the number of hosts that are needed
        first.
        """
        due = [
            (host, reason)
            for host in self._candidates()
            if host.id not in self._drain and (reason := self._recycling_reason(host))
        ]
        for host, reason in sorted(due, key=lambda one: one[0].registered_at):
            refusal = self._budget_refusal(host)
            if refusal is not None:
                self._notes.append(f"{host.id} is due ({reason}) and stays for now: {refusal}")
                continue
            if not self._can_spare(host):
                if self._state.on_their_way:
                    return 0
                self._notes.append(f"{host.id} is due ({reason}): its replacement comes first")
                return self._grow(1)
            if len(self._drain) < self._policy.most_drains:
                self._note_drain(host, reason)
        return 0

    def _budget_refusal(self, host: HostState) -> str | None:
        budget = self._policy.budget
        away = [h for h in self._state.hosts if is_away(h) or h.id in self._drain]
        if not self._is_within(len(away), budget.hosts):
            return f"{len(away)} hosts are away, the budget is {budget.hosts}"
        in_zone = sum(h.zone == host.zone for h in away)
        if not self._is_within(in_zone, budget.per_zone):
            return f"{in_zone} hosts of {host.zone} are away, the budget is {budget.per_zone}"
        for group in sorted(_groups_of(host)):
            of_group = sum(group in _groups_of(h) for h in away)
            if not self._is_within(of_group, budget.per_capacity_group):
                return f"{of_group} hosts of group {group} are away"
        return None if self._warm_budget_allows(host) else "its warm containers wait to be moved"

    @staticmethod
    def _is_within(away: int, budget: int | None) -> bool:
        return budget is None or away < budget

    def _warm_budget_allows(self, host: HostState) -> bool:
        """Whether its warm containers may be moved in addition to those that are being moved.

        A host that alone exceeds the budget is drained when no other is being moved.
        """
        most = self._policy.budget.warm_per_pool
        if most is None:
            return True
        moving: Counter[str] = Counter()
        for other in self._state.hosts:
            if other.id in self._drain or (other.status != ACTIVE and other.id in self._drained):
                moving.update(_warm_of(other))
        return all(
            moving[pool] == 0 or moving[pool] + count <= most
            for pool, count in _warm_of(host).items()
        )

    # Termination.

    def _move(self) -> tuple[str, ...]:
        return tuple(
            task.id
            for host_id in self._drained
            for task in self._hosts[host_id].tasks
            if task.kind is TaskKind.WARM
        )

    def _end(self, take_back: tuple[str, ...]) -> tuple[str, ...]:
        """Hosts that this planner drained, that are empty, and that are not reactivated."""
        staying = len(self._state.hosts)
        ended: list[str] = []
        for host_id in self._drained:
            host = self._hosts[host_id]
            if host_id in take_back or not (host.is_empty and host.is_connected):
                continue
            if staying > self._state.minimum:
                ended.append(host_id)
                staying -= 1
        return tuple(ended)


def _groups_of(host: HostState) -> set[str]:
    return {task.capacity_group for task in host.tasks if task.capacity_group is not None}


def _warm_of(host: HostState) -> Counter[str]:
    return Counter(
        task.pool for task in host.tasks if task.kind is TaskKind.WARM and task.pool is not None
    )


def plan_summary(plan: HostPlan) -> Sequence[str]:
    """The plan as lines for display and logs; empty if nothing is to be done."""
    lines = [f"drain {host} ({reason})" for host, reason in plan.drain.items()]
    lines += [f"take back {host}" for host in plan.take_back]
    lines += [f"end {host}" for host in plan.end]
    if plan.add:
        lines.append(f"add {plan.add}")
    return [*lines, *plan.notes]
