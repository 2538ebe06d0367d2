"""The ECS engine: starts tasks on hosts, follows them to their end, and says so in events.

One lock guards all state; hosts and `publish` are never called under it. Containers are started by
a bounded pool of threads, so that a burst starts in parallel and a flood does not make a flood of
threads.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from local.ecs import model
from local.ecs.arns import Arns
from local.ecs.errors import EcsApiError, invalid_parameter
from local.ecs.events import instance_event, task_event
from local.ecs.health import Checks, after_check
from local.ecs.model import ORDER, HostSlot, Status, StopCode, Task
from local.ecs.placement import Instance, Refusal
from local.ecs.plans import ContainerPlan, HealthCheck, TaskPlan, spec_of
from local.ecs.ports import Ports
from local.ecs.publisher import Publisher
from local.ecs.requests import TaskRequest
from local.ecs.store import Phase, Record, Store
from local.ecs.timers import Timers
from local.hosts.base import CannotPullImageError, CannotStartError, Exit, HostDownError

__all__ = ["Engine", "HostSlot"]

START_THREADS = 32
STOP_THREADS = 8
HEALTH_THREADS = 8
WATCH_HOSTS_SECONDS = 0.25


class Engine:
    """Tasks of one ECS cluster on a fixed set of hosts. Thread-safe.

    `publish` is called with every EventBridge event exactly once, in order, from one thread.
    `credentials_endpoint` is the address under which containers reach the task credentials.
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
        credentials_endpoint: str | None = None,
        health_interval_floor_seconds: int = 5,
        clock: Callable[[], float] = time.time,
        ports: Ports | None = None,
    ) -> None:
        self.arns = Arns(region, account)
        self.cluster = cluster
        self.credentials_endpoint = credentials_endpoint
        self.health_interval_floor_seconds = health_interval_floor_seconds
        self.clock = clock
        self._slots = list(hosts)
        self._start_delay_seconds = start_delay_seconds
        self._lock = threading.RLock()
        self._store = Store(
            arns=self.arns,
            cluster=cluster,
            ports=ports or Ports.of_this_machine(),
            new_id=_new_id,
        )
        self._closing = False
        self._closed = threading.Event()
        self._starts = ThreadPoolExecutor(START_THREADS, "ecs-start")
        self._stops = ThreadPoolExecutor(STOP_THREADS, "ecs-stop")
        self._checks = ThreadPoolExecutor(HEALTH_THREADS, "ecs-health")
        self._publisher = Publisher(publish)
        self._timers = Timers("ecs-timers")
        for slot in self._slots:
            self._publish_instance(self._store.add_slot(slot, clock()))
        self._timers.after(WATCH_HOSTS_SECONDS, self._watch_hosts)

    # What the API asks for.

    def run(
        self, request: TaskRequest, plan: TaskPlan, *, targets: Sequence[str] | None = None
    ) -> tuple[list[Task], list[Refusal]]:
        """Place the tasks and begin to start them; answers at once.

        `targets` are the container instances of a StartTask. A client token that was used for the
        same request gives the tasks of then, as they are now. Raises EcsApiError.
        """
        now = self.clock()
        with self._lock:
            self._check_open()
            self._store.forget_old(now)
            token = request.client_token
            if token is not None:
                known = self._store.tokens.find(token, request.fingerprint, now)
                if known is not None:
                    return [r.task for i in known if (r := self._store.records.get(i))], []
            records, refusals = self._store.admit(
                request, plan, targets=targets, now=now, choose=random.choice
            )
            if token is not None and records:
                started = [(record.task.id, record.task.arn) for record in records]
                self._store.tokens.remember(token, request.fingerprint, started, now)
            for record in records:
                self._publish_task(record.task)
            for arn in {record.task.instance_arn for record in records}:
                self._publish_instance(self._store.instances[arn])
            tasks = [record.task for record in records]
        for record in records:
            if self._start_delay_seconds:
                begin = partial(self._submit_start, record)
                self._timers.after(self._start_delay_seconds, begin)
            else:
                self._submit_start(record)
        return tasks, refusals

    def stop(self, task_id: str, reason: str) -> Task:
        """Ask a task to stop; harmless when it has stopped. Raises InvalidParameterException."""
        with self._lock:
            record = self._store.records.get(task_id)
            if record is None:
                raise invalid_parameter("The referenced task was not found.")
            if not record.task.is_wanted:
                return record.task
            self._request_stop(record, StopCode.USER_INITIATED, reason)
            asked = record.task
            self._proceed_to_stop(record)
            return asked

    def tasks(self) -> list[Task]:
        """All tasks that are remembered, those stopped within the last hour among them."""
        with self._lock:
            self._store.forget_old(self.clock())
            return [record.task for record in self._store.records.values()]

    def find_task(self, task_id: str) -> Task | None:
        with self._lock:
            record = self._store.records.get(task_id)
            return record.task if record else None

    def tag_task(self, task_id: str, tags: tuple[tuple[str, str], ...]) -> None:
        """Tags are no part of a task's state: no version, no event."""
        with self._lock:
            record = self._store.records[task_id]
            record.task = replace(record.task, tags=tags)

    def instances(self) -> list[Instance]:
        with self._lock:
            return list(self._store.instances.values())

    def find_instance(self, arn: str) -> Instance | None:
        with self._lock:
            return self._store.instances.get(arn)

    def change_instance(self, arn: str, **changes: Any) -> Instance:
        """Set `status` or `tags`; tasks that run there are not touched."""
        with self._lock:
            before = self._store.instances[arn]
            after = replace(before, version=before.version + 1, **changes)
            self._store.put_instance(after)
            self._publish_instance(after)
            return after

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
        self._host_lost(slot)

    def close(self) -> None:
        """Stop everything that runs and return when it is gone. Idempotent."""
        with self._lock:
            first, self._closing = not self._closing, True
            live = list(self._store.live()) if first else []
            for record in live:
                reason = "The local cloud was shut down."
                self._request_stop(record, StopCode.USER_INITIATED, reason)
        if not first:
            self._closed.wait()
            return
        self._timers.close()
        for pool in (self._starts, self._stops, self._checks):
            pool.shutdown(wait=False, cancel_futures=True)
        closers = [threading.Thread(target=slot.host.close) for slot in self._slots]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        for pool in (self._starts, self._stops, self._checks):
            pool.shutdown(wait=True)
        with self._lock:
            for record in self._store.live():
                self._finish(record)
        self._publisher.close()
        self._closed.set()

    # Starting.

    def _submit_start(self, record: Record) -> None:
        with self._lock:
            if not self._closing:
                self._starts.submit(self._start, record)

    def _start(self, record: Record) -> None:
        with self._lock:
            if record.phase is not Phase.WAITING or record.task.is_stopped:
                return
            record.phase = Phase.STARTING
            self._set(record, model.pulling(record.task, self.clock()))
        for container in record.plan.containers:
            if not record.task.is_wanted:
                break
            self._start_container(record, container)
        with self._lock:
            record.phase = Phase.SETTLED
            self._proceed_to_stop(record)

    def _start_container(self, record: Record, container: ContainerPlan) -> None:
        name = container.name
        spec = spec_of(
            container,
            record.plan,
            task_id=record.task.id,
            ports=record.task.container(name).ports,
            environment=self._added_environment(record),
        )
        try:
            runtime_id = record.slot.host.start(spec, partial(self._on_exit, record, name))
        except (CannotPullImageError, CannotStartError) as error:
            with self._lock:
                if not record.task.is_stopped:
                    failed = model.container_failed(record.task, name, str(error), self.clock())
                    self._set(record, failed)
            return
        except HostDownError:
            self._host_lost(record.slot)
            return
        with self._lock:
            if record.task.is_stopped:
                return
            task = model.container_started(record.task, name, runtime_id, self.clock())
            if task.last_status is Status.RUNNING and not record.counted_running:
                self._store.mark_running(record)
            self._set(record, task)
            early = record.early_exits.pop(name, None)
            if early is not None:
                self._exited(record, name, early)
        if container.health_check is not None:
            self._check_later(record, name, runtime_id, container.health_check, Checks())

    def _added_environment(self, record: Record) -> dict[str, str]:
        """A task without a role gets no credentials at all, as on ECS."""
        if not record.plan.role_arn or not self.credentials_endpoint:
            return {}
        address = f"{self.credentials_endpoint}/v2/credentials/{record.task.id}"
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}

    # Ending.

    def _on_exit(self, record: Record, name: str, ended: Exit) -> None:
        with self._lock:
            if record.task.container(name).is_running:
                self._exited(record, name, ended)
            else:
                record.early_exits[name] = ended

    def _exited(self, record: Record, name: str, ended: Exit) -> None:
        if record.task.is_stopped:
            return
        self._set(record, model.container_exited(record.task, name, ended, self.clock()))
        self._proceed_to_stop(record)

    def _request_stop(self, record: Record, code: StopCode, reason: str) -> None:
        self._set(record, model.stop_requested(record.task, code, reason, self.clock()))

    def _proceed_to_stop(self, record: Record) -> None:
        """Take the next step to the end of a task that is to stop. Not while it is starting."""
        task = record.task
        if task.is_wanted or task.is_stopped or record.phase is Phase.STARTING:
            return
        running = [container for container in task.containers if container.is_running]
        if not running:
            self._finish(record)
        elif ORDER[task.last_status] < ORDER[Status.STOPPING] and not self._closing:
            self._set(record, model.stopping(task, self.clock()))
            timeouts = {c.name: c.stop_timeout_seconds for c in record.plan.containers}
            for container in running:
                self._signal(record, container.name, "SIGTERM")
                kill = partial(self._signal, record, container.name, "SIGKILL")
                self._timers.after(timeouts[container.name], kill)

    def _signal(self, record: Record, name: str, signal_name: str) -> None:
        with self._lock:
            container = record.task.container(name)
            if self._closing or not container.is_running or container.runtime_id is None:
                return
            self._stops.submit(self._send, record.slot, container.runtime_id, signal_name)

    def _send(self, slot: HostSlot, runtime_id: str, signal_name: str) -> None:
        try:
            slot.host.signal(runtime_id, signal_name)
        except HostDownError:
            self._host_lost(slot)

    def _finish(self, record: Record) -> None:
        now = self.clock()
        record.phase = Phase.SETTLED
        if record.task.last_status is not Status.DEPROVISIONING:
            self._set(record, model.deprovisioning(record.task, now))
        self._store.release(record, now)
        self._set(record, model.stopped(record.task, now))
        self._publish_instance(self._store.instances[record.task.instance_arn])

    def _watch_hosts(self) -> None:
        for slot in self._slots:
            if not slot.host.alive:
                self._host_lost(slot)
        self._timers.after(WATCH_HOSTS_SECONDS, self._watch_hosts)

    def _host_lost(self, slot: HostSlot) -> None:
        """The machine is gone: its tasks have stopped, its capacity is no more."""
        with self._lock:
            instance = self._store.instance_of(slot)
            if self._closing or not instance.agent_connected:
                return
            self.change_instance(instance.arn, agent_connected=False)
            now = self.clock()
            for record in self._store.live_on(slot):
                self._store.release(record, now)
                self._set(record, model.host_terminated(record.task, slot.ec2_instance_id, now))
            self.change_instance(instance.arn, status="INACTIVE")

    # Health.

    def _check_later(
        self, record: Record, name: str, runtime_id: str, check: HealthCheck, checks: Checks
    ) -> None:
        def submit() -> None:
            with self._lock:
                if not self._closing and record.task.container(name).is_running:
                    self._checks.submit(self._check, record, name, runtime_id, check, checks)

        self._timers.after(check.interval_seconds, submit)

    def _check(
        self, record: Record, name: str, runtime_id: str, check: HealthCheck, checks: Checks
    ) -> None:
        try:
            healthy = record.slot.host.healthy(runtime_id, check.command, check.timeout_seconds)
        except HostDownError:
            self._host_lost(record.slot)
            return
        with self._lock:
            if not record.task.container(name).is_running:
                return
            now = self.clock()
            age = now - (record.task.started_at or now)
            after = after_check(
                checks,
                healthy=healthy,
                retries=check.retries,
                in_start_period=age < check.start_period_seconds,
            )
            if after.health is not checks.health:
                self._set(record, model.health_changed(record.task, name, after.health, now))
        self._check_later(record, name, runtime_id, check, after)

    # Under the lock.

    def _check_open(self) -> None:
        if self._closing:
            raise EcsApiError("ServerException", "The local engine is shutting down.", 500)

    def _set(self, record: Record, task: Task) -> None:
        record.task = task
        self._publish_task(task)

    def _publish_task(self, task: Task) -> None:
        head = {"region": self.arns.region, "account": self.arns.account}
        self._publisher.put(lambda: task_event(task, event_id=str(uuid.uuid4()), **head))

    def _publish_instance(self, instance: Instance) -> None:
        now = self.clock()
        head = {"region": self.arns.region, "account": self.arns.account}
        cluster_arn = self.arns.cluster(self.cluster)
        self._publisher.put(
            lambda: instance_event(
                instance, cluster_arn=cluster_arn, now=now, event_id=str(uuid.uuid4()), **head
            )
        )


def _new_id() -> str:
    return uuid.uuid4().hex
