"""The ECS engine: tasks of one cluster on a fixed set of hosts."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from local.aws.ecs import metadata
from local.aws.ecs.arns import Arns
from local.aws.ecs.errors import EcsApiError, invalid_parameter
from local.aws.ecs.lifecycle import Lifecycle
from local.aws.ecs.model import HostSlot, Task
from local.aws.ecs.placement import Instance, Refusal
from local.aws.ecs.plans import TaskPlan
from local.aws.ecs.ports import Ports
from local.aws.ecs.publisher import Publisher
from local.aws.ecs.requests import TaskRequest
from local.aws.ecs.store import Store

__all__ = ["Engine", "HostSlot"]


class Engine:
    """Thread-safe.

    `publish` is called with every EventBridge event exactly once, in order, from one thread.
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
        clock: Callable[[], float] = time.time,
        ports: Ports | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """`new_id` makes the ids of tasks and hosts: 32 hexadecimal digits."""
        self.arns = Arns(region, account)
        self.cluster = cluster
        self.health_interval_floor_seconds = health_interval_floor_seconds
        self.clock = clock
        self._slots = list(hosts)
        self._store = Store(
            arns=self.arns,
            cluster=cluster,
            ports=ports or Ports.of_this_machine(),
            new_id=new_id,
        )
        self._publisher = Publisher(publish, arns=self.arns, cluster=cluster, clock=clock)
        self._lifecycle = Lifecycle(
            self._store,
            self._publisher,
            clock=clock,
            start_delay_seconds=start_delay_seconds,
            agent_endpoint=agent_endpoint,
        )
        self._lock = self._lifecycle.lock
        self._closed = threading.Event()
        for slot in self._slots:
            self._publisher.instance(self._store.add_slot(slot, clock()))
        self._lifecycle.watch(self._slots)

    @property
    def agent_endpoint(self) -> str | None:
        return self._lifecycle.agent_endpoint

    @agent_endpoint.setter
    def agent_endpoint(self, address: str) -> None:
        """For those who learn the address after the engine was made."""
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
            placed, refusals = self._store.admit(
                request, plan, targets=targets, now=now, choose=random.choice
            )
            if token is not None and placed:
                started = [(record.task.id, record.task.arn) for record in placed]
                self._store.tokens.remember(token, request.fingerprint, started, now)
            for record in placed:
                self._publisher.task(record.task)
            for arn in {record.task.instance_arn for record in placed}:
                self._publisher.instance(self._store.instances[arn])
            tasks = [record.task for record in placed]
        for record in placed:
            self._lifecycle.begin(record)
        return tasks, refusals

    def stop(self, task_id: str, reason: str) -> Task:
        """Ask a task to stop; harmless when it has stopped. Raises InvalidParameterException."""
        with self._lock:
            record = self._store.records.get(task_id)
            if record is None:
                raise invalid_parameter("The referenced task was not found.")
            return self._lifecycle.stop(record, reason)

    def tasks(self) -> list[Task]:
        """All tasks that are remembered, those stopped within the last hour among them."""
        with self._lock:
            self._store.forget_old(self.clock())
            return [record.task for record in self._store.records.values()]

    def find_task(self, task_id: str) -> Task | None:
        with self._lock:
            self._store.forget_old(self.clock())
            record = self._store.records.get(task_id)
            return record.task if record else None

    def metadata(self, words: Sequence[str]) -> dict[str, Any] | None:
        """What GET /v4/{words…} tells a container of its task; None where there is nothing."""
        with self._lock:
            record = self._store.records.get(words[0].rpartition("-")[0])
        if record is None:
            return None
        return metadata.answer(words, record.task, record.plan.definition.content)

    def tag_task(self, task_id: str, tags: tuple[tuple[str, str], ...]) -> None:
        """Tags are no part of a task's state: no version, no event."""
        with self._lock:
            record = self._store.records[task_id]
            record.task = replace(record.task, tags=tags)

    def instances(self) -> list[Instance]:
        """Those of dead hosts too, as INACTIVE."""
        with self._lock:
            return list(self._store.instances.values())

    def find_instance(self, arn: str) -> Instance | None:
        with self._lock:
            return self._store.instances.get(arn)

    def change_instance(self, arn: str, **changes: Any) -> Instance:
        """Set `status` or `tags`; tasks that run there are not touched."""
        with self._lock:
            return self._lifecycle.change_instance(arn, **changes)

    def instance_address(self, ec2_instance_id: str) -> str | None:
        """The public IP address of a host that is alive."""
        for slot in self._slots:
            if slot.ec2_instance_id == ec2_instance_id and slot.host.alive:
                return slot.address
        return None

    def kill_host(self, name: str) -> None:
        """Let a host die as by a power cut. Raises KeyError for an unknown name."""
        slot = next((slot for slot in self._slots if slot.name == name), None)
        if slot is None:
            raise KeyError(name)
        slot.host.kill()
        self._lifecycle.host_lost(slot)

    def close(self) -> None:
        """Stop everything that runs and return when it is gone. Idempotent."""
        with self._lock:
            first = not self._lifecycle.closing
            self._lifecycle.closing = True
        if first:
            try:
                self._lifecycle.shut_down(self._slots)
            finally:
                self._publisher.close()
                self._closed.set()
        self._closed.wait()
