"""A host that starts nothing, and an engine on such hosts."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from local.aws.ecs.buckets import UNLIMITED, Limits
from local.aws.ecs.engine import Engine, HostSlot
from local.aws.ecs.ports import Ports
from local.hosts.base import ContainerSpec, Exit, HostDownError
from tests.unit.local.strict_ecs import StrictEcsApi


class FakeHost:
    """Containers are entries of `running`; tests end them with `exit`."""

    runtime = "process"
    isolation = "none: nothing runs"

    def __init__(self) -> None:
        self.alive = True
        self.specs: dict[str, ContainerSpec] = {}
        self.running: dict[str, Callable[[Exit], None]] = {}
        self.signals: list[tuple[str, str]] = []
        self.ignores_sigterm = False
        self.refuses: Exception | None = None
        self.exits_at_once: Exit | None = None
        self.is_healthy = True
        self.gate = threading.Event()
        self.gate.set()
        self._numbers = itertools.count(1)

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        self.gate.wait(10)
        if not self.alive:
            raise HostDownError
        if self.refuses is not None:
            raise self.refuses
        runtime_id = f"fake-{next(self._numbers)}"
        self.specs[runtime_id] = spec
        self.running[runtime_id] = on_exit
        if self.exits_at_once is not None:
            self.exit(runtime_id, self.exits_at_once)
        return runtime_id

    def exit(self, runtime_id: str, ended: Exit) -> None:
        on_exit = self.running.pop(runtime_id, None)
        if on_exit is not None:
            on_exit(ended)

    def signal(self, runtime_id: str, signal_name: str) -> None:
        self.signals.append((runtime_id, signal_name))
        if signal_name == "SIGKILL":
            self.exit(runtime_id, Exit(137))
        elif not self.ignores_sigterm:
            self.exit(runtime_id, Exit(143))

    def healthy(self, runtime_id: str, command: Sequence[str], timeout_seconds: float) -> bool:
        return self.is_healthy

    def kill(self) -> None:
        self.alive = False
        self.running.clear()

    def close(self) -> None:
        for runtime_id in list(self.running):
            self.exit(runtime_id, Exit(137))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class World:
    """An engine with its API, its hosts and the events it published."""

    def __init__(
        self,
        *,
        hosts: int = 1,
        cpu: int = 4096,
        memory: int = 4096,
        limits: Limits = UNLIMITED,
        ports: range = range(20_000, 30_000),
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self.hosts: list[FakeHost] = []
        self.events: list[dict[str, Any]] = []
        self._size = (cpu, memory)
        slots = [self.new_slot() for _ in range(hosts)]
        self.engine = Engine(
            region="us-east-1",
            account="123456789012",
            hosts=slots,
            publish=self.events.append,
            ports=Ports(ports, free=lambda *_: True),
            clock=clock,
            **options,
        )
        self.api = StrictEcsApi(self.engine, limits=limits)

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def new_slot(self) -> HostSlot:
        """One more host, for the engine to be given."""
        place, host = len(self.hosts), FakeHost()
        self.hosts.append(host)
        return HostSlot(
            name=f"host-{place}",
            host=host,
            address=f"192.0.2.{place + 1}",
            cpu_units=self._size[0],
            memory_mib=self._size[1],
            ec2_instance_id=f"i-{place:017x}",
            availability_zone=f"us-east-1{'abc'[place % 3]}",
        )

    def register(self, family: str = "family", **parameters: Any) -> str:
        container = {"name": "main", "image": "image", "cpu": 256, "memory": 256}
        container |= parameters.pop("container", {})
        body = {"family": family, "containerDefinitions": [container]} | parameters
        reply = self.api.call("RegisterTaskDefinition", body)
        return reply["taskDefinition"]["taskDefinitionArn"]

    def run(self, definition: str = "family", **parameters: Any) -> dict[str, Any]:
        return self.api.call("RunTask", {"taskDefinition": definition, **parameters})

    def run_one(self, definition: str = "family", **parameters: Any) -> str:
        reply = self.run(definition, **parameters)
        assert reply["failures"] == []
        return reply["tasks"][0]["taskArn"]

    def task(self, arn: str) -> dict[str, Any]:
        return self.api.call("DescribeTasks", {"tasks": [arn]})["tasks"][0]

    def wait_status(self, arn: str, status: str) -> dict[str, Any]:
        until(lambda: self.task(arn)["lastStatus"] == status)
        return self.task(arn)

    def events_of(self, arn: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["resources"] == [arn]]

    def exit_main(self, arn: str, ended: Exit) -> None:
        """End the task's first container as if by itself."""
        runtime_id = self.wait_status(arn, "RUNNING")["containers"][0]["runtimeId"]
        for host in self.hosts:
            host.exit(runtime_id, ended)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Look until it holds; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.005)
