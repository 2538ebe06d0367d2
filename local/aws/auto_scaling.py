"""The Auto Scaling group of the engine's hosts, and EC2's effects on them.

%14
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import RLock
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from local.aws.ecs.engine import Engine
from local.aws.ecs.model import HostSlot
from local.aws.wire import Answer, Call, Request

_XMLNS = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
SPOT_NOTICE_SECONDS = 120.0
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html"""
RETRY_SECONDS = 60.0
PENDING, IN_SERVICE = "Pending", "InService"
ACTIONS = ("DescribeAutoScalingGroups", "SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup")


class AutoScalingError(Exception):
    """A refusal, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Instance:
    """One instance of the group."""

    id: str
    zone: str
    state: str = PENDING
    protected: bool = True
    """Whether it is protected from scale-in, by NewInstancesProtectedFromScaleIn."""


class AutoScalingGroup:
    """One group. Thread-safe."""

    def __init__(
        self,
        name: str,
        *,
        provider: str,
        zones: Sequence[str],
        make: Callable[[str, str], HostSlot],
        engine: Engine,
        after: Callable[[float, Callable[[], None]], None],
        minimum: int = 0,
        maximum: int = 10,
        launch_seconds: float = 180.0,
    ) -> None:
        """`make` makes the host of an instance, by its id and zone; `after` calls a function after
        some seconds.
        """
        self._after = after
        self.name = name
        self.minimum = minimum
        self.maximum = maximum
        self.desired = 0
        self.launch_seconds = launch_seconds
        self.launch_failures = 0
        """Number of next launches that fail, as where EC2 has no capacity."""
        self._provider = provider
        self._zones = tuple(zones)
        self._zones_out: set[str] = set()
        self._make = make
        self._engine = engine
        self._instances: dict[str, Instance] = {}
        self._slots: dict[str, HostSlot] = {}
        self._numbers = itertools.count(1)
        self._lock = RLock()

    @property
    def zones(self) -> tuple[str, ...]:
        """All zones, including those that are out."""
        return self._zones

    @property
    def zones_out(self) -> frozenset[str]:
        """The zones that are out."""
        return frozenset(self._zones_out)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Instances that exist or are starting."""
        with self._lock:
            return tuple(self._instances.values())

    def adopt(self, slot: HostSlot) -> None:
        """An existing host becomes an instance of the group."""
        with self._lock:
            found = Instance(slot.ec2_instance_id, slot.availability_zone, IN_SERVICE)
            self._instances[found.id] = found
            self._slots[found.id] = slot
            self.desired = max(self.desired, len(self._instances))

    def set_desired(self, desired: int) -> None:
        """Raises AutoScalingError beyond the group's bounds."""
        with self._lock:
            if not self.minimum <= desired <= self.maximum:
                raise AutoScalingError(
                    "ValidationError",
                    f"New SetDesiredCapacity value {desired} is not between min value "
                    f"{self.minimum} and max value {self.maximum}.",
                )
            self.desired = desired
            self._balance()

    def scale_out(self) -> None:
        """Add one instance, if the group's maximum allows it, as managed scaling does."""
        with self._lock:
            if self.desired < self.maximum:
                self.set_desired(self.desired + 1)

    def terminate(self, instance_id: str, *, decrement: bool) -> None:
        """Terminate an instance, protected or not, with its tasks. Raises AutoScalingError."""
        with self._lock:
            if instance_id not in self._instances:
                raise AutoScalingError(
                    "ValidationError", f"Instance Id not found - No managed instance {instance_id}"
                )
            if decrement:
                if self.desired <= self.minimum:
                    raise AutoScalingError(
                        "ValidationError",
                        "Currently, desiredSize equals minSize. Terminating instance without "
                        "replacement will violate group's min size constraint.",
                    )
                self.desired -= 1
            self._gone(instance_id)
            self._balance()

    def interrupt(self, instance_id: str) -> None:
        """A Spot interruption: the agent drains the host, and two minutes later it is
        terminated.
        """
        with self._lock:
            slot = self._slots[instance_id]
            for instance in self._engine.instances():
                if instance.name == slot.name and instance.status == "ACTIVE":
                    self._engine.change_instance(instance.arn, status="DRAINING")
            self._after(SPOT_NOTICE_SECONDS, partial(self._reclaimed, instance_id))

    def lose_zone(self, zone: str) -> None:
        """Terminate all instances of a zone at once; none is launched there any more."""
        with self._lock:
            self._zones_out.add(zone)
            for instance in self.instances:
                if instance.zone == zone:
                    self._gone(instance.id)
            self._balance()

    def restore_zone(self, zone: str) -> None:
        """The zone is available again."""
        with self._lock:
            self._zones_out.discard(zone)
            self._balance()

    def _reclaimed(self, instance_id: str) -> None:
        with self._lock:
            if instance_id in self._instances:
                self._gone(instance_id)
                self._balance()

    def _gone(self, instance_id: str) -> None:
        del self._instances[instance_id]
        slot = self._slots.pop(instance_id, None)
        if slot is not None:
            self._engine.kill_host(slot.name)

    def _balance(self) -> None:
        """Launch missing instances in the zones with the fewest; terminate surplus ones."""
        spare = [i for i in self._instances.values() if not i.protected or i.state == PENDING]
        while len(self._instances) > self.desired and spare:
            self._gone(spare.pop().id)
        while len(self._instances) < self.desired:
            open_zones = [zone for zone in self._zones if zone not in self._zones_out]
            if not open_zones:
                return
            load = Counter(instance.zone for instance in self._instances.values())
            zone = min(open_zones, key=lambda one: load[one])
            launched = Instance(f"i-{next(self._numbers):08x}{'a' * 9}", zone)
            self._instances[launched.id] = launched
            self._after(self.launch_seconds, partial(self._launched, launched.id))

    def _launched(self, instance_id: str) -> None:
        with self._lock:
            instance = self._instances.get(instance_id)
            if instance is None:
                return  # terminated meanwhile, or its zone is out
            if self.launch_failures:
                self.launch_failures -= 1
                del self._instances[instance_id]
                self._after(RETRY_SECONDS, self._try_again)
                return
            slot = self._make(instance_id, instance.zone)
            self._instances[instance_id] = replace(instance, state=IN_SERVICE)
            self._slots[instance_id] = slot
        self._engine.add_host(slot, self._provider)

    def _try_again(self) -> None:
        with self._lock:
            self._balance()


class AutoScalingApi:
    """The actions that the host planner needs, in AWS's query protocol."""

    def __init__(self, groups: Sequence[AutoScalingGroup]) -> None:
        self._groups = {group.name: group for group in groups}

    def answer(self, call: Call, request: Request) -> Answer | None:
        """The answer; None for an unsupported action."""
        if call.action not in ACTIONS:
            return None
        form = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
        try:
            return _xml(call.action, self._perform(call.action, form))
        except AutoScalingError as error:
            return _refusal(error)

    def _perform(self, action: str, form: Mapping[str, str]) -> str:
        if action == "DescribeAutoScalingGroups":
            wanted = {v for k, v in form.items() if k.startswith("AutoScalingGroupNames.member.")}
            shown = [g for g in self._groups.values() if not wanted or g.name in wanted]
            return f"<AutoScalingGroups>{''.join(map(_show, shown))}</AutoScalingGroups>"
        if action == "SetDesiredCapacity":
            group = self._groups.get(form["AutoScalingGroupName"])
            if group is None:
                raise AutoScalingError("ValidationError", "AutoScalingGroup name not found")
            group.set_desired(int(form["DesiredCapacity"]))
            return ""
        instance = form["InstanceId"]
        for group in self._groups.values():
            if any(one.id == instance for one in group.instances):
                decrement = form["ShouldDecrementDesiredCapacity"] == "true"
                group.terminate(instance, decrement=decrement)
                return (
                    f"<Activity><ActivityId>{instance}</ActivityId>"
                    f"<AutoScalingGroupName>{escape(group.name)}</AutoScalingGroupName>"
                    "<Cause>asked for</Cause><StartTime>2026-01-01T00:00:00Z</StartTime>"
                    "<StatusCode>InProgress</StatusCode></Activity>"
                )
        raise AutoScalingError("ValidationError", f"Instance Id not found - {instance}")


def _show(group: AutoScalingGroup) -> str:
    instances = "".join(
        "<member>"
        f"<InstanceId>{escape(one.id)}</InstanceId>"
        f"<AvailabilityZone>{escape(one.zone)}</AvailabilityZone>"
        f"<LifecycleState>{one.state}</LifecycleState><HealthStatus>Healthy</HealthStatus>"
        f"<ProtectedFromScaleIn>{str(one.protected).lower()}</ProtectedFromScaleIn>"
        "</member>"
        for one in group.instances
    )
    return (
        "<member>"
        f"<AutoScalingGroupName>{escape(group.name)}</AutoScalingGroupName>"
        f"<MinSize>{group.minimum}</MinSize><MaxSize>{group.maximum}</MaxSize>"
        f"<DesiredCapacity>{group.desired}</DesiredCapacity>"
        "<DefaultCooldown>300</DefaultCooldown><HealthCheckType>EC2</HealthCheckType>"
        "<CreatedTime>2026-01-01T00:00:00Z</CreatedTime>"
        f"<Instances>{instances}</Instances>"
        "</member>"
    )


def _xml(action: str, result: str) -> Answer:
    body = (
        f'<{action}Response xmlns="{_XMLNS}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata></{action}Response>"
    )
    return Answer(200, {"Content-Type": "text/xml"}, body.encode())


def _refusal(error: AutoScalingError) -> Answer:
    body = (
        f'<ErrorResponse xmlns="{_XMLNS}"><Error><Type>Sender</Type><Code>{error.code}</Code>'
        f"<Message>{escape(str(error))}</Message></Error><RequestId>local</RequestId>"
        "</ErrorResponse>"
    )
    return Answer(400, {"Content-Type": "text/xml"}, body.encode())
