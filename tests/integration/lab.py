"""All of AWS inside the test: moto, the ECS engine and the fault switches behind one endpoint.

The dispatcher's services are built by `chalicelib.wiring` and call AWS through boto3; the requests
go to the endpoint without a socket. The test moves the clock, makes containers send their requests,
and delivers events and messages.
"""

import heapq
import itertools
import json
import os
import random
import threading
import tomllib
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.moto_api._internal import mock_random

from chalicelib.api.tasks import HOST_CHANGES, TASK_CHANGES
from chalicelib.apps import parse_apps
from chalicelib.callers import Caller
from chalicelib.clients import Clients, clients_for
from chalicelib.config import load_config
from chalicelib.contract import Bye, Callback
from chalicelib.ecs.hosts import is_leaving
from chalicelib.ecs.task_changes import parse_task
from chalicelib.ecs.task_definitions import task_definition_for
from chalicelib.environment import Environment
from chalicelib.errors import ConflictError, NotFoundError, UnauthorizedError, UsherError
from chalicelib.sessions.items import from_item
from chalicelib.sessions.launch_queue import (
    LaunchAgain,
    ReconcilePool,
    StartWaiting,
    read_message,
)
from chalicelib.sessions.model import Session, State, session_id_of
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.tasks.probe import Found
from chalicelib.wiring import Services, build
from local.aws.dynamodb.index_lag import DEFAULT_SECONDS, LAG
from local.aws.ecs.api import EcsApi
from local.aws.ecs.buckets import UNLIMITED
from local.aws.ecs.engine import Engine, HostSlot
from local.aws.ecs.model import Task
from local.aws.ecs.ports import Ports
from local.aws.ecs.providers import CapacityProvider
from local.aws.ecs.read_lag import ReadLag
from local.aws.ecs.workers import Work
from local.aws.endpoint import OBSERVER, Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.moto.calls import Moto
from local.aws.moto.shortcuts import write_values
from local.aws.provision import ACCOUNT, execute, read_plan
from local.aws.wire import Answer, Request
from local.functions.triggers.events import EventBus, rule_for
from local.hosts.base import ContainerSpec, Exit
from tests.integration.wire import DirectClient, Wire
from tests.rights import Rights
from tests.unit.local.fakes import FakeHost

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"
BACKENDS = ("dynamodb", "sqs")
PROVIDER = "hosts"
NEVER_SECONDS = 1_000_000
"""Start time of a group's hosts where only the test adds them."""
START = 1_700_000_000.123_456_7
"""Finer than what is stored, as every real instant is."""
_CONFIG = load_config(
    {
        "STAGE": "local",
        "AWS_REGION": REGION,
        "CALLBACK_BASE_URL": "http://dispatcher",
        "GRADING_BUCKET": f"usher-local-grading-{ACCOUNT}",
    }
)


def _undelayed(request: Request) -> Request:
    """Messages can be received at once: SQS's clock is not the one that stands still."""
    if not request.target.endswith(".SendMessage"):
        return request
    message = json.loads(request.body) | {"DelaySeconds": 0}
    return replace(request, body=json.dumps(message).encode())


def _first(call: Callable[[], None]) -> Callable[[], None]:
    """Call it at once, so that concurrent work always has the same order."""
    call()
    return lambda: None


class Turns:
    """The engine's work, run in the test's own thread by `settle`, first in, first out.

    Timers never fire: the engine does the same work when it lists its tasks.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._events: deque[Callable[[], None]] = deque()

    def submit(self, work: Work, call: Callable[[], None]) -> None:
        self._waiting.append(call)

    def publish(self, call: Callable[[], None]) -> None:
        self._events.append(call)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        pass

    def run(self) -> None:
        """Run all pending work and the work that it causes; events are published last."""
        while self._waiting or self._events:
            (self._waiting or self._events).popleft()()

    def cancel(self) -> None:
        self._waiting.clear()

    def join(self) -> None:
        pass

    def close(self) -> None:
        self.run()


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Container:
    """A container in a task, as the dispatcher sees it."""

    runtime_id: str
    session_id: str
    key: str
    url: str
    connected: bool = False
    unsent: list[tuple[Callback, str]] = field(default_factory=lambda: [(Callback.READY, "")])
    """Callbacks that it repeats until they are acknowledged."""
    running: bool = True


class LabHost(FakeHost):
    """Its containers are `Container`s."""

    def __init__(self) -> None:
        super().__init__()
        self.containers: list[Container] = []

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        """Start as FakeHost does, and record the container."""
        runtime_id = super().start(spec, on_exit)
        given = spec.environment
        url = f"http://192.0.2.1:{spec.ports[0].host_port}/healthz"
        self.containers.append(
            Container(runtime_id, given.get("SESSION_ID", ""), given.get("SESSION_KEY", ""), url)
        )
        return runtime_id

    def exit(self, runtime_id: str, ended: Exit) -> None:
        for container in self.containers:
            if container.runtime_id == runtime_id and runtime_id in self.running:
                container.running = False
        super().exit(runtime_id, ended)

    def kill(self) -> None:
        for container in self.containers:
            if container.runtime_id in self.running:
                container.running = False
        super().kill()


Place = tuple[float, str, int, int]
"""Due time of an event, its resource, version and number."""


class SeededIds:
    """Seeded randomness: each story has the same ids in every run."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._lock = threading.Lock()

    def uuid(self) -> str:
        with self._lock:
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def key(self) -> str:
        with self._lock:
            return self._random.randbytes(32).hex()

    def part(self) -> float:
        with self._lock:
            return self._random.random()


class Lab:
    """One region of AWS with its hosts, made anew by `fresh`. One test uses it at a time."""

    def __init__(
        self, *, index_lag_seconds: float = DEFAULT_SECONDS, read_lag_seconds: float = 0.0
    ) -> None:
        """From the next `fresh` on, indexes of tables show a write by up to `index_lag_seconds`
        late, and ListTasks and DescribeTasks a new task by `read_lag_seconds`. Both go by the
        standing clock: they catch up only when time is moved.
        """
        os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
        self.config = _CONFIG
        self.index_lag_seconds = index_lag_seconds
        self.read_lag_seconds = read_lag_seconds
        self.rights = Rights(self.config.stage, self._task_definition, REGION)
        self.wire = Wire(self._answer, self._check_right)
        own_wire = Wire(self._answer_unseen)
        self._clients, self.aws = self._attached(self.wire), self._attached(own_wire)
        """The test's own clients: nothing happens to their calls."""
        self._moto = Moto(port=0)
        self._plan = [
            call
            for call in read_plan(
                ROOT / "infra" / "template.yaml", {"Stage": "local"}, REGION, "local"
            )
            if call.service in BACKENDS
        ]
        self._engine: Engine | None = None
        self.now = Clock()
        self._ids = SeededIds()

    def _check_right(self, service: str, action: str, parameters: Mapping[str, Any]) -> None:
        self.rights.check(service, action, parameters)

    def _task_definition(self, name: str) -> Mapping[str, Any] | None:
        return self.ecs.task_definition(name)

    def _answer(self, request: Request) -> Answer | None:
        answer = self._endpoint.answer(_undelayed(request))
        if request.target.endswith((".RunTask", ".StartTask", ".StopTask")):
            self.settle()  # one after the other, so that a story has the same order each time
        return answer

    def _answer_unseen(self, request: Request) -> Answer | None:
        """Neither counted nor hit by fault switches."""
        headers = {**request.headers, "user-agent": OBSERVER}
        return self._answer(replace(request, headers=headers))

    def _attached(self, wire: Wire) -> Clients:
        clients = clients_for(self.config)

        @cache
        def create(service: str) -> Any:
            return DirectClient(clients.create(service), wire)

        return Clients(*map(create, ("dynamodb", "sqs", "ecs", "ec2")), create=create)

    # Beginning and end.

    def fresh(self, apps: str) -> None:
        """Begin anew: empty tables, two hosts, no task. `apps`: the text of the apps file."""
        self.close()
        self.config = replace(_CONFIG, apps=parse_apps(tomllib.loads(apps)))
        self.now = Clock()
        self._ids = SeededIds()
        mock_random.seed(1)
        random.seed(1)  # which of two equal hosts the engine chooses
        LAG.set(self.index_lag_seconds, seed=1, now=self.now)
        self.faults = Faults()
        self._hosts = [self._new_host() for _ in range(2)]
        self._events: list[tuple[Place, str, dict[str, Any]]] = []
        self._order = itertools.count()
        self.bus = EventBus(self._take_event, self.faults.deliveries)
        self.bus.set_rules(
            [rule_for("task_changed", TASK_CHANGES), rule_for("host_changed", HOST_CHANGES)]
        )
        self._turns = Turns()
        self._engine = self._new_engine()
        self.ecs = EcsApi(self._engine, limits=UNLIMITED)
        self._endpoint = Endpoint(
            moto=self._moto,
            ecs=self.ecs,
            hosts=Hosts(lambda _: "192.0.2.1", lambda _: None, lambda _: None),
            faults=self.faults,
            control=lambda _: Answer(404),
            publish=self.bus.publish,
            region=REGION,
        )
        self._empty_backends()
        for app in self.config.apps.by_name.values():
            self.deploy(app.name)
        self.wire.reset(None)

    def _empty_backends(self) -> None:
        """Empty all tables and queues; they are created once, which takes longer than most
        tests.
        """
        tables, queues = backend("dynamodb").tables, backend("sqs").queues
        if self.config.jobs_table not in tables:
            for name in BACKENDS:
                backend(name).reset()
            execute(self._plan, lambda service: getattr(self.aws, service))
            return
        for table in tables.values():
            table.clear()
        for queue in queues.values():
            take_all(queue)

    def close(self) -> None:
        """End the engine's threads."""
        LAG.set(0.0)
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _new_host(self) -> LabHost:
        return LabHost()

    def _new_engine(self) -> Engine:
        slots = [
            HostSlot(
                name=f"host-{n}",
                host=host,
                address="192.0.2.1",
                cpu_units=4096,
                memory_mib=8192,
                ec2_instance_id=f"i-{n:017x}",
                availability_zone=f"{REGION}a",
            )
            for n, host in enumerate(self._hosts)
        ]
        return Engine(
            region=REGION,
            account="123456789012",
            hosts=slots,
            publish=self.bus.publish,
            cluster=self.config.cluster,
            clock=self.now,
            ports=Ports(range(20_000, 30_000), free=lambda *_: True),
            new_id=lambda: self._ids.uuid().replace("-", ""),
            workers=self._turns,
            read_lag=ReadLag(self.read_lag_seconds),
        )

    def deploy(self, app: str, **changes: Any) -> str:
        """Register the task definition of an app; its ARN."""
        request = task_definition_for(self.config.apps.by_name[app], stage=self.config.stage)
        answer = self.aws.ecs.register_task_definition(**request | changes)
        return answer["taskDefinition"]["taskDefinitionArn"]

    def process(self) -> Services:
        """Returns the services of a new process of the dispatcher, with empty caches."""
        self.wire.reset(None)
        return self._build(self._clients)

    def other_process(self) -> Services:
        """Returns the services of a concurrent process without injected failures."""
        return self._build(self.aws)

    def indexes_catch_up(self) -> None:
        """Time passes until the indexes show all that was written."""
        self.now.move(self.index_lag_seconds)

    def sweep(self, services: Services) -> dict[str, int]:
        """The sweep of sessions alone."""
        return services.sweep_of(services.sessions.kind).run()

    def _wait(self, event: threading.Event, seconds: float) -> None:
        """Return at once if the event is set; otherwise move the clock by the timeout."""
        if not event.is_set():
            self.now.move(seconds)

    def _build(self, clients: Clients) -> Services:
        environment = Environment(
            self.now,
            self.now.move,
            self.probe,
            self._ids,
            starters=1,
            wait=self._wait,
            beside=_first,
        )
        return build(self.config, clients, environment)

    # Events and messages for the dispatcher.

    def _take_event(self, function: str, event: dict[str, Any], delay: float) -> None:
        detail = event["detail"]
        of = detail.get("taskArn") or detail.get("containerInstanceArn", "")
        # The engine publishes events of the same instant in varying order; this order is fixed.
        place = (self.now() + delay, of, detail.get("version", 0), next(self._order))
        heapq.heappush(self._events, (place, function, event))

    def settle(self) -> None:
        """Run the engine's pending work and publish its events."""
        if self._engine is not None:
            self._engine.tasks()  # ends those that waited too long for a host
        self._turns.run()

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Take the events that are due; each is to be delivered, or lost."""
        self.settle()
        due = []
        while self._events and self._events[0][0][0] <= self.now():
            _, function, event = heapq.heappop(self._events)
            due.append((function, event))
        return due

    def deliver(self, services: Services, event: tuple[str, dict[str, Any]]) -> None:
        """Call the services as the handlers of chalicelib/api/tasks.py do."""
        function, body = event
        if function == "task_changed":
            services.on_task_change(parse_task(body["detail"]))
        elif is_leaving(body["detail"]):
            services.sessions.service.on_host_leaving(body["detail"]["containerInstanceArn"])

    def deliver_events(self, services: Services) -> None:
        """Deliver what is due, once; an event that fails is lost."""
        for event in self.events():
            with _failure_is_news():
                self.deliver(services, event)

    def messages(self) -> list[tuple[str, LaunchAgain | ReconcilePool | StartWaiting]]:
        """The messages of the launch queue that can be received now, by their receipts."""
        found = []
        url = self.aws.sqs.get_queue_url(QueueName=self.config.launches_queue)["QueueUrl"]
        while True:
            answer = self.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            if not answer.get("Messages"):
                return found
            found += [(m["ReceiptHandle"], read_message(m["Body"])) for m in answer["Messages"]]

    def take_message(
        self, services: Services, message: tuple[str, LaunchAgain | ReconcilePool | StartWaiting]
    ) -> None:
        """Do as `launch_queued` of chalicelib/api/sessions.py; a message that is taken is
        deleted.
        """
        receipt, asked = message
        if isinstance(asked, LaunchAgain):
            services.sessions.launches.launch_later(asked.session_id, asked.tries)
        elif isinstance(asked, StartWaiting):
            services.sessions.launches.start_waiting(asked.group)
        else:
            services.sessions.pools.on_message(asked)
        url = self.aws.sqs.get_queue_url(QueueName=self.config.launches_queue)["QueueUrl"]
        self.aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)

    def take_messages(self, services: Services) -> None:
        """Take the messages that wait, each once."""
        for message in self.messages():
            with _failure_is_news():
                self.take_message(services, message)

    # Containers.

    @property
    def containers(self) -> list[Container]:
        """Running containers, in the order of their start on each host."""
        self.settle()
        return [c for host in self._hosts for c in list(host.containers) if c.running]

    def containers_on(self, number: int) -> list[Container]:
        """Returns the running containers of a host."""
        self.settle()
        return [c for c in self._hosts[number].containers if c.running]

    def container_of(self, session_id: str) -> Container:
        """The running container of a session."""
        found = [c for c in self.containers if c.session_id == session_id]
        assert len(found) == 1, f"{session_id} has {len(found)} containers"
        return found[0]

    def probe(self, url: str) -> Found:
        """Returns the result of GET /healthz at a container."""
        at = [container for container in self.containers if container.url == url.partition("?")[0]]
        if not at:
            return Found.REFUSED
        return Found.CONNECTED if at[0].connected else Found.ALONE

    def send_next(self, services: Services, container: Container) -> None:
        """The container sends its next callback; one acknowledged or refused is not repeated."""
        callback, words = container.unsent[0]
        with suppress(ConflictError, NotFoundError, UnauthorizedError):
            services.sessions.service.handle_callback(
                container.session_id, container.key, callback, words
            )
        container.unsent.pop(0)

    def send_all(self, services: Services) -> None:
        """Every running container sends its callbacks."""
        self.settle()
        for container in self.containers:
            with _failure_is_news():
                while container.running and container.unsent:
                    self.send_next(services, container)

    def connect(self, session_id: str) -> Container:
        """A client connects."""
        container = self.container_of(session_id)
        container.connected = True
        container.unsent.append((Callback.CONNECTED, ""))
        return container

    def disconnect(self, session_id: str) -> Container:
        """The client goes. The container exits when the test lets it."""
        container = self.container_of(session_id)
        container.connected = False
        container.unsent.append((Callback.DISCONNECTED, ""))
        return container

    def report_stopping(self, session_id: str, reason: Bye) -> Container:
        """The container reports that it is stopping."""
        container = self.container_of(session_id)
        container.unsent.append((Callback.STOPPING, reason))
        return container

    def exit(self, container: Container, code: int = 0) -> None:
        """The container's program ends."""
        for host in self._hosts:
            if any(container is one for one in host.containers):
                host.exit(container.runtime_id, Exit(code))
        self.settle()

    def drain_host(self, number: int) -> None:
        """A host is to be removed: it accepts no more tasks."""
        name = f"host-{number}"
        arns = [instance.arn for instance in self.engine.instances() if instance.name == name]
        self._set_status(arns, "DRAINING")

    @property
    def engine(self) -> Engine:
        """The engine of the current story."""
        assert self._engine is not None
        return self._engine

    def use_provider(self, name: str = PROVIDER) -> None:
        """Place tasks on a capacity provider whose group has no host and never adds one itself."""
        self.config = replace(self.config, capacity_provider=name)
        self.engine.providers[name] = CapacityProvider(name, host_seconds=NEVER_SECONDS)
        self.aws.ecs.put_cluster_capacity_providers(
            cluster=self.config.cluster,
            capacityProviders=[name],
            defaultCapacityProviderStrategy=[],
        )

    def add_host(self, provider: str = PROVIDER) -> None:
        """The Auto Scaling group of a provider has brought a host."""
        host, number = self._new_host(), len(self._hosts)
        self._hosts.append(host)
        name, instance = f"host-{number}", f"i-{number:017x}"
        slot = HostSlot(name, host, "192.0.2.1", 4096, 8192, instance, f"{REGION}a")
        self.engine.add_host(slot, provider)

    def give_fargate(self, cpu_units: int = 4096) -> None:
        """Tasks of Fargate can run, as many as there are CPU units for."""
        host = self._new_host()
        self._hosts.append(host)
        self.engine.fargate = HostSlot(
            "fargate", host, "192.0.2.1", cpu_units, 4 * cpu_units, "", f"{REGION}a"
        )
        self.config = replace(
            self.config, task_subnets=("subnet-1",), task_security_groups=("sg-1",)
        )

    def kill_host(self, number: int) -> None:
        """Lose a host."""
        assert self._engine is not None
        self._engine.kill_host(f"host-{number}")
        self.settle()

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """Drain all hosts during the block: no task can be placed."""
        instances = self.aws.ecs.list_container_instances(cluster=self.config.cluster)
        arns = instances["containerInstanceArns"]
        self._set_status(arns, "DRAINING")
        try:
            yield
        finally:
            self._set_status(arns, "ACTIVE")

    def _set_status(self, arns: list[str], status: str) -> None:
        self.aws.ecs.update_container_instances_state(
            cluster=self.config.cluster, containerInstances=arns, status=status
        )

    # Looking.

    def tasks(self) -> list[Task]:
        """Returns all tasks in ECS."""
        assert self._engine is not None
        return self._engine.tasks()

    def running(self) -> dict[str, Task]:
        """Tasks that are meant to run, by ARN."""
        return {task.arn: task for task in self.tasks() if task.is_wanted}

    def items(self) -> list[dict[str, Any]]:
        """Returns all items of the table from moto's storage: tests read it very often."""
        return items_in(self.config.sessions_table)

    def sessions(self) -> dict[str, Session]:
        """All records of sessions, by id."""
        found = [from_item(item) for item in self.items() if "uuid" in item]
        return {session.id: session for session in found}

    def counters(self) -> dict[str, int]:
        """Returns the limits' counters that are not zero, without the rates, which never
        decrease.
        """
        return {
            item["id"]["S"]: int(item["n"]["N"])
            for item in self.items()
            if item["id"]["S"].startswith("limit#")
            and not item["id"]["S"].startswith("limit#second/")
            and int(item["n"]["N"])
        }

    # Requests.

    def request(self, app: str, owner: str, key: str | None = None) -> DispatchRequest:
        """Returns an owner's request GET /session?wait=0."""
        found = self.config.apps.get(app)
        assert found is not None
        return DispatchRequest(
            app=found,
            wait_seconds=0,
            idempotency_key=key,
            caller=Caller(owner, key_scope=owner),
            callback_base_url="http://dispatcher",
        )


@contextmanager
def _failure_is_news() -> Iterator[None]:
    """Errors that the outermost frame of a handler would log."""
    with suppress(UsherError, ClientError, BotoCoreError):
        yield


def take_all(queue: Any) -> list[str]:
    """Take all messages out of one of moto's queues at once, hidden and delayed ones, too."""
    bodies = [message.body for message in queue.messages]
    queue._messages, queue._pending_messages = [], set()
    return bodies


def backend(name: str) -> Any:
    from moto.backends import get_backend
    from moto.core import DEFAULT_ACCOUNT_ID

    return get_backend(name)[DEFAULT_ACCOUNT_ID][REGION]


def items_in(table: str) -> list[dict[str, Any]]:
    """Returns all items of a table in DynamoDB's format, from moto's storage."""
    return [write_values(item.attrs) for item in backend("dynamodb").tables[table].all_items()]


def check_invariants(lab: Lab) -> None:
    """Check the invariants of sessions, which hold after every step."""
    sessions = lab.sessions()
    held = Counter(
        key for s in sessions.values() if s.state is not State.ENDED for key in s.counters
    )
    assert lab.counters() == held, "counters equal the live sessions that hold them"
    owned = Counter(s.task_arn for s in sessions.values() if s.task_arn)
    assert not [arn for arn, times in owned.items() if times > 1], "one task, one session"
    for session in sessions.values():
        if session.owner is not None and session.is_live:
            assert session.counters, "whoever is served is counted"


def check_at_rest(lab: Lab) -> None:
    """Check the state after all deadlines and sweeps."""
    check_invariants(lab)
    sessions = lab.sessions()
    for task in lab.running().values():
        session = sessions.get(session_id_of(task.started_by) or "")
        assert session is not None
        assert session.is_live, f"{task.arn} runs for nobody: {session}"
        assert session.task_arn == task.arn, "each task is its session's"
    for session in sessions.values():
        assert session.state in {State.ACTIVE, State.WARM, State.ENDED}, f"stuck: {session}"
        if session.state is not State.ENDED:
            assert session.task_arn in lab.running(), f"lives without a task: {session}"
