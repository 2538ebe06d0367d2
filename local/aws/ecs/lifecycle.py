"""From a placed task to its end: starts containers on hosts, signals them, handles their exits.

One lock guards all state; hosts are called by workers, never under the lock.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from local.aws.ecs import metadata, model
from local.aws.ecs.health import Checks, after_check
from local.aws.ecs.model import ORDER, HostSlot, Status, StopCode, Task
from local.aws.ecs.placement import Instance
from local.aws.ecs.plans import ContainerPlan, HealthCheck, spec_of
from local.aws.ecs.publisher import Publisher
from local.aws.ecs.store import Phase, Record, Store
from local.aws.ecs.workers import Work, Workers
from local.aws.secrets import SecretError
from local.hosts.base import CannotPullImageError, CannotStartError, Exit, HostDownError

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
WATCH_HOSTS_SECONDS = 0.25
SHUT_DOWN = "The local cloud was shut down."


class Lifecycle:
    """Thread-safe. `lock` guards the store; some methods must be called with it held."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        workers: Workers,
        *,
        clock: Callable[[], float],
        start_delay_seconds: float,
        agent_endpoint: str | None,
        secret_value: Callable[[str], str],
    ) -> None:
        self.lock = threading.RLock()
        self.closing = False
        self.agent_endpoint = agent_endpoint
        self.secret_value = secret_value
        self.on_capacity: Callable[[], None] = lambda: None
        """Called under the lock when capacity was freed for tasks that wait."""
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._start_delay_seconds = start_delay_seconds
        self._workers = workers

    def watch(self, slots: Sequence[HostSlot]) -> None:
        """Start to check whether the hosts are alive."""
        for slot in list(slots):
            if not slot.host.alive:
                self.host_lost(slot)
        self._workers.after(WATCH_HOSTS_SECONDS, partial(self.watch, slots))

    def shut_down(self, slots: Sequence[HostSlot]) -> None:
        """Stop everything and close the hosts, once; nothing can be started afterwards."""
        with self.lock:
            self.closing = True
            for record in self._store.live():
                self._request_stop(record, StopCode.USER_INITIATED, SHUT_DOWN)
        self._workers.cancel()
        with ThreadPoolExecutor(max(1, len(slots))) as closers:
            closings = [closers.submit(slot.host.close) for slot in slots]
        self._workers.join()
        with self.lock:
            for record in self._store.live():
                self._finish(record)
        for closing in closings:
            closing.result()

    # Starting.

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it after `seconds`, never after the end."""
        self._workers.after(seconds, call)

    def begin(self, record: Record) -> None:
        """Start the containers of a task with a host soon, in another thread."""
        if self._start_delay_seconds:
            self._workers.after(self._start_delay_seconds, partial(self._submit_start, record))
        else:
            self._submit_start(record)

    def _submit_start(self, record: Record) -> None:
        with self.lock:
            if not self.closing:
                self._workers.submit(Work.START, partial(self._start, record))

    def _start(self, record: Record) -> None:
        with self.lock:
            if record.phase is not Phase.WAITING or not record.task.is_wanted:
                return  # stopped before its host had begun
            record.phase = Phase.STARTING
            self._set(record, model.pulling(record.task, self._clock()))
        for container in record.plan.containers:
            if not record.task.is_wanted:
                break
            self._start_container(record, container)
        with self.lock:
            record.phase = Phase.SETTLED
            self._proceed_to_stop(record)

    def _start_container(self, record: Record, container: ContainerPlan) -> None:
        name = container.name
        if record.slot is None:
            raise ValueError(f"{record.task.arn} has no host")
        try:
            fetched = {v: self.secret_value(ref) for v, ref in container.secrets.items()}
        except SecretError as error:
            reason = "unable to pull secrets or registry auth"
            self._start_failed(record, name, f"ResourceInitializationError: {reason}: {error}")
            return
        spec = spec_of(
            container,
            record.plan,
            task_id=record.task.id,
            ports=record.task.container(name).ports,
            environment=self._added_environment(record, container) | fetched,
            address=record.task.interface.private_ip if record.task.interface else LOOPBACK,
        )
        try:
            runtime_id = record.slot.host.start(spec, partial(self._on_exit, record, name))
        except (CannotPullImageError, CannotStartError) as error:
            self._start_failed(record, name, str(error))
            return
        except HostDownError:
            self.host_lost(record.slot)
            return
        except Exception as error:
            log.exception("a host failed to start container %s of %s", name, record.task.id)
            self._start_failed(record, name, f"CannotStartContainerError: {error!r}")
            return
        with self.lock:
            if record.task.is_stopped:
                return
            task = model.container_started(record.task, name, runtime_id, self._clock())
            if task.last_status is Status.RUNNING:
                self._store.mark_running(record)
            self._set(record, task)
            early = record.early_exits.pop(name, None)
            if early is not None:
                self._exited(record, name, early)
        if container.health_check is not None:
            self._check_later(record, name, runtime_id, container.health_check, Checks())

    def _start_failed(self, record: Record, name: str, reason: str) -> None:
        with self.lock:
            if not record.task.is_stopped:
                failed = model.container_failed(record.task, name, reason, self._clock())
                self._set(record, failed)

    def _added_environment(self, record: Record, container: ContainerPlan) -> dict[str, str]:
        """A task without a role gets no credentials at all, as on ECS."""
        if not self.agent_endpoint:
            return {}
        task = record.task
        place = [known.name for known in task.containers].index(container.name)
        address = f"{self.agent_endpoint}{metadata.PATH}{metadata.metadata_id(task.id, place)}"
        added = {metadata.VARIABLE: address}
        if record.plan.role_arn:
            credentials = f"{self.agent_endpoint}/v2/credentials/{task.id}"
            added["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = credentials
        return added

    # Ending.

    def stop(self, record: Record, reason: str) -> Task:
        """Begin to stop a task; returns its present state. Under the lock."""
        if not record.task.is_wanted:
            return record.task
        self._request_stop(record, StopCode.USER_INITIATED, reason)
        asked = record.task
        self._proceed_to_stop(record)
        return asked

    def _on_exit(self, record: Record, name: str, ended: Exit) -> None:
        with self.lock:
            if record.task.container(name).is_running:
                self._exited(record, name, ended)
            else:
                record.early_exits[name] = ended

    def _exited(self, record: Record, name: str, ended: Exit) -> None:
        self._set(record, model.container_exited(record.task, name, ended, self._clock()))
        self._proceed_to_stop(record)

    def _request_stop(self, record: Record, code: StopCode, reason: str) -> None:
        self._set(record, model.stop_requested(record.task, code, reason, self._clock()))

    def _proceed_to_stop(self, record: Record) -> None:
        """Take the next step to stop a task. Not while it is starting."""
        task = record.task
        if task.is_wanted or task.is_stopped or record.phase is Phase.STARTING:
            return
        running = [container for container in task.containers if container.is_running]
        if not running:
            self._finish(record)
        elif ORDER[task.last_status] < ORDER[Status.STOPPING] and not self.closing:
            self._set(record, model.stopping(task, self._clock()))
            timeouts = {c.name: c.stop_timeout_seconds for c in record.plan.containers}
            for container in running:
                self._signal(record, container.name, "SIGTERM")
                kill = partial(self._signal, record, container.name, "SIGKILL")
                self._workers.after(timeouts[container.name], kill)

    def _signal(self, record: Record, name: str, signal_name: str) -> None:
        with self.lock:
            container = record.task.container(name)
            if self.closing or not container.is_running or container.runtime_id is None:
                return
            if record.slot is None:
                raise ValueError(f"{record.task.arn} has no host")
            send = partial(self._send, record.slot, container.runtime_id, signal_name)
            self._workers.submit(Work.STOP, send)

    def _send(self, slot: HostSlot, runtime_id: str, signal_name: str) -> None:
        try:
            slot.host.signal(runtime_id, signal_name)
        except HostDownError:
            self.host_lost(slot)

    def _finish(self, record: Record) -> None:
        now = self._clock()
        record.phase = Phase.SETTLED
        if record.task.last_status is not Status.DEPROVISIONING:
            self._set(record, model.deprovisioning(record.task, now))
        self._store.release(record, now)
        self._set(record, model.stopped(record.task, now))
        if record.task.instance_arn is not None:
            self._publisher.instance(self._store.instances[record.task.instance_arn])
            self.on_capacity()

    def give_up(self, record: Record, reason: str) -> None:
        """End a task that got no host in time. Under the lock."""
        self._request_stop(record, StopCode.TASK_FAILED_TO_START, reason)
        self._proceed_to_stop(record)

    def host_lost(self, slot: HostSlot) -> None:
        """The machine is gone: its tasks have stopped, its capacity is removed."""
        with self.lock:
            instance = self._store.instance_of(slot)
            if self.closing or (instance is not None and not instance.agent_connected):
                return
            if instance is not None:
                self.change_instance(instance.arn, agent_connected=False)
            now = self._clock()
            for record in self._store.live_on(slot):
                self._store.release(record, now)
                self._set(record, model.host_terminated(record.task, slot.ec2_instance_id, now))
            if instance is not None:
                self.change_instance(instance.arn, status="INACTIVE")

    def change_instance(self, arn: str, **changes: Any) -> Instance:
        """Set fields of an instance and publish the change. Under the lock."""
        before = self._store.instances[arn]
        after = replace(before, version=before.version + 1, **changes)
        self._store.put_instance(after)
        self._publisher.instance(after)
        if after.status == "ACTIVE" and not self.closing:
            self.on_capacity()
        return after

    # Health.

    def _check_later(
        self, record: Record, name: str, runtime_id: str, check: HealthCheck, checks: Checks
    ) -> None:
        def submit() -> None:
            with self.lock:
                if not self.closing and record.task.container(name).is_running:
                    again = partial(self._check, record, name, runtime_id, check, checks)
                    self._workers.submit(Work.CHECK, again)

        self._workers.after(check.interval_seconds, submit)

    def _check(
        self, record: Record, name: str, runtime_id: str, check: HealthCheck, checks: Checks
    ) -> None:
        if record.slot is None:
            raise ValueError(f"{record.task.arn} has no host")
        try:
            healthy = record.slot.host.healthy(runtime_id, check.command, check.timeout_seconds)
        except HostDownError:
            self.host_lost(record.slot)
            return
        with self.lock:
            if not record.task.container(name).is_running:
                return
            now = self._clock()
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

    def _set(self, record: Record, task: Task) -> None:
        """Store a change of a task, and publish it. Under the lock."""
        record.task = task
        self._publisher.task(task)
