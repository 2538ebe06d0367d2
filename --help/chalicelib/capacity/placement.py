"""Explains placement host by host, by ECS's rules and placement plug-ins. Pure.

ECS does not report the reasons for its choices. This applies its documented rules to the present
state of the hosts; an explanation is a prediction, not a record of an earlier choice.
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
"""Fields of a spread whose values identify hosts."""


class Cause(StrEnum):
    """The cause that excludes a host."""

    CPU = "cpu"
    MEMORY = "memory"
    PORTS = "ports"
    ATTRIBUTE = "attribute"
    """A constraint on the host's attributes."""
    CONSTRAINT = "constraint"
    """A constraint on the host's tasks or state."""
    DRAINING = "draining"
    AGENT = "agent"
    """Its ECS agent is disconnected."""
    STATUS = "status"
    PROVIDER = "provider"
    """It belongs to another capacity provider."""
    PLUGIN = "plugin"
    """A hard constraint of the placement plug-in."""
    PLUGIN_FAILED = "plugin-failed"
    """The placement plug-in raised an exception, or its fitness is not a number."""


@dataclass(frozen=True)
class TaskToPlace:
    """A task to place."""

    need: Need
    group: str
    """Its task group: `family:FAMILY`."""
    name: str = ""
    """Name of its app or job."""


Test = Callable[[TaskToPlace, HostState, Sequence[HostState]], bool]
Fitness = Callable[[TaskToPlace, HostState, Sequence[HostState]], float]


@dataclass(frozen=True)
class Plugin:
    """A placement plug-in of the stage: pure functions of a task, one host and all hosts.

    During a launch the tasks of the hosts have no `ends_by` and no `pool`, and warm ones have the
    kind SESSION, because reading these would cost too many calls.
    """

    fitness: Fitness
    """The host with the greatest value takes the task."""
    constraints: Mapping[str, Test] = field(default_factory=dict)
    """Tests by the names that explanations show; false = the host never takes the task."""


@dataclass(frozen=True)
class Rules:
    """The placement rules of a task. `spread`, `binpack` and `constraints` have ECS's syntax."""

    spread: tuple[str, ...] = ()
    binpack: str | None = None
    constraints: tuple[str, ...] = ()
    provider: str | None = None
    plugin: Plugin | None = None
    """Replaces `spread` and `binpack`."""


@dataclass(frozen=True)
class Obstacle:
    """One reason why a host does not take a task."""

    cause: Cause
    detail: str


@dataclass(frozen=True)
class Considered:
    """A host and its obstacles."""

    host: HostState
    obstacles: tuple[Obstacle, ...]
    fitness: float | None = None

    @property
    def fits(self) -> bool:
        """Whether it has no obstacles."""
        return not self.obstacles


@dataclass(frozen=True)
class Explanation:
    """All hosts, and those that ECS may choose; empty = none fits."""

    considered: tuple[Considered, ...]
    best: tuple[str, ...]

    @property
    def causes(self) -> Counter[Cause]:
        """The number of hosts that each cause excludes."""
        return Counter(cause for one in self.considered for cause in _causes(one))


@dataclass(frozen=True)
class Simulation:
    """The placement of further tasks."""

    placed: Mapping[str, int]
    """By host id."""
    missing: int
    """The number of tasks without a host."""
    next_one: Explanation
    """The explanation for the first task without a host, or for one more."""

    @property
    def missing_causes(self) -> Counter[Cause]:
        """The number of hosts that each cause excludes for the tasks without a host."""
        return self.next_one.causes if self.missing else Counter()


def explain(task: TaskToPlace, rules: Rules, hosts: Sequence[HostState]) -> Explanation:
    """Check each host, and determine those that ECS or the plug-in would choose."""
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
    """Place `count` tasks one after the other; of equal hosts the first by id."""
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
    """The values that constraints refer to."""
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
    """Raises TypeError, ValueError for values that cannot be compared."""
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
    """Hosts whose value of a field has the fewest tasks of the group."""
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
