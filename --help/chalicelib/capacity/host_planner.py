"""Carries out plans for hosts: once a minute, in one process at a time; each step is idempotent."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.capacity.auto_scaling import AutoScaling
from chalicelib.capacity.cluster_state import ACTIVE, DRAINING, ClusterState, HostState
from chalicelib.capacity.hosts import (
    Demand,
    Drained,
    HostPlan,
    HostPolicy,
    plan_hosts,
    plan_summary,
)
from chalicelib.capacity.memory import Remembered, from_json
from chalicelib.capacity.view import ClusterView
from chalicelib.dynamodb.expressions import Attr
from chalicelib.dynamodb.table import Table
from chalicelib.ecs.cluster import Cluster
from chalicelib.tasks.lease import Busy, Lease

LEASE_SECONDS = 90
HOST_SECONDS = 180.0
"""From the request of a host to its first task; EC2 instances with Linux mostly take two
minutes."""
STARTS_SECONDS = 900
"""Period over which starts are counted; in shorter ones chance exceeds growth."""
PLAN = Attr("plan")
_log = logging.getLogger("usher.hosts")


@dataclass(frozen=True)
class Done:
    """The result of one run."""

    drained: int = 0
    taken_back: int = 0
    ended: int = 0
    added: int = 0


class HostPlanner:
    """Reads the cluster, plans, and carries the plan out."""

    def __init__(
        self,
        *,
        view: ClusterView,
        cluster: Cluster,
        group: AutoScaling,
        items: Table,
        policy: HostPolicy,
        move_warm: Callable[[str], int],
        now: Callable[[], float],
        name: str,
    ) -> None:
        """`move_warm` stops the warm tasks of a host (by ARN), so that they are started
        elsewhere.
        """
        self._view = view
        self._cluster = cluster
        self._group = group
        self._items = items
        self._policy = policy
        self._move_warm = move_warm
        self._now = now
        self._key = _key_of(name)
        self._lease = Lease(items, f"hosts#{name}", LEASE_SECONDS, now)

    def run(self) -> Done | None:
        """Make and carry out one plan; None if another process does."""
        held = self._lease.acquire()
        if isinstance(held, Busy):
            return None
        try:
            return self._run()
        finally:
            self._lease.release(held)

    def _run(self) -> Done:
        now = self._now()
        group = self._group.read()
        seen = self._view.read()
        hosts = [host for host in seen.hosts if group.is_in_service(host.ec2_instance_id)]
        tasks = sum(host.pending_or_running or 0 for host in hosts)
        stored = self._stored()
        before = from_json(stored).with_sample(now, tasks)
        plan = plan_hosts(
            ClusterState(hosts, group.desired, maximum=group.maximum, minimum=group.minimum),
            self._demand(before, hosts, seen.waiting, now),
            self._policy,
            before.memory,
            now=now,
        )
        meanwhile = before.while_carried_out(plan).to_json()
        if not self._replace(stored, meanwhile):
            return Done()  # another process has planned since; its plan applies
        done = self._carry_out(plan, {host.id: host for host in hosts}, group.desired)
        self._replace(meanwhile, before.after(plan).to_json())
        self._report(plan, hosts)
        return done

    def _demand(
        self, before: Remembered, hosts: Sequence[HostState], waiting: int, now: float
    ) -> Demand:
        started = sum(
            task.created_at is not None and task.created_at > now - STARTS_SECONDS
            for host in hosts
            for task in host.tasks
        )
        starts = started / STARTS_SECONDS
        return Demand(
            waiting=waiting,
            starts_per_second=starts,
            ends_per_second=max(0.0, starts - before.growth()),
            host_seconds=HOST_SECONDS,
        )

    def _carry_out(self, plan: HostPlan, hosts: dict[str, HostState], desired: int) -> Done:
        if plan.take_back:
            self._cluster.set_status(list(plan.take_back), ACTIVE)
        if plan.drain:
            self._cluster.set_status(list(plan.drain), DRAINING)
        leaving = {host for host, state in hosts.items() if set(plan.move) & _ids_of(state)}
        for host in {*leaving, *plan.drain}:
            self._move_warm(self._cluster.arn_of(host))
        ended = sum(self._end(hosts[host]) for host in plan.end)
        added = plan.add if plan.add and self._group.raise_desired(desired + plan.add) else 0
        return Done(len(plan.drain), len(plan.take_back), ended, added)

    def _end(self, host: HostState) -> bool:
        """Terminate a host if ECS still reports it as draining and empty."""
        current = self._cluster.describe([host.id])
        if not current or current[0].status != DRAINING or host.ec2_instance_id is None:
            return False
        if current[0].running_tasks or current[0].pending_tasks:
            return False
        return self._group.end(host.ec2_instance_id)

    def _stored(self) -> str | None:
        return _stored(self._items, self._key)

    def _replace(self, before: str | None, after: str) -> bool:
        """Write the planner's memory, if it has not changed since it was read."""
        unchanged = PLAN.not_exists() if before is None else PLAN.eq(before)
        return self._items.update(self._key, {"plan": after}, unchanged) is not None

    def _report(self, plan: HostPlan, hosts: Sequence[HostState]) -> None:
        leaving = sum(not host.takes_tasks for host in hosts)
        fields = {"free_places": plan.free_places, "wanted_places": plan.wanted_places}
        for line in plan_summary(plan):
            _log.info("%d hosts, %d leaving: %s", len(hosts), leaving, line, extra=fields)


def _ids_of(host: HostState) -> set[str]:
    return {task.id for task in host.tasks}


def drained_hosts(items: Table, name: str) -> Mapping[str, Drained]:
    """The hosts that the planner of the group `name` drains, by id, with reason and time."""
    return from_json(_stored(items, _key_of(name))).memory.drained


def _key_of(name: str) -> str:
    return f"hosts-plan#{name}"


def _stored(items: Table, key: str) -> str | None:
    item = items.get(key) or {}
    text: str | None = item.get("plan", {}).get("S")
    return text
