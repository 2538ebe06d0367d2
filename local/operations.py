"""Operations on a running embedded cloud, and its state."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.aws.clients import Clients
from local.aws.ecs.engine import Engine
from local.aws.ecs.model import HostSlot
from local.aws.ecs.shapes import show_task
from local.aws.endpoint import Endpoint
from local.aws.faults import Faults
from local.aws.kinesis.api import KinesisApi
from local.aws.provision import ACCOUNT, AwsCall, task_definition_calls
from local.cli.options import STAGE, Options
from local.feed.engine import Feed
from local.functions.dispatcher_process import DispatcherProcess, Invocation, UnreachableError
from local.functions.triggers.all import Triggers
from local.functions.triggers.schedules import scheduled_event
from local.hosts.machines import Machines
from local.hosts_group import HostsGroup


@dataclass(frozen=True)
class Parts:
    """The components of a cloud."""

    machines: Machines
    dispatcher: DispatcherProcess
    triggers: Triggers
    engine: Engine
    endpoint: Endpoint
    judges: Engine
    """The cluster of judges."""
    hosts_group: HostsGroup | None
    """The hosts' Auto Scaling group, if there is one."""


class Operations:
    """Reads and changes a running cloud; see `local.aws.control.Controlled`. Thread-safe."""

    def __init__(
        self,
        options: Options,
        *,
        run_id: str,
        logs: Path,
        clients: Clients,
        faults: Faults,
        feed: Feed,
        kinesis: KinesisApi,
    ) -> None:
        self._options = options
        self._run_id = run_id
        self._logs = logs
        self._clients = clients
        self._faults = faults
        self._feed = feed
        self._kinesis = kinesis
        self._parts: Parts | None = None
        self.functions: dict[str, Mapping[str, Any]] = {}
        """The functions by name; empty until the dispatcher is ready."""

    @property
    def parts(self) -> Parts:
        """The components. Only after they were started."""
        if self._parts is None:
            raise RuntimeError("the cloud was not started")
        return self._parts

    def begin(self, parts: Parts) -> None:
        """Operate on these components, which are started."""
        self._parts = parts

    def task_definition_calls(self, feed_url: str) -> list[AwsCall]:
        """The calls that register a revision of each app of the apps file."""
        region = self._options.region if self._options.log_streams else None
        return task_definition_calls(STAGE, self._options.apps, feed_url, log_region=region)

    def state(self) -> dict[str, Any]:
        """See `local.aws.control`."""
        parts = self.parts
        return {
            "run": self._run_id,
            "runtime": parts.machines.runtime,
            "logs": str(self._logs),
            "tasks": [
                show_task(task) for each in (parts.engine, parts.judges) for task in each.tasks()
            ],
            "hosts": [
                {
                    "name": slot.name,
                    "alive": slot.host.alive,
                    "address": slot.address,
                    "ec2InstanceId": slot.ec2_instance_id,
                }
                for slot in self._host_slots()
            ],
            "autoScaling": parts.hosts_group.describe() if parts.hosts_group else None,
            "dispatcher": {"pid": parts.dispatcher.pid, "restarts": parts.dispatcher.restarts},
            "environments": _environments(parts.dispatcher),
            "feed": self._feed.state,
            "functions": list(self.functions.values()),
            "invocations": parts.dispatcher.invocations,
            "pending": parts.triggers.deliveries.pending,
            "given_up": parts.triggers.deliveries.given_up,
            "calls": parts.endpoint.calls,
            "rights": parts.endpoint.rights,
            "faults": dict(self._faults.document),
            "injected": self._faults.injected,
        }

    def kill_host(self, name: str) -> None:
        """Kill a host as a power failure would. Raises KeyError."""
        group = self.parts.hosts_group
        if group is None:
            self.parts.engine.kill_host(name)
        else:
            group.kill(name)

    def _host_slots(self) -> list[HostSlot]:
        group = self.parts.hosts_group
        return group.slots if group else self.parts.machines.slots

    def interrupt_host(self, name: str) -> None:
        """A Spot interruption: a host of the group is gone in two minutes. Raises KeyError."""
        self._group().interrupt(name)

    def change_auto_scaling(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Change what happens to the group; its state. Raises KeyError without one, ValueError."""
        return self._group().change(document)

    def _group(self) -> HostsGroup:
        if self.parts.hosts_group is None:
            raise KeyError("auto-scaling")
        return self.parts.hosts_group

    def kill_dispatcher(self) -> None:
        """Kill the dispatcher as a crash would; another one takes its place."""
        self.parts.dispatcher.kill()

    def change_kinesis(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Change Kinesis's limits, and return all of them. Raises ValueError."""
        self._kinesis.switches = self._kinesis.switches.with_changes(document)
        return asdict(self._kinesis.switches)

    def deploy_apps(self, *, restart: bool) -> list[str]:
        """Register the next revision of each app of the apps file; `restart` lets the dispatcher
        read that file anew. Returns FAMILY:REVISION of each.

        Raises ConfigurationError, and botocore's errors.
        """
        feed_url = self._feed.url(self.parts.machines.addresses)
        calls = self.task_definition_calls(feed_url)
        ecs = self._clients.get("ecs")
        answers = [ecs.register_task_definition(**call.arguments) for call in calls]
        if restart:
            self.parts.dispatcher.kill()
        arns = [str(answer["taskDefinition"]["taskDefinitionArn"]) for answer in answers]
        return [arn.rpartition("/")[2] for arn in arns]

    def kill_redis(self) -> None:
        """Kill the feed's Redis, with all its data. Raises KeyError in a run without one."""
        self._feed.kill_redis()

    def fire(self, function: str, event: Any) -> Invocation:
        """Run a function now and wait for its end. Raises KeyError, UnreachableError."""
        if function not in self.functions:
            raise KeyError(function)
        if event is None:
            event = scheduled_event(function, datetime.now(UTC), self._options.region, ACCOUNT)
        return self.parts.dispatcher.invoke(function, event)


def _environments(dispatcher: DispatcherProcess) -> dict[str, Any]:
    try:
        return dispatcher.environments()
    except UnreachableError:
        return {}  # it has just ended, and its processes with it
