"""The ECS engine: tasks of one cluster on existing hosts, or on hosts that capacity providers
add.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from local.aws.ecs import metadata
from local.aws.ecs.arns import Arns
from local.aws.ecs.errors import EcsApiError, client_error, invalid_parameter, unsupported
from local.aws.ecs.lifecycle import Lifecycle
from local.aws.ecs.model import HostSlot, Interface, Task
from local.aws.ecs.placement import Instance, Refusal
from local.aws.ecs.plans import TaskPlan
from local.aws.ecs.ports import Ports
from local.aws.ecs.providers import CapacityProvider, Waiting
from local.aws.ecs.publisher import Publisher
from local.aws.ecs.read_lag import AT_ONCE, ReadLag
from local.aws.ecs.requests import TaskRequest
from local.aws.ecs.store import Record, Store
from local.aws.ecs.workers import Threads, Workers
from local.aws.secrets import no_secrets

__all__ = ["Engine", "HostSlot"]

WATCH_WAITING_SECONDS = 0.25
LOOPBACK_ADDRESSES = 64 * 250 * 250


def loopback_address(number: int) -> str:
    """One of the addresses 127.64.0.1 to 127.127.249.250, each with all ports.

    Linux has all of 127.0.0.0/8 on its loopback interface; macOS has 127.0.0.1 only.
    """
    rest, last = divmod(number % LOOPBACK_ADDRESSES, 250)
    second, third = divmod(rest, 250)
    return f"127.{64 + second}.{third}.{last + 1}"


class Engine:
    """Thread-safe.

    `publish` is called with every EventBridge event exactly once, in order, by one worker.
    `agent_endpoint` is the address under which containers reach what the ECS agent tells them:
    their role's credentials and their task's metadata.
    `health_interval_floor_seconds` is the shortest interval of health checks; ECS has 5.
    """

    def __init__(
        self,
        *,
        region: str,
        account: str,
        hosts: list[HostSlot],
        publish: Callable[[dict[str, Any]], None],
        start_delay_seconds: float = 0.0,
        cluster: str = "default",
        agent_endpoint: str | None = None,
        health_interval_floor_seconds: int = 5,
        providers: Sequence[CapacityProvider] = (),
        waiting: Waiting | None = None,
        fargate: HostSlot | None = None,
        read_lag: ReadLag = AT_ONCE,
        secret_value: Callable[[str], str] = no_secrets,
        clock: Callable[[], float] = time.time,
        ports: Ports | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        workers: Workers | None = None,
    ) -> None:
        """`new_id` generates the ids of tasks and hosts: 32 hexadecimal digits.

        The hosts belong to the first of `providers`. `fargate` runs the tasks of Fargate, each with
        a separate loopback address; its CPU units are the account's quota of vCPUs. For `read_lag`
        ListTasks and DescribeTasks do not show a new task. `secret_value` reads the references of a
        task definition and raises SecretError. `workers` (threads by default) are closed with the
        engine.
        """
        self.arns = Arns(region, account)
        self.cluster = cluster
        self.health_interval_floor_seconds = health_interval_floor_seconds
        self.clock = clock
        self._read_lag = read_lag
        self.fargate = fargate
        self.providers = {provider.name: provider for provider in providers}
        self._waiting = waiting or Waiting()
        self._scaling: set[str] = set()
        self._interfaces: dict[str, Interface] = {}
        self._first_address = random.randrange(LOOPBACK_ADDRESSES)
        self._start_delay_seconds = start_delay_seconds
        self._slots = list(hosts)
        self._store = Store(
            arns=self.arns,
            cluster=cluster,
            ports=ports or Ports.of_this_machine(),
            new_id=new_id,
        )
        self._workers = workers or Threads()
        self._publisher = Publisher(
            publish, self._workers, arns=self.arns, cluster=cluster, clock=clock
        )
        self._lifecycle = Lifecycle(
            self._store,
            self._publisher,
            self._workers,
            clock=clock,
            start_delay_seconds=start_delay_seconds,
            agent_endpoint=agent_endpoint,
            secret_value=secret_value,
        )
        self._lock = self._lifecycle.lock
        self._closed = threading.Event()
        self._lifecycle.on_capacity = self._place_waiting
        first = next(iter(self.providers), None)
        for slot in self._slots:
            self._publisher.instance(self._store.add_slot(slot, clock(), first))
        self._lifecycle.watch(self._slots)
        self._watch_waiting()

    @property
    def agent_endpoint(self) -> str | None:
        return self._lifecycle.agent_endpoint

    @agent_endpoint.setter
    def agent_endpoint(self, address: str) -> None:
        """Set the agent's address, which callers know only after the engine was made."""
        self._lifecycle.agent_endpoint = address

    def run(
        self, request: TaskRequest, plan: TaskPlan, *, targets: Sequence[str] | None = None
    ) -> tuple[list[Task], list[Refusal]]:
        """Place the tasks and begin to start them; answers at once.

        `targets` are the container instances of a StartTask. A client token that was used for the
        same request gives the tasks of then, as they are now. Raises EcsApiError.
        """
        now = self.clock()
        token = request.client_token
        with self._lock:
            if self._lifecycle.closing:
                raise EcsApiError("ServerException", "The local engine is shutting down.", 500)
            self._store.forget_old(now)
            if token is not None:
                known = self._store.tokens.find(token, request.fingerprint, now)
                if known is not None:
                    records = self._store.records
                    return [records[task_id].task for task_id in known if task_id in records], []
            placed, refusals = self._admit(request, plan, targets, now)
            if token is not None and placed:
                started = [(record.task.id, record.task.arn) for record in placed]
                self._store.tokens.remember(token, request.fingerprint, started, now)
            for record in placed:
                self._publisher.task(record.task)
            for arn in {r.task.instance_arn for r in placed if r.task.instance_arn is not None}:
                self._publisher.instance(self._store.instances[arn])
            tasks = [record.task for record in placed]
            for record in placed:
                if record.slot is not None:
                    self._lifecycle.begin(record)
            self._place_waiting()
        return tasks, refusals

    def _admit(
        self, request: TaskRequest, plan: TaskPlan, targets: Sequence[str] | None, now: float
    ) -> tuple[list[Record], list[Refusal]]:
        if request.launch_type == "FARGATE":
            return self._admit_to_fargate(request, plan, now)
        provider = self.providers.get(request.capacity_provider or "")
        if provider is not None and provider.managed_scaling and targets is None:
            waiting = sum(record.task.is_waiting for record in self._store.live())
            if waiting + request.count > self._waiting.quota:
                raise client_error("Tasks provisioning capacity limit exceeded.")
            records = [self._store.enqueue(request, plan, now) for _ in range(request.count)]
            for record in records:
                record.task = replace(record.task, shows_no_host_yet=True)
            return records, []
        records, refusals = self._store.admit(
            request, plan, targets=targets, now=now, choose=random.choice
        )
        for record in records:
            later = self._start_delay_seconds > 0
            record.task = replace(record.task, shows_no_host_yet=later)
        return records, refusals

    def _admit_to_fargate(
        self, request: TaskRequest, plan: TaskPlan, now: float
    ) -> tuple[list[Record], list[Refusal]]:
        if self.fargate is None:
            raise unsupported("This engine was made without Fargate.")
        records: list[Record] = []
        for _ in range(request.count):
            used = sum(r.need.cpu for r in self._store.live() if r.task.launch_type == "FARGATE")
            if used + plan.need.cpu > self.fargate.cpu_units:
                reason = "You’ve reached the limit on the number of vCPUs you can run concurrently"
                return records, [Refusal("", reason)]
            record = self._store.enqueue(request, plan, now)
            interface = self._new_interface(request)
            self._interfaces[interface.interface_id] = interface
            self._store.put_on_fargate(record, self.fargate, interface)
            records.append(record)
        return records, []

    def _new_interface(self, request: TaskRequest) -> Interface:
        number = len(self._interfaces) + 1
        address = loopback_address(self._first_address + number)
        return Interface(
            attachment_id=str(uuid.uuid4()),
            interface_id=f"eni-{number:017x}",
            subnet=request.subnets[0],
            private_ip=address,
            public_ip=address if request.assigns_public_ip else None,
            mac="02:00:" + ":".join(f"{number:08x}"[i : i + 2] for i in range(0, 8, 2)),
        )

    def find_interface(self, interface_id: str) -> Interface | None:
        """The network interface of a task, for EC2's DescribeNetworkInterfaces."""
        with self._lock:
            return self._interfaces.get(interface_id)

    def add_host(self, slot: HostSlot, provider: str | None = None) -> None:
        """Register a host of a provider; waiting tasks are placed on it."""
        with self._lock:
            if self._lifecycle.closing:
                return
            self._slots.append(slot)
            self._publisher.instance(self._store.add_slot(slot, self.clock(), provider))
            self._place_waiting()

    def _place_waiting(self) -> None:
        """Place waiting tasks, and request hosts for the others. Under the lock."""
        if self._lifecycle.closing:
            return
        for record in self._store.place_waiting(random.choice):
            if record.task.instance_arn is not None:
                self._publisher.instance(self._store.instances[record.task.instance_arn])
            self._lifecycle.begin(record)
        wanted = {record.request.capacity_provider for record in self._store.waiting()}
        for provider in self.providers.values():
            if provider.name in wanted and provider.name not in self._scaling:
                self._scaling.add(provider.name)
                self._lifecycle.after(provider.host_seconds, partial(self._scale_out, provider))

    def _scale_out(self, provider: CapacityProvider) -> None:
        """The Auto Scaling group adds a host, or still has none."""
        slot = provider.bring()
        with self._lock:
            self._scaling.discard(provider.name)
            if slot is None:
                self._place_waiting()
        if slot is not None:
            self.add_host(slot, provider.name)

    def _watch_waiting(self) -> None:
        self._give_up_waiting()
        self._lifecycle.after(WATCH_WAITING_SECONDS, self._watch_waiting)

    def _give_up_waiting(self) -> None:
        """Stop tasks that waited too long, as ECS does."""
        with self._lock:
            for record in self._store.waiting():
                if self.clock() - record.task.created_at > self._waiting.timeout_seconds:
                    self._lifecycle.give_up(record, self._store.refusal_of(record))

    def stop(self, task_id: str, reason: str) -> Task:
        """Stop a task; no effect on a stopped one. Raises InvalidParameterException."""
        with self._lock:
            record = self._store.records.get(task_id)
            if record is None:
                raise invalid_parameter("The referenced task was not found.")
            return self._lifecycle.stop(record, reason)

    def tasks(self) -> list[Task]:
        """All tasks, including those that stopped within the last hour."""
        self._give_up_waiting()
        with self._lock:
            self._store.forget_old(self.clock())
            return [record.task for record in self._store.records.values()]

    def seen_tasks(self) -> list[Task]:
        """The tasks that ListTasks and DescribeTasks show already."""
        now, lag = self.clock(), self._read_lag
        return [task for task in self.tasks() if task.created_at + lag.of(task) <= now]

    def find_task(self, task_id: str) -> Task | None:
        with self._lock:
            self._store.forget_old(self.clock())
            record = self._store.records.get(task_id)
            return record.task if record else None

    def metadata(self, segments: Sequence[str]) -> dict[str, Any] | None:
        """The answer of GET /v4/… to a container about its task; None if there is none."""
        with self._lock:
            record = self._store.records.get(segments[0].rpartition("-")[0])
        if record is None:
            return None
        return metadata.answer(segments, record.task, record.plan.definition.content)

    def tag_task(self, task_id: str, tags: tuple[tuple[str, str], ...]) -> None:
        """Tags are no part of a task's state: they cause neither a version nor an event."""
        with self._lock:
            record = self._store.records[task_id]
            record.task = replace(record.task, tags=tags)

    def instances(self) -> list[Instance]:
        """All container instances, including those of dead hosts, as INACTIVE."""
        with self._lock:
            return list(self._store.instances.values())

    def find_instance(self, arn: str) -> Instance | None:
        with self._lock:
            return self._store.instances.get(arn)

    def change_instance(self, arn: str, **changes: Any) -> Instance:
        """Set `status` or `tags`; tasks on it are not changed."""
        with self._lock:
            return self._lifecycle.change_instance(arn, **changes)

    def instance_address(self, ec2_instance_id: str) -> str | None:
        """The public IP address of a host that is alive."""
        for slot in self._slots:
            if slot.ec2_instance_id == ec2_instance_id and slot.host.alive:
                return slot.address
        return None

    def kill_host(self, name: str) -> None:
        """Kill a host as a power failure would. Raises KeyError for an unknown name."""
        slot = next((slot for slot in self._slots if slot.name == name), None)
        if slot is None:
            raise KeyError(name)
        slot.host.kill()
        self._lifecycle.host_lost(slot)

    def close(self) -> None:
        """Stop all tasks and return when they have ended. Idempotent."""
        with self._lock:
            first = not self._lifecycle.closing
            self._lifecycle.closing = True
        if first:
            try:
                self._lifecycle.shut_down([*self._slots, *([self.fargate] if self.fargate else [])])
            finally:
                self._workers.close()
                self._closed.set()
        self._closed.wait()
