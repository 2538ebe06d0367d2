"""An Auto Scaling group under ECS managed scaling, as AWS documents it.

Each minute ECS puts the metric CapacityProviderReservation: hosts needed over hosts there are, in
percent. Target tracking adds hosts after one minute above the target, and takes hosts away after
fifteen minutes below it; managed termination protection keeps hosts with tasks. Source: "Deep dive
on Amazon ECS cluster auto scaling", AWS's containers blog; "Amazon ECS managed scaling behavior",
developer guide.
"""

import math
import random
from dataclasses import dataclass, field

from simulation.meter import Meter
from simulation.models.ecs import EcsModel, Host
from simulation.virtual_time import VirtualTime

PERIOD_SECONDS = 60
SCALE_IN_PERIODS = 15
HOST_SECONDS = 75.0
"""From the request of an instance to its registration in the cluster. Assumed: 75 to 105 s."""
HOST_SPREAD_SECONDS = 30.0
TARGET = 0.9
"""`TargetCapacity: 90` of the template."""


@dataclass
class Trouble:
    """Faults of AWS: zones that fail, and a share of launches that fail."""

    zones_out: set[str] = field(default_factory=set)
    failing_launches: float = 0.0


class AutoScaling:
    """The hosts of a cell."""

    def __init__(
        self,
        time: VirtualTime,
        meter: Meter,
        chance: random.Random,
        ecs: EcsModel,
        *,
        zones: tuple[str, ...],
        slots: int,
        minimum: int,
        maximum: int,
    ) -> None:
        """`slots`: number of simulated sessions on a host."""
        self._time = time
        self._meter = meter
        self._chance = chance
        self._ecs = ecs
        self._zones = zones
        self.slots = slots
        self._minimum = minimum
        self.maximum = maximum
        self.trouble = Trouble()
        self._coming = 0
        self._below = 0
        self._hosts_seen: dict[str, Host] = {}

    def begin(self, hosts: int) -> None:
        """Start with this many existing hosts."""
        for number in range(max(hosts, self._minimum)):
            self._join(self._zones[number % len(self._zones)])
        self._time.spawn(self._run)

    def hours(self) -> float:
        """Host-hours until now."""
        now = self._time.now()
        seen = self._hosts_seen.values()
        return sum((host.left_at or now) - host.joined_at for host in seen) / 3_600

    def terminate(self, host: Host, reason: str) -> None:
        """A host goes, with all that runs on it."""
        if host.left_at is None:
            self._ecs.remove_host(host, reason)

    def _run(self) -> None:
        while True:
            self._time.sleep(PERIOD_SECONDS)
            self._evaluate()

    def _evaluate(self) -> None:
        hosts = list(self._ecs.hosts.values())
        tasks = sum(len(host.tasks) for host in hosts) + len(self._ecs.provisioning)
        needed = math.ceil(tasks / self.slots)
        wanted = min(self.maximum, max(self._minimum, math.ceil(needed / TARGET)))
        there = sum(1 for host in hosts if not host.is_draining) + self._coming
        if wanted > there:
            self._below = 0
            for _ in range(wanted - there):
                self._launch()
        elif wanted < there:
            self._below += 1
            if self._below >= SCALE_IN_PERIODS:
                self._scale_in(there - wanted)
        else:
            self._below = 0

    def _launch(self) -> None:
        zones = [zone for zone in self._zones if zone not in self.trouble.zones_out]
        if not zones or self._chance.random() < self.trouble.failing_launches:
            self._meter.add("failed host launches", 1)
            return
        load = dict.fromkeys(zones, 0)
        for host in self._ecs.hosts.values():
            if host.zone in load:
                load[host.zone] += 1
        zone = min(zones, key=lambda one: (load[one], self._chance.random()))
        self._coming += 1
        seconds = HOST_SECONDS + self._chance.random() * HOST_SPREAD_SECONDS

        def join() -> None:
            self._coming -= 1
            if zone not in self.trouble.zones_out:
                self._join(zone)

        self._time.later(seconds, join)

    def _join(self, zone: str) -> None:
        host = self._ecs.add_host(zone, self.slots)
        self._hosts_seen[host.arn] = host
        self._meter.exact_level("hosts", len(self._ecs.hosts))

    def _scale_in(self, most: int) -> None:
        empty = [host for host in self._ecs.hosts.values() if not host.tasks]
        for host in empty[:most]:
            self.terminate(host, "terminated")
