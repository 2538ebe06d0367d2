"""ECS with hosts: what RunTask, StopTask and DescribeTasks answer, and what becomes of tasks.

It has the methods of a boto3 client that the dispatcher calls, so that requests, answers and errors
pass through the dispatcher's own adapters. Sources: "Request throttling for the Amazon ECS API";
for tasks that wait for hosts "Amazon ECS service quotas" (500 tasks in PROVISIONING a cluster) and
"Amazon ECS capacity providers for the EC2 launch type".
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from local.aws.ecs.buckets import Bucket, Limits
from simulation.meter import Meter
from simulation.models.latencies import Latencies
from simulation.models.token_bucket import shared_rate
from simulation.virtual_time import VirtualTime

RATES = Limits()
MOST_PROVISIONING = 500
PROVISIONING_SECONDS = 600
"""ECS gives a task up that finds no host; 10 to 30 minutes by its developer guide."""
TRIES = 3
"""Of botocore's standard mode: pauses of up to 1 and 2 seconds."""
ARN = "arn:aws:ecs:us-east-1:123456789012"
CLUSTER = "usher-sim"


@dataclass
class Host:
    """A container instance; `slots` is how many simulated sessions fit on it."""

    number: int
    zone: str
    slots: int
    joined_at: float
    tasks: dict[str, "Task"] = field(default_factory=dict)
    images: dict[str, float] = field(default_factory=dict)
    """By image, when its pull was, or will be, done."""
    is_draining: bool = False
    left_at: float | None = None

    @property
    def arn(self) -> str:
        """Of the container instance."""
        return f"{ARN}:container-instance/{CLUSTER}/{self.number}"

    @property
    def free(self) -> int:
        """The number of further tasks that it takes."""
        return 0 if self.is_draining or self.left_at is not None else self.slots - len(self.tasks)


@dataclass
class Task:
    """A task as ECS knows it."""

    arn: str
    started_by: str
    task_definition: str
    created_at: float
    environment: Mapping[str, str]
    host: Host | None = None
    version: int = 1
    last_status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    pull_started_at: float | None = None
    host_port: int | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    exit_code: int | None = None

    def described(self) -> dict[str, Any]:
        """As DescribeTasks answers, and an event's `detail`."""
        bindings = [] if self.host_port is None else [{"hostPort": self.host_port}]
        container: dict[str, Any] = {"name": "session", "networkBindings": bindings}
        if self.exit_code is not None:
            container["exitCode"] = self.exit_code
        described: dict[str, Any] = {
            "taskArn": self.arn,
            "clusterArn": f"{ARN}:cluster/{CLUSTER}",
            "version": self.version,
            "lastStatus": self.last_status,
            "desiredStatus": self.desired_status,
            "startedBy": self.started_by,
            "taskDefinitionArn": self.task_definition,
            "containers": [container],
            "createdAt": datetime.fromtimestamp(self.created_at, UTC),
        }
        optional = {
            "containerInstanceArn": None if self.host is None else self.host.arn,
            "stopCode": self.stop_code,
            "stoppedReason": self.stopped_reason,
        }
        if self.pull_started_at is not None:
            described["pullStartedAt"] = datetime.fromtimestamp(self.pull_started_at, UTC)
        return described | {name: value for name, value in optional.items() if value is not None}


class EcsModel:
    """One cluster, in the shape of a boto3 client of ECS (and of EC2, for addresses)."""

    def __init__(
        self,
        time: VirtualTime,
        meter: Meter,
        chance: random.Random,
        latencies: Latencies,
        batch: int,
    ) -> None:
        self._time = time
        self._meter = meter
        self._chance = chance
        self.latencies = latencies
        self._batch = batch
        self._buckets = {
            name: Bucket(shared_rate(rate, batch), time.now())
            for name, rate in (("starts", RATES.modify), ("looks", RATES.read))
            if rate is not None
        }
        self.hosts: dict[str, Host] = {}
        self.tasks: dict[str, Task] = {}
        self.provisioning: dict[str, Task] = {}
        self._tokens: dict[str, Task] = {}
        self._numbers = count(1)
        self.revision = 1
        self.started = self.ended = 0
        """How many tasks hosts were given, and how many of these are over."""
        self.fails: Callable[[Task], bool] = lambda _: False
        """Whether a task's container ends at once, as that of a broken image does."""
        self.on_event: Callable[[dict[str, Any]], None] = lambda _: None
        self.on_running: Callable[[Task], None] = lambda _: None

    # What the dispatcher calls.

    def describe_task_definition(self, taskDefinition: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        """The newest revision of a family, or the given one."""
        self._time.sleep(self.latencies.ecs_read)
        return {"taskDefinition": {"taskDefinitionArn": self.newest_revision(taskDefinition)}}

    def run_task(self, **request: Any) -> dict[str, Any]:
        """RunTask of one task."""
        self._time.sleep(self.latencies.run_task)
        self._take("starts", "RunTask")
        known = self._tokens.get(request["clientToken"])
        if known is not None:
            return {"tasks": [known.described()], "failures": []}
        (container,) = request["overrides"]["containerOverrides"]
        task = Task(
            f"{ARN}:task/{CLUSTER}/{next(self._numbers)}",
            request["startedBy"],
            request["taskDefinition"],
            self._time.now(),
            {pair["name"]: pair["value"] for pair in container["environment"]},
        )
        host = self._host_for(task)
        if host is None and len(self.provisioning) >= MOST_PROVISIONING / self._batch:
            return {"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]}
        self.tasks[task.arn] = self._tokens[request["clientToken"]] = task
        self._meter.add("tasks started")
        if host is not None:
            self._place(task, host)
        else:
            self.provisioning[task.arn] = task
            self._meter.level("tasks in PROVISIONING", len(self.provisioning))
            self._time.later(PROVISIONING_SECONDS, lambda: self._give_up(task))
        return {"tasks": [task.described()], "failures": []}

    def stop_task(self, *, task: str, reason: str, **_: Any) -> dict[str, Any]:
        """StopTask; the container ends a moment later."""
        self._time.sleep(self.latencies.run_task)
        self._take("starts", "StopTask")
        found = self.tasks.get(task)
        if found is None:
            raise _error("InvalidParameterException", "The referenced task was not found.")
        if found.desired_status != "STOPPED":
            found.desired_status = "STOPPED"
            found.stop_code, found.stopped_reason = "UserInitiated", reason
            self._time.later(self.latencies.stop, lambda: self.end(found, exit_code=None))
        return {"task": found.described()}

    def describe_tasks(self, *, tasks: Sequence[str], **_: Any) -> dict[str, Any]:
        """DescribeTasks."""
        self._time.sleep(self.latencies.ecs_read)
        self._take("looks", "DescribeTasks")
        found = [self.tasks[arn].described() for arn in tasks if arn in self.tasks]
        return {"tasks": found, "failures": []}

    def list_tasks(self, **query: Any) -> dict[str, Any]:
        """ListTasks by startedBy."""
        self._time.sleep(self.latencies.ecs_read)
        self._take("looks", "ListTasks")
        mark = query["startedBy"]
        return {"taskArns": [task.arn for task in self.tasks.values() if task.started_by == mark]}

    def describe_container_instances(
        self,
        *,
        containerInstances: Sequence[str],  # noqa: N803 - boto3's
        **_: Any,
    ) -> dict[str, Any]:
        """DescribeContainerInstances."""
        self._time.sleep(self.latencies.ecs_read)
        self._take("looks", "DescribeContainerInstances", 1 / self._batch)  # of a host, not a task
        found = [self.hosts[arn] for arn in containerInstances if arn in self.hosts]
        return {"containerInstances": [{"ec2InstanceId": f"i-{host.number}"} for host in found]}

    def describe_instances(self, *, InstanceIds: Sequence[str]) -> dict[str, Any]:  # noqa: N803 - boto3's
        """EC2's DescribeInstances."""
        self._time.sleep(self.latencies.ecs_read)
        instances = [
            {"PublicIpAddress": f"198.18.{int(i[2:]) // 250}.{int(i[2:]) % 250}"}
            for i in InstanceIds
        ]
        return {"Reservations": [{"Instances": instances}]}

    def get_paginator(self, _operation: str) -> "EcsModel":
        """Of ListTaskDefinitionFamilies."""
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        """No app is registered."""
        self._time.sleep(self.latencies.ecs_read)
        yield {"families": []}

    # What happens to hosts and containers.

    def newest_revision(self, family: str) -> str:
        """ARN of the task definition that new tasks of a family run on."""
        return f"{ARN}:task-definition/{family}:{self.revision}"

    def add_running(self, started_by: str, task_definition: str) -> Task:
        """A task that has run for a while already. Raises ValueError where no host has room."""
        arn, now = f"{ARN}:task/{CLUSTER}/{next(self._numbers)}", self._time.now()
        task = Task(arn, started_by, task_definition, now, {}, version=3, last_status="RUNNING")
        host = self._host_for(task)
        if host is None:
            raise ValueError("the hosts at the beginning have no room")
        task.host, task.host_port = host, _port_of(task)
        self.tasks[arn] = host.tasks[arn] = task
        host.images[task_definition] = now
        return task

    def add_host(self, zone: str, slots: int) -> Host:
        """A host has joined the cluster."""
        host = Host(next(self._numbers), zone, slots, self._time.now())
        self.hosts[host.arn] = host
        self.place_waiting()
        return host

    def remove_host(self, host: Host, reason: str) -> None:
        """A host is gone, and every container on it."""
        del self.hosts[host.arn]
        host.left_at = self._time.now()
        for task in list(host.tasks.values()):
            task.stop_code = task.stop_code or "TerminationNotice"
            task.stopped_reason = f"Host EC2 (instance i-{host.number}) {reason}."
            self.end(task, exit_code=None)

    def place_waiting(self) -> None:
        """Give tasks in PROVISIONING the room that there is now, the first one first."""
        while self.provisioning:
            task = next(iter(self.provisioning.values()))
            host = self._host_for(task)
            if host is None:
                return
            del self.provisioning[task.arn]
            self._place(task, host)

    def end(self, task: Task, exit_code: int | None) -> None:
        """A task's container has ended, or never will start."""
        if task.last_status == "STOPPED":
            return
        task.last_status = task.desired_status = "STOPPED"
        task.exit_code = exit_code
        task.stop_code = task.stop_code or "EssentialContainerExited"
        self.provisioning.pop(task.arn, None)
        if task.host is not None:
            task.host.tasks.pop(task.arn, None)
            self.ended += 1
        self._publish(task)
        self._time.later(PROVISIONING_SECONDS, lambda: self.tasks.pop(task.arn, None))
        self.place_waiting()

    def _host_for(self, task: Task) -> Host | None:
        """Spread over zones, then the fullest host of the zone that has room."""
        del task
        load: dict[str, int] = {}
        best: dict[str, Host] = {}
        for host in self.hosts.values():
            load[host.zone] = load.get(host.zone, 0) + len(host.tasks)
            free = host.free
            if free > 0 and (host.zone not in best or free < best[host.zone].free):
                best[host.zone] = host
        return min(best.values(), key=lambda host: load[host.zone], default=None)

    def _place(self, task: Task, host: Host) -> None:
        now = self._time.now()
        task.host, host.tasks[task.arn] = host, task
        self.started += 1
        task.last_status, task.version = "PENDING", task.version + 1
        task.pull_started_at = now + self.latencies.place
        image = task.task_definition
        pulled_at = host.images.setdefault(image, task.pull_started_at + self.latencies.pull)
        spread = self._chance.lognormvariate(0.0, self.latencies.start_spread)
        ready = max(task.pull_started_at, pulled_at) + self.latencies.start * spread
        self._time.later(ready - now, lambda: self._run(task))

    def _run(self, task: Task) -> None:
        if task.desired_status == "STOPPED":
            return
        if self.fails(task):
            task.version += 1
            self.end(task, exit_code=1)
            return
        task.last_status, task.host_port = "RUNNING", _port_of(task)
        self._publish(task)
        self.on_running(task)

    def _give_up(self, task: Task) -> None:
        if task.last_status == "PROVISIONING":
            task.stop_code = "TaskFailedToStart"
            task.stopped_reason = "RESOURCE:CPU"
            self.end(task, exit_code=None)

    def _publish(self, task: Task) -> None:
        task.version += 1
        detail = task.described()
        detail["createdAt"] = detail["createdAt"].isoformat()
        if "pullStartedAt" in detail:
            detail["pullStartedAt"] = detail["pullStartedAt"].isoformat()
        self._time.later(self.latencies.event, lambda: self.on_event(detail))

    def _take(self, bucket: str, action: str, tokens: float = 1) -> None:
        """As botocore's standard mode: a throttled call is repeated twice."""
        for tries in range(TRIES):
            self._meter.add(f"ECS {bucket} asked", tokens)
            if self._buckets[bucket].take(self._time.now(), tokens):
                self._meter.add(f"ECS {bucket}", tokens)
                return
            self._meter.add(f"ECS {bucket} throttled", tokens)
            if tries < TRIES - 1:
                self._time.sleep(self._chance.random() * 2**tries)
        raise _error("ThrottlingException", f"Rate exceeded: {action}")


def _error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "RunTask")


def _port_of(task: Task) -> int:
    """By its number; 28,000 tasks in a row have different ports."""
    return 32_768 + int(task.arn.rpartition("/")[2]) % 28_000
