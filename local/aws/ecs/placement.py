"""Which container instance takes a task: pure.

Rules: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement.html and, for the
words of refusals, .../developerguide/api_failures_messages.html
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from chalicelib.cluster_query import Expression, Facts
from local.aws.ecs.errors import invalid_parameter

Port = tuple[int, str]
"""Host port and protocol."""


@dataclass(frozen=True)
class Need:
    """The resources of a task. `ports` are the fixed host ports."""

    cpu: int
    memory: int
    ports: frozenset[Port] = frozenset()


@dataclass(frozen=True)
class Instance:
    """A container instance: its resources and their use."""

    arn: str
    name: str
    ec2_instance_id: str
    attributes: Mapping[str, str]
    cpu: int
    memory: int
    registered_at: float
    used_cpu: int = 0
    used_memory: int = 0
    used_ports: frozenset[Port] = frozenset()
    pending_tasks: int = 0
    running_tasks: int = 0
    status: str = "ACTIVE"
    agent_connected: bool = True
    version: int = 1
    tags: tuple[tuple[str, str], ...] = ()
    capacity_provider: str | None = None

    @property
    def free_cpu(self) -> int:
        return self.cpu - self.used_cpu

    @property
    def free_memory(self) -> int:
        return self.memory - self.used_memory

    def lacks(self, need: Need) -> str | None:
        """The reason why the task cannot go here, in ECS's words; None if it can."""
        if not self.agent_connected:
            return "AGENT"
        if need.cpu > self.free_cpu:
            return "RESOURCE:CPU"
        if need.memory > self.free_memory:
            return "RESOURCE:MEMORY"
        if need.ports & self.used_ports:
            return "RESOURCE:PORTS"
        return None

    def reserve(self, need: Need) -> "Instance":
        return replace(
            self,
            used_cpu=self.used_cpu + need.cpu,
            used_memory=self.used_memory + need.memory,
            used_ports=self.used_ports | need.ports,
            pending_tasks=self.pending_tasks + 1,
            version=self.version + 1,
        )

    def started(self) -> "Instance":
        """One of its pending tasks runs now."""
        return replace(
            self, pending_tasks=self.pending_tasks - 1, running_tasks=self.running_tasks + 1
        )

    def release(self, need: Need, *, was_running: bool) -> "Instance":
        return replace(
            self,
            used_cpu=self.used_cpu - need.cpu,
            used_memory=self.used_memory - need.memory,
            used_ports=self.used_ports - need.ports,
            pending_tasks=self.pending_tasks - (0 if was_running else 1),
            running_tasks=self.running_tasks - (1 if was_running else 0),
            version=self.version + 1,
        )


@dataclass(frozen=True)
class Strategy:
    """`random`, `spread` or `binpack`, and its field."""

    type: str
    field: str = ""


@dataclass(frozen=True)
class Constraints:
    """`distinctInstance`, and the expressions of all `memberOf` constraints."""

    distinct: bool = False
    member_of: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why an instance does not take the task; `arn` is empty when it concerns all of them."""

    arn: str
    reason: str


def place(
    need: Need,
    instances: Iterable[Instance],
    *,
    constraints: Constraints,
    strategies: Sequence[Strategy],
    tasks_of_group: Mapping[str, int],
    groups_on: Mapping[str, Collection[str]],
    choose: Callable[[Sequence[Instance]], Instance],
) -> Instance | list[Refusal]:
    """The instance that takes the task, or the reason why each of them does not.

    `tasks_of_group` counts the live tasks of the same group by instance ARN, `groups_on` has the
    groups of all live tasks by instance ARN; `choose` breaks ties. Raises InvalidParameterException
    if there is no active instance.
    """
    active = [instance for instance in instances if instance.status == "ACTIVE"]
    if not active:
        raise invalid_parameter("No Container Instances were found in your cluster.")
    fitting: list[Instance] = []
    refusals: list[Refusal] = []
    for instance in active:
        reason = _unmet(constraints, instance, tasks_of_group, groups_on) or instance.lacks(need)
        if reason:
            refusals.append(Refusal(instance.arn, reason))
        else:
            fitting.append(instance)
    if not fitting:
        return refusals
    for strategy in strategies:
        fitting = _best(strategy, fitting, active, tasks_of_group)
    return choose(fitting)


def _unmet(
    constraints: Constraints,
    instance: Instance,
    tasks_of_group: Mapping[str, int],
    groups_on: Mapping[str, Collection[str]],
) -> str | None:
    if constraints.distinct and tasks_of_group.get(instance.arn, 0):
        return "DistinctInstance placement constraint unsatisfied."
    facts = _facts_of(instance, groups_on.get(instance.arn, ()))
    if not all(expression.matches(facts) for expression in constraints.member_of):
        return "MemberOf placement constraint unsatisfied."
    return None


def _facts_of(instance: Instance, groups: Collection[str]) -> Facts:
    return {
        **{f"attribute:{name}": [value] for name, value in instance.attributes.items()},
        "ec2InstanceId": [instance.ec2_instance_id],
        "task:group": groups,
        "agentConnected": ["true" if instance.agent_connected else "false"],
        "runningTasksCount": [str(instance.running_tasks)],
        "registeredAt": [str(instance.registered_at)],
    }


def _best(
    strategy: Strategy,
    fitting: list[Instance],
    active: list[Instance],
    tasks_of_group: Mapping[str, int],
) -> list[Instance]:
    """The instances that the strategy rates highest."""
    if strategy.type == "random":
        return fitting
    if strategy.type == "binpack":
        remaining = {
            instance.arn: instance.free_cpu if strategy.field == "cpu" else instance.free_memory
            for instance in fitting
        }
        least = min(remaining.values())
        return [instance for instance in fitting if remaining[instance.arn] == least]
    load: Counter[str] = Counter()
    for instance in active:
        load[_spread_value(strategy.field, instance)] += tasks_of_group.get(instance.arn, 0)
    fewest = min(load[_spread_value(strategy.field, instance)] for instance in fitting)
    return [
        instance for instance in fitting if load[_spread_value(strategy.field, instance)] == fewest
    ]


def _spread_value(field: str, instance: Instance) -> str:
    if field in ("instanceId", "host"):
        return instance.arn
    return instance.attributes.get(field.removeprefix("attribute:"), "")
