"""Hosts that start and end: the planner on the embedded ECS, Auto Scaling group and DynamoDB."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.api.hosts import show_host
from chalicelib.capacity.host_planner import Done, drained_hosts
from chalicelib.sessions.model import State
from chalicelib.wiring import Services
from local.aws.auto_scaling import AutoScalingApi, AutoScalingGroup
from local.aws.ecs.model import HostSlot
from tests.integration.lab import PROVIDER, REGION, Lab

APPS = """
[limits]
total = 100

[apps.chat]
image = "chat"
cpu = 1024
memory = 256
queue_seconds = 3000
"""
ZONES = (f"{REGION}a", f"{REGION}b")
GROUP = "usher-local-hosts"
PLACES = 4
LIVE = (State.RESERVED, State.ACTIVE)


class Fleet:
    """The laboratory with an Auto Scaling group in place of its fixed hosts."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.lab.fresh(APPS)
        self.lab.use_provider()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(2)
        self.group = AutoScalingGroup(
            GROUP,
            provider=PROVIDER,
            zones=ZONES,
            make=self._make,
            engine=self.lab.engine,
            after=self._after,
            minimum=1,
            maximum=8,
        )
        self.lab._endpoint._services["autoscaling"] = AutoScalingApi([self.group]).answer
        self.lab.config = replace(self.lab.config, hosts_group=GROUP)
        for host in self.lab.engine.instances():  # not of the group
            self.lab.engine.change_instance(host.arn, status="DRAINING")

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.lab.now() + seconds, next(self._order), call))

    def _make(self, instance: str, zone: str) -> HostSlot:
        host = self.lab._new_host()
        self.lab._hosts.append(host)
        name = f"host-{next(self._numbers)}"
        return HostSlot(name, host, "192.0.2.1", 4096, 8192, instance, zone)

    def move(self, seconds: float) -> None:
        """Time passes, and timers fire."""
        until = self.lab.now() + seconds
        while self._timers and self._timers[0][0] <= until:
            at, _, call = heapq.heappop(self._timers)
            self.lab.now.move(max(0.0, at - self.lab.now()))
            call()
        self.lab.now.move(max(0.0, until - self.lab.now()))

    def minute(self, services: Services) -> Done:
        """One minute: events, messages, containers, the sweep, the planner."""
        for _ in range(3):
            self.lab.deliver_events(services)
            self.lab.take_messages(services)
            self.lab.send_all(services)
            for session in self.lab.sessions().values():
                if session.state is State.RESERVED:
                    self.lab.connect(session.id)
                    self.lab.send_all(services)
            self.move(20)
        self.lab.sweep(services)
        done = services.host_planner.run()
        assert done is not None
        return done

    def ask(self, services: Services, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            services.sessions.service.dispatch(self.lab.request("chat", f"user-{number}"))

    def live(self) -> set[str]:
        return {s.id for s in self.lab.sessions().values() if s.state in LIVE}

    def until(self, services: Services, condition: Callable[[], Any], minutes: int = 40) -> None:
        for _ in range(minutes):
            if condition():
                return
            self.minute(services)
        assert condition(), (self.group.desired, self.group.instances, self.live())

    def hosts_of_group(self) -> list[Any]:
        ids = {one.id for one in self.group.instances}
        return [i for i in self.lab.engine.instances() if i.ec2_instance_id in ids]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.lab.close()


def serve(fleet: Fleet, services: Services, count: int) -> None:
    fleet.ask(services, count)
    fleet.until(services, lambda: len(fleet.live()) == count)


def test_hosts_are_added_for_what_waits_and_ended_when_they_are_empty(fleet: Fleet) -> None:
    services = fleet.lab.process()
    serve(fleet, services, 10)
    assert fleet.group.desired >= 3
    for session_id in sorted(fleet.live()):
        fleet.lab.disconnect(session_id)
    fleet.until(services, lambda: fleet.group.desired == 1)
    assert fleet.lab.counters() == {}
    assert not [s for s in fleet.lab.sessions().values() if s.state is not State.ENDED]


def test_a_host_with_a_session_is_drained_and_not_ended_and_taken_back(fleet: Fleet) -> None:
    services = fleet.lab.process()
    items = services.sessions.table.items
    assert drained_hosts(items, GROUP) == {}
    serve(fleet, services, 10)
    kept = sorted(fleet.live())[0]
    for session_id in sorted(fleet.live() - {kept}):
        fleet.lab.disconnect(session_id)
    drains = set()
    for _ in range(40):
        fleet.minute(services)
        drained = drained_hosts(items, GROUP)
        shown = [show_host(host, drained) for host in services.cluster.page(100, None)[0]]
        for host in shown:
            if host["drainReason"]:
                assert (host["status"], host["id"] in drained) == ("DRAINING", True)
                drains.add((host["drainReason"], host["drainingSince"]))
    assert {reason for reason, _ in drains} == {"scale-in"}
    assert None not in {since for _, since in drains}
    assert fleet.live() == {kept}
    fleet.ask(services, 12, first=100)
    fleet.until(services, lambda: len(fleet.live()) == 13)
    assert kept in fleet.live()


def test_launches_that_fail_are_tried_again_and_who_waits_is_served(fleet: Fleet) -> None:
    services = fleet.lab.process()
    fleet.group.launch_failures = 3
    serve(fleet, services, 3)
    assert fleet.group.launch_failures == 0


@pytest.mark.parametrize("loss", ["host", "zone", "spot"])
def test_no_session_is_lost_that_its_host_did_not_take_with_it(fleet: Fleet, loss: str) -> None:
    services = fleet.lab.process()
    serve(fleet, services, 16)
    before = fleet.live()
    hosts = sorted(fleet.hosts_of_group(), key=lambda host: host.name)
    hosts = [host for host in hosts if host.status == "ACTIVE"]
    if loss == "zone":
        hosts = [h for h in hosts if h.attributes["ecs.availability-zone"] == ZONES[0]]
    else:
        hosts = hosts[: max(1, len(hosts) * 3 // 10)]
    arns = {host.arn for host in hosts}
    lost = {i for i in before if fleet.lab.sessions()[i].container_instance in arns}
    assert lost
    assert lost < before
    for host in hosts:
        if loss == "host":
            fleet.group.terminate(host.ec2_instance_id, decrement=False)
        elif loss == "spot":
            fleet.group.interrupt(host.ec2_instance_id)
    if loss == "zone":
        fleet.group.lose_zone(ZONES[0])
    fleet.ask(services, 6, first=100)  # new clients get other hosts meanwhile
    fleet.until(services, lambda: len(fleet.live()) == len(before - lost) + 6)
    for _ in range(3):
        fleet.minute(services)
    assert before - lost <= fleet.live()
    assert not lost & fleet.live()
    counted = {key: n for key, n in fleet.lab.counters().items() if key.startswith("limit#total")}
    assert sum(counted.values()) == len(fleet.live())


def test_a_crash_at_any_call_of_the_planner_leaves_a_plan_that_the_next_run_completes(
    fleet: Fleet,
) -> None:
    services = fleet.lab.process()
    serve(fleet, services, 10)
    kept, *others = sorted(fleet.live())
    for session_id in others:
        fleet.lab.disconnect(session_id)
    for skip in range(30):
        fault = {"fail_before": {"skip": skip % 6, "times": 1}}
        lost = {"lose_reply": {"skip": skip % 6, "times": 1}}
        which = fault if skip % 2 else lost
        patterns = ("ecs.UpdateContainerInstancesState", "autoscaling.*", "dynamodb.UpdateItem")
        fleet.lab.faults.set({"calls": {patterns[skip % 3]: which}})
        with suppress(ClientError, BotoCoreError):  # the process ends with it
            fleet.lab.process().host_planner.run()
        fleet.lab.faults.set({})
        fleet.move(120)  # the lease of the crashed process expires
        fleet.minute(fleet.lab.process())
    assert fleet.live() == {kept}
    assert fleet.group.desired >= fleet.group.minimum
    registered = {one.id for one in fleet.group.instances}
    assert len(registered) == fleet.group.desired
    stored = {host.ec2_instance_id for host in fleet.hosts_of_group()}
    assert stored <= registered
    fleet.until(services, lambda: fleet.group.desired <= 2)
