"""Where a task goes and why: ECS's own rules and a stage's own, explained host by host. Pure.

ECS decides by itself and does not say why. This repeats its documented rules on what ECS says of
its hosts, so an explanation is what would be decided now, not a record of what was.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chalicelib.capacity.cluster_state import ACTIVE, DRAINING, HostState, Need, PlacedTask
from chalicelib.cluster_query import Facts, only_attributes, parse_expression

INSTANCE_FIELDS = ("instanceId", "host")
"""Fields of a spread that mean each host by itself."""


class Cause(StrEnum):
    """Why a host does not take a task."""

    CPU = "cpu"
    MEMORY = "memory"
    PORTS = "ports"
    ATTRIBUTE = "attribute"
    """A constraint on what the host is."""
    CONSTRAINT = "constraint"
    """A constraint on what runs there, or on its state."""
    DRAINING = "draining"
    AGENT = "agent"
    """ECS's agent on it does not answer."""
    STATUS = "status"
    PROVIDER = "provider"
    """It belongs to another capacity provider."""
    PLUGIN = "plugin"
    """A hard constraint of the stage's own placement."""
    PLUGIN_FAILED = "plugin-failed"
    """The stage's own placement raised an exception, or its fitness is no number."""


@dataclass(frozen=True)
class TaskToPlace:
    """A task that wants a host."""

    need: Need
    group: str
    """Its task group: `family:FAMILY`."""
    name: str = ""
    """Of its app or job."""


Test = Callable[[TaskToPlace, HostState, Sequence[HostState]], bool]
Fitness = Callable[[TaskToPlace, HostState, Sequence[HostState]], float]


@dataclass(frozen=True)
class Plugin:
    """Placement of a stage's own: pure functions of a task, one host, and all hosts.

    On a launch the tasks of the hosts have no `ends_by` and no `pool`, and warm ones are of the
    kind SESSION: these cost more calls than a launch may.
    """

    fitness: Fitness
    """The host with the greatest value gets the task."""
    constraints: Mapping[str, Test] = field(default_factory=dict)
    """By name, which explanations show: false = this host never takes it."""


@dataclass(frozen=True)
class Rules:
    """How a task is placed. `spread`, `binpack` and `constraints` are in ECS's own words."""

    spread: tuple[str, ...] = ()
    binpack: str | None = None
    constraints: tuple[str, ...] = ()
    provider: str | None = None
    plugin: Plugin | None = None
    """Decides in place of `spread` and `binpack`."""


@dataclass(frozen=True)
class Obstacle:
    """One reason why a host does not take a task."""

    cause: Cause
    detail: str


@dataclass(frozen=True)
class Considered:
    """A host, and what is in the way."""

    host: HostState
    obstacles: tuple[Obstacle, ...]
    fitness: float | None = None

    @property
    def fits(self) -> bool:
        """Whether it can take the task."""
        return not self.obstacles


@dataclass(frozen=True)
class Explanation:
    """Every host, and which of them take the task equally well; empty = none can."""

    considered: tuple[Considered, ...]
    best: tuple[str, ...]

    @property
    def causes(self) -> Counter[Cause]:
        """How many hosts each cause rules out."""
        return Counter(cause for one in self.considered for cause in _causes(one))


@dataclass(frozen=True)
class Simulation:
    """Where more tasks would go."""

    placed: Mapping[str, int]
    """By host id."""
    missing: int
    """How many find no host."""
    next_one: Explanation
    """Of the first that finds none, or of one more."""

    @property
    def missing_causes(self) -> Counter[Cause]:
        """How many hosts each cause rules out for those that find none."""
        return self.next_one.causes if self.missing else Counter()


def explain(task: TaskToPlace, rules: Rules, hosts: Sequence[HostState]) -> Explanation:
    """Look at each host; which of them ECS, or the plug-in, would choose."""
    considered = tuple(_consider(task, rules, host, hosts) for host in hosts)
    fitting = [one for one in considered if one.fits]
    if rules.plugin is not None:
        greatest = max((one.fitness or 0.0 for one in fitting), default=0.0)
        best = [one.host for one in fitting if (one.fitness or 0.0) == greatest]
        return Explanation(considered, tuple(sorted(host.id for host in best)))
    best = [one.host for one in fitting]
    active = [host for host in hosts if host.status == ACTIVE and _is_of(host, rules)]
    for name in rules.spread:
        best = _least_of_group(name, task.group, best, active)
    if rules.binpack:
        best = _fullest(rules.binpack, best)
    return Explanation(considered, tuple(sorted(host.id for host in best)))


def simulate(task: TaskToPlace, rules: Rules, hosts: Sequence[HostState], count: int) -> Simulation:
    """Place `count` more tasks one after the other; of equally good hosts the first by id."""
    now = {host.id: host for host in hosts}
    placed: Counter[str] = Counter()
    for number in range(count):
        explanation = explain(task, rules, list(now.values()))
        if not explanation.best:
            return Simulation(dict(placed), count - number, explanation)
        chosen = explanation.best[0]
        placed[chosen] += 1
        added = PlacedTask(id=f"more-{number}", group=task.group, need=task.need)
        now[chosen] = now[chosen].with_task(added)
    return Simulation(dict(placed), 0, explain(task, rules, list(now.values())))


def facts_of(host: HostState) -> Facts:
    """What constraints read of a host."""
    facts: dict[str, Sequence[str]] = {
        f"attribute:{name}": [value] for name, value in host.attributes.items()
    }
    running = len(host.tasks) if host.pending_or_running is None else host.pending_or_running
    return facts | {
        "ec2InstanceId": [host.ec2_instance_id or ""],
        "task:group": sorted({task.group for task in host.tasks}),
        "agentConnected": ["true" if host.is_connected else "false"],
        "runningTasksCount": [str(running)],
        "registeredAt": [str(host.registered_at)],
    }


def _consider(
    task: TaskToPlace, rules: Rules, host: HostState, hosts: Sequence[HostState]
) -> Considered:
    obstacles = [*_state_of(host, rules), *_unmet(rules.constraints, host)]
    obstacles += _lacks(task.need, host)
    plugin = rules.plugin
    if plugin is None:
        return Considered(host, tuple(obstacles))
    fitness = None
    try:
        obstacles += [
            Obstacle(Cause.PLUGIN, f"{name} of the stage's own placement does not allow it")
            for name, test in plugin.constraints.items()
            if not test(task, host, hosts)
        ]
        if not obstacles:
            fitness = _number(plugin.fitness(task, host, hosts))
    except Exception as error:  # noqa: BLE001 - the stage's own code, whatever it raises
        detail = f"the stage's own placement failed: {type(error).__name__}: {error}"
        obstacles.append(Obstacle(Cause.PLUGIN_FAILED, detail))
    return Considered(host, tuple(obstacles), fitness)


def _number(fitness: float) -> float:
    """Raises TypeError, ValueError for what cannot be compared."""
    value = float(fitness)
    if math.isnan(value):
        raise ValueError("its fitness is not a number")
    return value


def _state_of(host: HostState, rules: Rules) -> Sequence[Obstacle]:
    obstacles = []
    if host.status == DRAINING:
        obstacles.append(Obstacle(Cause.DRAINING, "it drains, and takes no more tasks"))
    elif host.status != ACTIVE:
        obstacles.append(Obstacle(Cause.STATUS, f"its status is {host.status}"))
    if not host.is_connected:
        obstacles.append(Obstacle(Cause.AGENT, "its agent is disconnected"))
    if not _is_of(host, rules):
        other = host.provider or "no capacity provider"
        obstacles.append(Obstacle(Cause.PROVIDER, f"it is of {other}, not of {rules.provider}"))
    return obstacles


def _is_of(host: HostState, rules: Rules) -> bool:
    return rules.provider is None or host.provider == rules.provider


def _unmet(constraints: Sequence[str], host: HostState) -> Sequence[Obstacle]:
    facts = facts_of(host)
    obstacles = []
    for text in constraints:
        expression = parse_expression(text)
        if not expression.matches(facts):
            cause = Cause.ATTRIBUTE if only_attributes(expression) else Cause.CONSTRAINT
            obstacles.append(Obstacle(cause, f"it does not meet {text}"))
    return obstacles


def _lacks(need: Need, host: HostState) -> Sequence[Obstacle]:
    obstacles = []
    if need.cpu > host.free_cpu:
        obstacles.append(Obstacle(Cause.CPU, f"{need.cpu} units wanted, {host.free_cpu} free"))
    if need.memory > host.free_memory:
        detail = f"{need.memory} MiB wanted, {host.free_memory} free"
        obstacles.append(Obstacle(Cause.MEMORY, detail))
    if taken := need.ports & host.used_ports:
        ports = ", ".join(str(port) for port in sorted(taken))
        obstacles.append(Obstacle(Cause.PORTS, f"in use: {ports}"))
    return obstacles


def _least_of_group(
    name: str, group: str, fitting: list[HostState], active: Sequence[HostState]
) -> list[HostState]:
    """Those whose value of a field has the fewest tasks of the group."""
    if not fitting:
        return []
    load: Counter[str] = Counter()
    for host in active:
        load[_value_of(name, host)] += host.groups()[group]
    fewest = min(load[_value_of(name, host)] for host in fitting)
    return [host for host in fitting if load[_value_of(name, host)] == fewest]


def _value_of(name: str, host: HostState) -> str:
    if name in INSTANCE_FIELDS:
        return host.id
    return host.attributes.get(name.removeprefix("attribute:"), "")


def _fullest(resource: str, fitting: list[HostState]) -> list[HostState]:
    left = {h.id: h.free_cpu if resource == "cpu" else h.free_memory for h in fitting}
    least = min(left.values(), default=0)
    return [host for host in fitting if left[host.id] == least]


def _causes(one: Considered) -> set[Cause]:
    return {obstacle.cause for obstacle in one.obstacles}
