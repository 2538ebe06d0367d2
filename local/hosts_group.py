"""`local up --auto-scaling`: the hosts are an Auto Scaling group's, under ECS managed scaling.

Managed scaling, once a minute as its metric has it: one host more while tasks wait for one and none
is on its way, one host less after fifteen minutes in which it had no task.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-scaling-behavior.html
"""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from local.aws.auto_scaling import IN_SERVICE, PENDING, AutoScalingError, AutoScalingGroup
from local.aws.ecs.engine import Engine
from local.aws.ecs.model import HostSlot

MINUTE = 60.0
EMPTY_MINUTES = 15
"""Datapoints below the target before managed scaling ends a host."""


class Timers:
    """Calls that come due, in threads of their own. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timers: set[threading.Timer] = set()
        self._is_closed = False

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call in so many seconds, unless it is closed before."""

        def due() -> None:
            with self._lock:
                self._timers.discard(timer)
                if self._is_closed:
                    return
            call()

        timer = threading.Timer(seconds, due)
        timer.daemon = True
        with self._lock:
            if self._is_closed:
                return
            self._timers.add(timer)
        timer.start()

    def close(self) -> None:
        """Cancel what is not due yet. Idempotent."""
        with self._lock:
            self._is_closed = True
            timers = list(self._timers)
        for timer in timers:
            timer.cancel()


MOST_LAUNCH_SECONDS = 86_400
MOST_LAUNCH_FAILURES = 1_000


class HostsGroup:
    """The group, what scales it, and its hosts. Thread-safe."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        *,
        zones: tuple[str, ...],
        make: Callable[[str, str, str], HostSlot],
        first: list[HostSlot],
        between: tuple[int, int],
        launch_seconds: float,
        after: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """`make` makes a host by its name, instance and zone; `first` are there already."""
        self._engine = engine
        self._make = make
        self._after = after
        self._numbers = itertools.count(len(first) + 1)
        self.slots = list(first)
        """All hosts, including former ones."""
        self._empty: Counter[str] = Counter()
        self.group = AutoScalingGroup(
            name,
            provider=name,
            zones=zones,
            make=self._made,
            engine=engine,
            after=after,
            minimum=between[0],
            maximum=between[1],
            launch_seconds=launch_seconds,
        )
        for slot in first:
            self.group.adopt(slot)

    def _made(self, instance: str, zone: str) -> HostSlot:
        slot = self._make(f"host-{next(self._numbers)}", instance, zone)
        self.slots.append(slot)
        return slot

    def begin(self) -> None:
        """Start to apply managed scaling once a minute."""
        self._after(MINUTE, self._each_minute)

    def _each_minute(self) -> None:
        self._after(MINUTE, self._each_minute)
        self.look()

    def look(self) -> None:
        """Apply managed scaling to one datapoint."""
        tasks = [task for task in self._engine.tasks() if not task.is_stopped]
        instances = self.group.instances
        if any(task.is_waiting and task.instance_arn is None for task in tasks):
            if not any(one.state == PENDING for one in instances):
                self.group.scale_out()
            return
        busy = {task.instance_arn for task in tasks}
        arns = {host.ec2_instance_id: host.arn for host in self._engine.instances()}
        empty = [
            one.id for one in instances if one.state == IN_SERVICE and arns.get(one.id) not in busy
        ]
        self._empty = Counter({one: self._empty[one] + 1 for one in empty})
        for instance, minutes in self._empty.items():
            if minutes >= EMPTY_MINUTES:
                self._end(instance)
                return

    def _end(self, instance: str) -> None:
        try:
            self.group.terminate(instance, decrement=True)
        except AutoScalingError:
            return  # at the group's minimum, or ended meanwhile

    # Events of the group.

    def interrupt(self, host: str) -> None:
        """A Spot interruption of a host, by its name. Raises KeyError."""
        self.group.interrupt(self._instance_of(host))

    def kill(self, host: str) -> None:
        """A host fails, and the group replaces it. Raises KeyError."""
        self.group.terminate(self._instance_of(host), decrement=False)

    def _instance_of(self, host: str) -> str:
        there = {one.id for one in self.group.instances}
        for slot in self.slots:
            if slot.name == host and slot.ec2_instance_id in there:
                return slot.ec2_instance_id
        raise KeyError(host)

    def change(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Change what launches do and which zones are out; the state.

        Nothing is changed where a part of the document is refused. Raises ValueError.
        """
        group = self.group
        seconds, failures, out = _read_changes(document, group)
        group.launch_seconds, group.launch_failures = seconds, failures
        for zone in sorted(out - group.zones_out):
            group.lose_zone(zone)
        for zone in sorted(group.zones_out - out):
            group.restore_zone(zone)
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """The group as it is, ready for JSON."""
        group = self.group
        return {
            "name": group.name,
            "minimum": group.minimum,
            "maximum": group.maximum,
            "desired": group.desired,
            "launchSeconds": group.launch_seconds,
            "launchFailures": group.launch_failures,
            "zonesOut": sorted(group.zones_out),
            "instances": {one.id: f"{one.state} in {one.zone}" for one in group.instances},
        }


def _read_changes(
    document: Mapping[str, Any], group: AutoScalingGroup
) -> tuple[float, int, frozenset[str]]:
    """Seconds and failures of launches and the zones that are out, as the document has them."""
    if unknown := set(document) - {"launchSeconds", "launchFailures", "zonesOut"}:
        raise ValueError(f"{', '.join(sorted(unknown))}: unknown")
    seconds = document.get("launchSeconds", group.launch_seconds)
    if not _is_number(seconds, int | float) or not 0 <= seconds <= MOST_LAUNCH_SECONDS:
        raise ValueError(f"launchSeconds: a number from 0 to {MOST_LAUNCH_SECONDS}")
    failures = document.get("launchFailures", group.launch_failures)
    if not _is_number(failures, int) or not 0 <= failures <= MOST_LAUNCH_FAILURES:
        raise ValueError(f"launchFailures: a whole number from 0 to {MOST_LAUNCH_FAILURES}")
    out = document.get("zonesOut", list(group.zones_out))
    if not isinstance(out, list) or any(zone not in group.zones for zone in out):
        raise ValueError(f"zonesOut: a list of some of {', '.join(group.zones)}")
    return float(seconds), failures, frozenset(out)


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
