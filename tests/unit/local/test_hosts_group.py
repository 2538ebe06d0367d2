"""ECS managed scaling of `local up --auto-scaling`, by the minute."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from local.aws.ecs.model import HostSlot
from local.hosts_group import EMPTY_MINUTES, MINUTE, HostsGroup, Timers

ZONES = ("us-east-1a", "us-east-1b")


@dataclass
class FakeEngine:
    """Hosts that have tasks or not, and tasks that wait."""

    waiting: int = 0
    busy: set[str] = field(default_factory=set)
    hosts: dict[str, HostSlot] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)

    def tasks(self) -> list[Any]:
        there = [SimpleNamespace(is_stopped=False, is_waiting=False, instance_arn=f"arn:{name}")
                 for name in self.busy]  # fmt: skip
        waits = SimpleNamespace(is_stopped=False, is_waiting=True, instance_arn=None)
        return [*there, *[waits] * self.waiting]

    def instances(self) -> list[Any]:
        return [
            SimpleNamespace(
                arn=f"arn:{name}", ec2_instance_id=slot.ec2_instance_id, name=name, status="ACTIVE"
            )
            for name, slot in list(self.hosts.items())
        ]

    def change_instance(self, arn: str, *, status: str) -> None:
        assert status == "DRAINING"
        self.draining.add(arn)

    def add_host(self, slot: HostSlot, provider: str) -> None:
        self.hosts[slot.name] = slot

    def kill_host(self, name: str) -> None:
        del self.hosts[name]


class World:
    def __init__(self) -> None:
        self.engine, self.now = FakeEngine(), 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        first = self._make("host-1", "i-1", ZONES[0])
        self.engine.add_host(first, "hosts")
        self.hosts = HostsGroup(
            "hosts", self.engine, zones=ZONES, make=self._make, first=[first],
            between=(1, 3), launch_seconds=90.0, after=self._after,
        )  # fmt: skip
        self.hosts.begin()

    def _make(self, name: str, instance: str, zone: str) -> HostSlot:
        return HostSlot(name, None, "127.0.0.1", 1024, 1024, instance, zone)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), call))

    def pass_minutes(self, minutes: float) -> None:
        until = self.now + minutes * MINUTE
        while self._timers and self._timers[0][0] <= until:
            self.now, _, call = heapq.heappop(self._timers)
            call()
        self.now = until

    @property
    def names(self) -> list[str]:
        return sorted(self.engine.hosts)


@pytest.fixture
def world() -> World:
    return World()


def test_one_host_at_a_time_is_added_while_tasks_wait_and_no_more_than_the_group_may_have(world):
    world.engine.busy, world.engine.waiting = {"host-1"}, 5
    world.pass_minutes(1)
    assert world.hosts.group.desired == 2
    world.pass_minutes(1)
    assert (world.hosts.group.desired, world.names) == (2, ["host-1"])
    world.pass_minutes(1)
    assert world.names == ["host-1", "host-2"]
    world.pass_minutes(30)
    assert world.names == ["host-1", "host-2", "host-3"]


def test_a_host_without_tasks_is_ended_after_a_quarter_of_an_hour_but_not_the_last(world):
    world.hosts.group.set_desired(2)
    world.pass_minutes(2)
    world.engine.busy = {"host-1"}
    world.pass_minutes(EMPTY_MINUTES - 3)
    assert world.names == ["host-1", "host-2"]
    world.pass_minutes(4)
    assert world.names == ["host-1"]
    world.engine.busy = set()
    world.pass_minutes(3 * EMPTY_MINUTES)
    assert world.names == ["host-1"]


def test_a_host_that_had_a_task_meanwhile_is_counted_anew(world):
    world.hosts.group.set_desired(2)
    world.pass_minutes(2)
    for busy in ({"host-1"}, {"host-1", "host-2"}, {"host-1"}):
        world.engine.busy = busy
        world.pass_minutes(EMPTY_MINUTES - 5)
    assert world.names == ["host-1", "host-2"]


def test_what_happens_to_it_is_said_by_words_it_knows(world):
    world.hosts.change({"launchFailures": 1, "launchSeconds": 5})
    world.hosts.group.set_desired(2)
    world.pass_minutes(0.5)
    assert (world.names, world.hosts.describe()["launchFailures"]) == (["host-1"], 0)
    world.pass_minutes(2)
    assert world.names == ["host-1", "host-2"]
    world.hosts.change({"zonesOut": [ZONES[0]]})
    world.pass_minutes(2)
    assert {slot.availability_zone for slot in world.engine.hosts.values()} == {ZONES[1]}
    world.hosts.change({"zonesOut": []})
    assert world.hosts.describe()["zonesOut"] == []
    for wrong in ({"size": 3}, {"zonesOut": ["mars"]}, {"launchSeconds": "soon"}):
        with pytest.raises(ValueError):  # noqa: PT011 - their words differ
            world.hosts.change(wrong)
    with pytest.raises(KeyError):
        world.hosts.kill("host-99")


def test_timers_that_are_closed_call_nothing():
    timers, called = Timers(), []
    timers.after(600.0, lambda: called.append(1))
    timers.close()
    timers.after(0.0, lambda: called.append(2))
    assert called == []
