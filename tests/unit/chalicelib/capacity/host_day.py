"""A day of sessions on hosts in virtual time: the planner, managed scaling, an all-knowing one.

Sessions arrive by a curve with a night, a morning rise, a dip at noon and an evening peak; each
lasts as long as it lasts, on the host where it was started.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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

DAY = 86_400.0
TICK = 60.0
PLACES = 16
NEED = Need(cpu=128, memory=128)
HOST_SECONDS = 180.0
WINDOW = 15
MAX_SECONDS = 14_400.0


@dataclass(frozen=True)
class Arrival:
    at: float
    seconds: float


def share_of_peak(at: float) -> float:
    """From 0.12 at night to 1 in the evening, with a morning rise and a dip after noon."""
    hour = at / 3_600 % 24
    knots = [(0, 0.4), (3, 0.12), (6, 0.15), (9, 0.7), (12, 0.85), (14, 0.7), (20, 1.0), (24, 0.4)]
    for (left, low), (right, high) in itertools.pairwise(knots):
        if left <= hour <= right:
            part = (1 - math.cos(math.pi * (hour - left) / (right - left))) / 2
            return low + (high - low) * part
    raise AssertionError(hour)


def arrivals(peak_sessions: int, mean_seconds: float, seed: int) -> list[Arrival]:
    """Poisson arrivals by the curve; log-normal durations, most short, few of hours."""
    dice = random.Random(seed)
    sigma = 1.0
    mu = math.log(mean_seconds) - sigma * sigma / 2
    rate = peak_sessions / mean_seconds
    at, found = 0.0, []
    while True:
        at += dice.expovariate(rate)
        if at >= DAY:
            return found
        if dice.random() < share_of_peak(at):
            seconds = min(MAX_SECONDS, max(20.0, dice.lognormvariate(mu, sigma)))
            found.append(Arrival(at, seconds))


@dataclass
class Machine:
    """A host of the model. It is paid for from its launch to its end."""

    id: str
    launched_at: float
    ready_at: float
    status: str = ACTIVE
    tasks: dict[int, PlacedTask] = field(default_factory=dict)

    def state(self) -> HostState:
        used = len(self.tasks)
        size = PLACES * 128
        return HostState(
            id=self.id,
            cpu=size,
            memory=size,
            free_cpu=size - used * 128,
            free_memory=size - used * 128,
            tasks=tuple(self.tasks.values()),
            pending_or_running=used,
            status=self.status,
            registered_at=self.ready_at,
        )


@dataclass
class Outcome:
    host_hours: float = 0.0
    ended_with_sessions: int = 0
    waits: list[float] = field(default_factory=list)
    started: int = 0
    most_hosts: int = 0


class Day:
    """The cluster. ECS places at random without a strategy; here binpack can be set."""

    def __init__(self, sessions: Sequence[Arrival], hosts: int, *, binpack: bool = True) -> None:
        self._sessions = sessions
        self._binpack = binpack
        self._dice = random.Random(1)
        self.now = 0.0
        self.machines: dict[str, Machine] = {}
        self.waiting: list[tuple[float, float]] = []
        self._ends: list[tuple[float, int, str]] = []
        self._numbers = 0
        self.outcome = Outcome()
        self.starts = self.ends = 0
        self.launch(hosts)
        for machine in self.machines.values():
            machine.ready_at = 0.0

    @property
    def ready(self) -> list[Machine]:
        return [m for m in self.machines.values() if m.ready_at <= self.now]

    def launch(self, count: int) -> None:
        for _ in range(count):
            self._numbers += 1
            name = f"h{self._numbers:05}"
            self.machines[name] = Machine(name, self.now, self.now + HOST_SECONDS)
        self.outcome.most_hosts = max(self.outcome.most_hosts, len(self.machines))

    def end(self, host: str) -> None:
        machine = self.machines.pop(host)
        self.outcome.ended_with_sessions += len(machine.tasks)
        self.outcome.host_hours += (self.now - machine.launched_at) / 3_600

    def _start(self, asked_at: float, seconds: float) -> bool:
        rooms = [m for m in self.ready if m.status == ACTIVE and len(m.tasks) < PLACES]
        if not rooms:
            return False
        if self._binpack:
            host = max(rooms, key=lambda m: (len(m.tasks), m.id))
        else:
            host = self._dice.choice(rooms)
        self.starts += 1
        number = self.outcome.started = self.outcome.started + 1
        host.tasks[number] = PlacedTask(
            id=str(number),
            group="family:sessions",
            need=NEED,
            kind=TaskKind.SESSION,
            ends_by=self.now + MAX_SECONDS,
        )
        heapq.heappush(self._ends, (self.now + seconds, number, host.id))
        self.outcome.waits.append(self.now - asked_at)
        return True

    def _advance(self, until: float) -> None:
        """Sessions end, and those that wait get the places."""
        while self._ends and self._ends[0][0] <= until:
            self.now, number, host = heapq.heappop(self._ends)
            del self.machines[host].tasks[number]
            self.ends += 1
            self._start_waiting()
        self.now = until
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self.waiting and self._start(*self.waiting[0]):
            self.waiting.pop(0)

    def run(self, control: Callable[["Day"], None]) -> Outcome:
        arriving = iter([*self._sessions, Arrival(DAY, 0)])
        following = next(arriving)
        tick = TICK
        while tick <= DAY:
            while following.at <= tick and following.at < DAY:
                self._advance(following.at)
                if self.waiting or not self._start(following.at, following.seconds):
                    self.waiting.append((following.at, following.seconds))
                following = next(arriving)
            self._advance(tick)
            control(self)
            self.starts = self.ends = 0
            tick += TICK
        for host in list(self.machines):  # the day is over, what still runs is paid for until now
            machine = self.machines.pop(host)
            self.outcome.host_hours += (self.now - machine.launched_at) / 3_600
        return self.outcome


def planner(policy: HostPolicy, maximum: int) -> Callable[[Day], None]:
    """The real planner, each minute."""
    memory = Memory()
    rates: list[tuple[int, int]] = []

    def control(day: Day) -> None:
        nonlocal memory
        rates.append((day.starts, day.ends))
        recent = rates[-WINDOW:]
        seconds = len(recent) * TICK
        state = ClusterState(
            hosts=[machine.state() for machine in day.ready],
            desired=len(day.machines),
            maximum=maximum,
            minimum=1,
        )
        demand = Demand(
            waiting=len(day.waiting),
            starts_per_second=sum(starts for starts, _ in recent) / seconds,
            ends_per_second=sum(ends for _, ends in recent) / seconds,
            host_seconds=HOST_SECONDS,
        )
        plan = plan_hosts(state, demand, policy, memory, now=day.now)
        memory = plan.memory
        for host in plan.drain:
            day.machines[host].status = DRAINING
        for host in plan.take_back:
            day.machines[host].status = ACTIVE
        for host in plan.end:
            day.end(host)
        day.launch(plan.add)

    return control


def managed_scaling(target: int, maximum: int) -> Callable[[Day], None]:
    """ECS's managed scaling with managed termination protection, as AWS documents it.

    CapacityProviderReservation = 100 * M / N each minute: N instances, M those that are needed,
    which are the ones with tasks and as many as the waiting tasks need. One datapoint above the
    target scales out, fifteen below it scale in; an instance with a task is not ended.
    https://aws.amazon.com/blogs/containers/deep-dive-on-amazon-ecs-cluster-auto-scaling/
    """
    low = 0

    def control(day: Day) -> None:
        nonlocal low
        used = sum(bool(machine.tasks) for machine in day.machines.values())
        booting = sum(machine.ready_at > day.now for machine in day.machines.values())
        needed = used + math.ceil(len(day.waiting) / PLACES)
        current = len(day.machines)
        reservation = 100 * needed / current if current else (200 if needed else 100)
        wanted = max(1, math.ceil(needed * 100 / target))
        if reservation > target:
            low = 0
            day.launch(max(0, min(wanted, maximum) - current))
        elif reservation < target and not booting:
            low += 1
            if low >= 15:
                low = 0
                empty = [m.id for m in day.ready if not m.tasks]
                for host in empty[: current - wanted]:
                    day.end(host)
        else:
            low = 0

    return control


def all_knowing_hours(sessions: Sequence[Arrival]) -> float:
    """Returns the host-hours of a planner that knows the begin and end of every session, and moves
    none.

    Hosts start when they are needed and stop with their last session. The exact optimum is a bin
    packing problem in time; this takes the best of several ways to pack with known ends.
    """
    return min(_packed(sessions, bucket) for bucket in (None, 0.0, 600.0, 1_800.0))


def _packed(sessions: Sequence[Arrival], slack: float | None) -> float:
    """Each session goes where it prolongs a host least; ties (within `slack`) to the fullest.

    None packs without a look at the ends: to the fullest host.
    """
    hosts: dict[int, list[float]] = {}  # the ends of what is on it
    hours, numbers = 0.0, 0
    opened: dict[int, float] = {}
    for session in sessions:
        at, ends = session.at, min(DAY, session.at + session.seconds)
        for number in list(hosts):
            left = [end for end in hosts[number] if end > at]
            if left:
                hosts[number] = left
            else:
                hours += (max(hosts[number]) - opened.pop(number)) / 3_600
                del hosts[number]
        rooms = [number for number, ended in hosts.items() if len(ended) < PLACES]
        if not rooms:
            numbers += 1
            hosts[numbers], opened[numbers] = [ends], at
            continue

        def rank(number: int, ends: float = ends) -> tuple[float, int]:
            if slack is None:
                return 0.0, -len(hosts[number])
            longer = max(0.0, ends - max(hosts[number]))
            return (longer // slack if slack else longer), -len(hosts[number])

        hosts[min(rooms, key=rank)].append(ends)
    hours += sum((max(ends) - opened[number]) / 3_600 for number, ends in hosts.items())
    return hours
