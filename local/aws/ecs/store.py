"""The engine's state: instances, tasks, client tokens and ports. No threads, no clock; the engine
calls it under its lock.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import islice

from local.aws.ecs.arns import Arns
from local.aws.ecs.model import Container, HostSlot, Interface, Task
from local.aws.ecs.placement import Instance, Need, Refusal, place
from local.aws.ecs.plans import TaskPlan
from local.aws.ecs.ports import NoPortError, Ports
from local.aws.ecs.requests import TaskRequest
from local.aws.ecs.tokens import ClientTokens
from local.hosts.base import Exit, PortMapping

STOPPED_KEPT_SECONDS = 3600.0
STOPPED_KEPT_COUNT = 1_000
"""ECS has no such bound; each costs this process some KiB."""


class Phase(Enum):
    """The progress of starting a task's containers."""

    WAITING = auto()
    STARTING = auto()
    SETTLED = auto()


@dataclass(eq=False)
class Record:
    """A task and what the engine needs to run it."""

    task: Task
    plan: TaskPlan
    need: Need
    request: TaskRequest
    slot: HostSlot | None
    """None while it waits in PROVISIONING for a host."""
    phase: Phase = Phase.WAITING
    counted_running: bool = False
    early_exits: dict[str, Exit] = field(default_factory=dict)
    """Exits of containers that ended before their start was reported."""


class Store:
    """One cluster's instances and tasks."""

    def __init__(
        self, *, arns: Arns, cluster: str, ports: Ports, new_id: Callable[[], str]
    ) -> None:
        self.arns = arns
        self.cluster = cluster
        self.tokens = ClientTokens()
        self.instances: dict[str, Instance] = {}
        self.records: dict[str, Record] = {}
        self._slots: dict[str, HostSlot] = {}
        self._ports = ports
        self._new_id = new_id
        self._stopped: deque[tuple[float, str]] = deque()
        self._sequence = 0

    def add_slot(
        self, slot: HostSlot, now: float, capacity_provider: str | None = None
    ) -> Instance:
        instance = Instance(
            arn=self.arns.container_instance(self.cluster, self._new_id()),
            name=slot.name,
            ec2_instance_id=slot.ec2_instance_id,
            attributes={
                "ecs.availability-zone": slot.availability_zone,
                "ecs.os-type": "linux",
                **slot.attributes,
            },
            cpu=slot.cpu_units,
            memory=slot.memory_mib,
            registered_at=now,
            capacity_provider=capacity_provider,
        )
        self.instances[instance.arn] = instance
        self._slots[instance.arn] = slot
        return instance

    def instance_of(self, slot: HostSlot) -> Instance | None:
        """The instance of a host; None for the runtime of Fargate's tasks."""
        return next((i for i in self.instances.values() if i.name == slot.name), None)

    def put_instance(self, instance: Instance) -> Instance:
        self.instances[instance.arn] = instance
        return instance

    def admit(
        self,
        request: TaskRequest,
        plan: TaskPlan,
        *,
        targets: Sequence[str] | None,
        now: float,
        choose: Callable[[Sequence[Instance]], Instance],
    ) -> tuple[list[Record], list[Refusal]]:
        """Reserve capacity for as many tasks as fit, on `targets` (instance ARNs) or any instance.

        Raises InvalidParameterException if there is no active instance.
        """
        records: list[Record] = []
        if targets is not None:
            refusals: list[Refusal] = []
            for arn in targets:
                outcome = self._admit_on(self._target(arn, plan.need), request, plan, now)
                if isinstance(outcome, Record):
                    records.append(outcome)
                else:
                    refusals += outcome
            return records, refusals
        for _ in range(request.count):
            chosen = place(
                plan.need,
                self._of_provider(request.capacity_provider),
                constraints=request.constraints,
                strategies=request.strategies,
                tasks_of_group=self._tasks_of_group(request.group),
                groups_on=self._groups_on(),
                choose=choose,
            )
            outcome = self._admit_on(chosen, request, plan, now)
            if not isinstance(outcome, Record):
                return records, outcome
            records.append(outcome)
        return records, []

    def _target(self, arn: str, need: Need) -> Instance | list[Refusal]:
        instance = self.instances.get(arn)
        if instance is None:
            return [Refusal(arn, "MISSING")]
        if instance.status != "ACTIVE":
            return [Refusal(arn, instance.status)]
        reason = instance.lacks(need)
        return [Refusal(arn, reason)] if reason else instance

    def _admit_on(
        self,
        instance: Instance | list[Refusal],
        request: TaskRequest,
        plan: TaskPlan,
        now: float,
    ) -> Record | list[Refusal]:
        if not isinstance(instance, Instance):
            return instance
        record = self.enqueue(request, plan, now)
        if not self._put_on(record, instance):
            del self.records[record.task.id]
            return [Refusal(instance.arn, "RESOURCE:PORTS")]
        return record

    def enqueue(self, request: TaskRequest, plan: TaskPlan, now: float) -> Record:
        """A task in PROVISIONING that has no host yet."""
        task_id = self._new_id()
        self._sequence += 1
        definition = plan.definition
        task = Task(
            id=task_id,
            arn=self.arns.task(self.cluster, task_id),
            cluster=self.cluster,
            cluster_arn=self.arns.cluster(self.cluster),
            sequence=self._sequence,
            definition_arn=definition.arn,
            family=definition.family,
            instance_arn=None,
            availability_zone=None,
            group=request.group,
            started_by=request.started_by,
            cpu=plan.cpu or str(plan.need.cpu),
            memory=plan.memory or str(plan.need.memory),
            overrides=request.overrides,
            containers=tuple(
                Container(
                    arn=self.arns.container(self.cluster, task_id, self._new_id()),
                    name=container.name,
                    image=container.image,
                    essential=container.essential,
                    cpu=container.cpu,
                    memory=container.memory,
                    memory_reservation=container.memory_reservation,
                    ports=container.ports,
                    checks_health=container.health_check is not None,
                )
                for container in plan.containers
            ),
            created_at=now,
            updated_at=now,
            tags=request.tags,
            capacity_provider=request.capacity_provider,
            launch_type=request.launch_type,
            enable_execute_command=request.enable_execute_command,
        )
        record = Record(task=task, plan=plan, need=plan.need, request=request, slot=None)
        self.records[task_id] = record
        return record

    def place_waiting(self, choose: Callable[[Sequence[Instance]], Instance]) -> list[Record]:
        """Give hosts to the tasks that wait for one, the oldest first; those that got one."""
        return [record for record in self.waiting() if self._place(record, choose)]

    def _place(self, record: Record, choose: Callable[[Sequence[Instance]], Instance]) -> bool:
        request = record.request
        instances = self._active_of(request.capacity_provider)
        if not instances:
            return False
        chosen = place(
            record.plan.need,
            instances,
            constraints=request.constraints,
            strategies=request.strategies,
            tasks_of_group=self._tasks_of_group(request.group),
            groups_on=self._groups_on(),
            choose=choose,
        )
        return isinstance(chosen, Instance) and self._put_on(record, chosen)

    def _of_provider(self, name: str | None) -> list[Instance]:
        """The instances that a task of this provider may run on; all without one."""
        return [i for i in self.instances.values() if name is None or i.capacity_provider == name]

    def _active_of(self, provider: str | None) -> list[Instance]:
        return [i for i in self._of_provider(provider) if i.status == "ACTIVE"]

    def _put_on(self, record: Record, instance: Instance) -> bool:
        """Reserve capacity and ports; False when a port is taken."""
        try:
            ports = self._take_ports(record.plan)
        except NoPortError:
            return False
        record.need = replace(
            record.plan.need,
            ports=frozenset((p.host_port, p.protocol) for taken in ports for p in taken),
        )
        self.put_instance(instance.reserve(record.need))
        record.slot = self._slots[instance.arn]
        record.task = replace(
            record.task,
            instance_arn=instance.arn,
            availability_zone=instance.attributes["ecs.availability-zone"],
            containers=tuple(
                replace(container, ports=taken)
                for container, taken in zip(record.task.containers, ports, strict=True)
            ),
        )
        return True

    def put_on_fargate(self, record: Record, slot: HostSlot, interface: Interface) -> None:
        """A task on Fargate has the machine to itself: all its ports, its own address."""
        record.slot = slot
        record.task = replace(
            record.task, availability_zone=slot.availability_zone, interface=interface
        )

    def waiting(self) -> list[Record]:
        """Tasks in PROVISIONING without a host, the oldest first."""
        return [r for r in self.records.values() if r.slot is None and r.task.is_wanted]

    def refusal_of(self, record: Record) -> str:
        """Why a task that waits got no host, in ECS's words."""
        instances = self._active_of(record.request.capacity_provider)
        if not instances:
            return "EMPTY CAPACITY PROVIDER"
        return next(
            islice((w for i in instances if (w := i.lacks(record.need))), 1), "RESOURCE:CPU"
        )

    def _take_ports(self, plan: TaskPlan) -> list[tuple[PortMapping, ...]]:
        taken: list[tuple[PortMapping, ...]] = []
        held: list[tuple[int, str]] = []
        try:
            for container in plan.containers:
                mappings = []
                for port in container.ports:
                    host_port = self._ports.take(port.host_port, port.protocol)
                    held.append((host_port, port.protocol))
                    mappings.append(replace(port, host_port=host_port))
                taken.append(tuple(mappings))
        except NoPortError:
            for port_number, protocol in held:
                self._ports.give_back(port_number, protocol)
            raise
        return taken

    def mark_running(self, record: Record) -> None:
        if record.task.instance_arn is not None:
            record.counted_running = True
            self.put_instance(self.instances[record.task.instance_arn].started())

    def release(self, record: Record, now: float) -> None:
        """Give back what the task held; it stays visible for an hour."""
        if record.task.instance_arn is not None:
            instance = self.instances[record.task.instance_arn]
            self.put_instance(instance.release(record.need, was_running=record.counted_running))
            for port, protocol in record.need.ports:
                self._ports.give_back(port, protocol)
        self._stopped.append((now, record.task.id))
        self.forget_old(now)

    def forget_old(self, now: float) -> None:
        """Remove tasks that stopped an hour ago, and the oldest if there are too many."""
        while self._stopped and (
            now - self._stopped[0][0] > STOPPED_KEPT_SECONDS
            or len(self._stopped) > STOPPED_KEPT_COUNT
        ):
            _, task_id = self._stopped.popleft()
            del self.records[task_id]
            self.tokens.forget_task(task_id)

    def live_on(self, slot: HostSlot) -> list[Record]:
        return [r for r in self.records.values() if r.slot is slot and not r.task.is_stopped]

    def live(self) -> Iterable[Record]:
        return [r for r in self.records.values() if not r.task.is_stopped]

    def _tasks_of_group(self, group: str) -> Counter[str]:
        return Counter(
            r.task.instance_arn
            for r in self.live()
            if r.task.group == group and r.task.instance_arn is not None
        )

    def _groups_on(self) -> dict[str, set[str]]:
        """The task groups of the live tasks of each instance."""
        groups: dict[str, set[str]] = {}
        for record in self.live():
            if record.task.instance_arn is not None:
                groups.setdefault(record.task.instance_arn, set()).add(record.task.group)
        return groups
