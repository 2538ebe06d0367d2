"""One running local cloud: all its parts, started side by side and ended in order."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from local import judge
from local.access import AccessRule, hosts_at, origins_of
from local.aws.auto_scaling import AutoScalingApi
from local.aws.clients import Clients
from local.aws.control import Control
from local.aws.dynamodb.index_lag import LAG
from local.aws.ecs.api import EcsApi, Limits
from local.aws.ecs.buckets import UNLIMITED
from local.aws.ecs.engine import Engine
from local.aws.ecs.model import HostSlot, Task
from local.aws.ecs.providers import CapacityProvider
from local.aws.ecs.read_lag import ReadLag
from local.aws.ecs.shapes import show_task
from local.aws.endpoint import Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.forwarding import Forwarder
from local.aws.http_server import HttpServer
from local.aws.iam.authorizer import Authorizer
from local.aws.iam.principals import (
    ALL_FUNCTIONS_KEY,
    Principals,
    host_role_of,
    read_functions,
    read_roles,
    task_key,
)
from local.aws.kinesis.api import KinesisApi
from local.aws.kinesis.switches import Switches
from local.aws.logs.api import LogsApi
from local.aws.moto.calls import Moto
from local.aws.moto.roles import find_role
from local.aws.provision import ACCOUNT, AwsCall, execute, read_plan, task_definition_calls
from local.aws.scheduler.api import Scheduler, sender
from local.aws.secrets import secrets_through
from local.aws.sts import Sts
from local.background import InBackground, within
from local.cli.options import HOSTS_GROUP, ROOT, STAGE, Listeners, Options, port_of
from local.feed.engine import Feed
from local.functions.dispatcher_process import DispatcherProcess, Invocation, UnreachableError
from local.functions.triggers.all import Triggers
from local.functions.triggers.schedules import scheduled_event
from local.functions.warm import count_warm, pools_of, wait_until_warm
from local.hosts.images import session_image
from local.hosts.machines import LOOPBACK, Machines, Site, make_machines, zones_of
from local.hosts_group import HostsGroup, Timers
from local.leftovers import RunFolder

READY_SECONDS = 60.0
HEALTHY_SECONDS = 10.0
"""Time for GET /health to become healthy before the start fails."""

CLOSE_SECONDS = 8.0
"""Time for the engine to end all tasks; sessions get their SIGTERM at once."""


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


@dataclass
class Cloud:
    """All components. Call `start` once, then `close` once; other methods from any thread in
    between.
    """

    options: Options
    run: RunFolder
    listeners: Listeners
    say: Callable[[str], None]
    stop: threading.Event
    """Set to request the end; the start checks it between its steps."""
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.dispatcher_url = f"http://{LOOPBACK}:{port_of(self.listeners.dispatcher)}"
        self.aws_url = f"http://{LOOPBACK}:{port_of(self.listeners.aws)}"
        self.stream = f"usher-{STAGE}-updates"
        self.logs = self.options.logs or self.run.logs
        self.streams = self.logs / "streams"
        self._clients = Clients(self.aws_url, self.options.region)
        self._functions: dict[str, Mapping[str, Any]] = {}
        self._parts: Parts | None = None
        self._kinesis = KinesisApi(
            self.options.region, ACCOUNT, Switches(read_limits=self.options.throttling)
        )
        self._scheduler = Scheduler(
            sender(lambda: self._clients.get("sqs")), self.options.region, ACCOUNT
        )
        self._feed = Feed(self.options, self.stream, self.logs, self.run.run_id)
        self._server: HttpServer | None = None
        self._added: list[HostSlot] = []
        """Hosts that were added while it ran."""
        self._undo = ExitStack()
        self._undo.callback(self.listeners.close)
        self._undo.callback(self._close_server)

    # Starting.

    def start(self) -> None:
        """Start everything; returns when the dispatcher's health check answers.

        Raises NoRedisError, NoRuntimeError, TemplateError, ConfigurationError,
        DispatcherDiedError, RelayError, NotHealthyError, StopRequestedError,
        UnreachableServiceError.
        """
        options = self.options
        forwarders = self._forwarders()
        LAG.set(options.index_lag_seconds, seed=options.lag_seed)
        calls = read_plan(options.template, {"Stage": STAGE}, options.region, STAGE)
        moto = InBackground(lambda: Moto(port_of(self.listeners.aws)))
        with self._step("feed"):
            self._undo.callback(self._feed.close)
            self._feed.start()
        with self._step("hosts"):
            machines = self._make_machines()
        calls += self._task_definition_calls(self._feed.url(machines.addresses))
        judges = judge.task_definition(STAGE, options.region)
        calls.append(AwsCall("ecs", "register_task_definition", judges))
        with self._step("dispatcher process"):
            dispatcher = self._start_dispatcher(machines)
        with self._step("AWS endpoint"):
            triggers = self._start_engine(machines, dispatcher, moto.result(), forwarders)
        with self._step("tables, queues, stream, cluster, task definitions"):
            execute(calls, self._clients.get)
        with self._step("dispatcher"):
            functions = dispatcher.wait_ready(READY_SECONDS)
            self._functions = {function["name"]: function for function in functions}
        with self._step("triggers"):
            triggers.start(functions)
            self._undo.callback(self._scheduler.close)
            self._scheduler.start()
        with self._step("relay"):
            self._feed.begin(dispatcher, options.region)
        with self._step("health check"):
            self._wait_healthy(dispatcher.last_output)
        triggers.fire_rates()
        dispatcher_url = f"http://{LOOPBACK}:{port_of(self.listeners.dispatcher)}"
        for folder in options.assignments:
            with self._step(f"assignment {folder.name}"):
                judge.put_assignment(dispatcher_url, folder)
        self._wait_warm(self._environment(machines))

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._check_wanted()
        started = time.monotonic()
        yield
        self.say(f"started {what} ({time.monotonic() - started:.2f} s)")

    def _check_wanted(self) -> None:
        if self.stop.is_set():
            raise StopRequestedError

    def _task_definition_calls(self, feed_url: str) -> list[AwsCall]:
        region = self.options.region if self.options.log_streams else None
        return task_definition_calls(STAGE, self.options.apps, feed_url, log_region=region)

    def _forwarders(self) -> Mapping[str, Forwarder]:
        """The forwarders of services that other emulators serve, by name. Raises
        UnreachableServiceError.
        """
        options = self.options
        found = {each.name: Forwarder(each, options.region) for each in options.aws_services}
        for forwarder in found.values():
            forwarder.check()
        return found

    def _make_machines(self) -> Machines:
        session = session_image(ROOT)
        named = {image.name for image in self.options.images}
        sources = [*self.options.images, *([] if session.name in named else [session])]
        sources.append(judge.image(ROOT))
        site = Site(
            run_id=self.run.run_id,
            sources=sources,
            size=self.options.size,
            region=self.options.region,
            logs=self.logs,
            streams=self.streams,
            ports=(
                port_of(self.listeners.dispatcher),
                port_of(self.listeners.aws),
                *self._feed.ports,
            ),
            allow_unprotected=self.options.allow_unprotected,
            tell=lambda runtime: self.run.tell(runtime=runtime),
        )
        # Images may have to be built first; a request to end does not wait for that.
        making = InBackground(lambda: make_machines(self.options.runtime, site, self.say))
        while not making.is_made(within_seconds=0.1):
            self._check_wanted()
        machines: Machines = making.result()
        self._undo.callback(machines.close)
        self._undo.callback(self._close_added)
        for slot in (*machines.slots, machines.fargate):
            self._undo.callback(slot.host.close)
        return machines

    def _start_dispatcher(self, machines: Machines) -> DispatcherProcess:
        options = ["--stage", STAGE] + (["--access-log"] if self.options.access_log else [])
        options += ["--functions", self.options.functions]
        if self.options.function_concurrency is not None:
            options += ["--concurrency", str(self.options.function_concurrency)]
        if self.options.function_idle_seconds is not None:
            options += ["--idle-seconds", str(self.options.function_idle_seconds)]
        seen_by_containers = machines.addresses[port_of(self.listeners.dispatcher)]
        for name in (seen_by_containers, *self.options.allowed_hosts):
            options += ["--allowed-host", name]
        for origin in self.options.allowed_origins:
            options += ["--allowed-origin", origin]
        dispatcher = DispatcherProcess(
            project_dir=self.options.project_dir,
            api=self.listeners.dispatcher,
            invoke=self.listeners.invoke,
            environment=self._environment(machines),
            log_file=self.logs / "dispatcher.log",
            options=options,
            restart=self.options.restart,
        )
        self._undo.callback(dispatcher.stop)
        dispatcher.start()
        return dispatcher

    def _environment(self, machines: Machines) -> dict[str, str]:
        """The dispatcher's environment: this process's, without the developer's AWS settings."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        port = port_of(self.listeners.dispatcher)
        environment |= {
            "STAGE": STAGE,
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_REGION": self.options.region,
            "AWS_DEFAULT_REGION": self.options.region,
            "AWS_ACCESS_KEY_ID": ALL_FUNCTIONS_KEY,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CALLBACK_BASE_URL": f"http://{machines.addresses[port]}",
            "CONTAINER_AWS_ENDPOINT_URL": self._seen_by_containers(machines),
            "FEED_URL": self._feed.url(machines.addresses),
            "FEED_RELAY_URL": self._feed.relay_url,
            "ALLOWED_ORIGINS": ",".join(self._allowed_origins()),
            "TASK_SUBNETS": "subnet-local",
            "TASK_SECURITY_GROUPS": "sg-local",
            "SESSION_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/usher-{STAGE}-session",
            "JUDGES_CLUSTER": judge.CLUSTER.format(stage=STAGE),
            "JUDGES_CAPACITY_PROVIDER": judge.CLUSTER.format(stage=STAGE),
            "GRADING_BUCKET": f"usher-{STAGE}-grading-{ACCOUNT}",
            "JOBS_LAUNCH_TYPE": self.options.launch_type.upper(),
            "USHER_LOCAL_RUN": self.run.run_id,
            "PYTHONUNBUFFERED": "1",
        }
        if reason := judge.why_not():
            environment["GRADING_UNAVAILABLE"] = reason
        if self.options.apps:
            environment["APPS_FILE"] = str(self.options.apps.resolve())
        if self.options.capacity_provider:
            environment["CAPACITY_PROVIDER"] = self.options.capacity_provider
        if self.options.hosts_between:
            environment["HOSTS_GROUP"] = HOSTS_GROUP
        if self.options.pool is not None:
            environment["POOL_MIN"] = str(self.options.pool)
        return environment

    def _allowed_origins(self) -> list[str]:
        """Origins of the pages that may request a session and connect to it."""
        hosts = hosts_at(port_of(self.listeners.dispatcher), self.options.allowed_hosts)
        return sorted({*origins_of(hosts), *self.options.allowed_origins})

    def _seen_by_containers(self, machines: Machines) -> str:
        return f"http://{machines.addresses[port_of(self.listeners.aws)]}"

    def _start_engine(
        self,
        machines: Machines,
        dispatcher: DispatcherProcess,
        moto: Moto,
        forwarders: Mapping[str, Forwarder],
    ) -> Triggers:
        options = self.options
        triggers = Triggers(
            dispatcher,
            self._clients.get,
            self.faults,
            options.region,
            ACCOUNT,
            arrivals=None if "kinesis" in forwarders else self._kinesis.arrivals,
        )
        self._undo.callback(triggers.close)
        engine = Engine(
            region=options.region,
            account=ACCOUNT,
            hosts=machines.slots,
            publish=triggers.bus.publish,
            start_delay_seconds=options.start_delay_seconds,
            cluster=f"usher-{STAGE}",
            agent_endpoint=self._seen_by_containers(machines),
            providers=[CapacityProvider(options.capacity_provider)]
            if options.capacity_provider
            else [],
            fargate=machines.fargate,
            read_lag=ReadLag(options.task_lag_seconds, options.lag_seed),
            secret_value=secrets_through(self._clients.get, options.secrets),
        )
        self._undo.callback(within, CLOSE_SECONDS, "the tasks", engine.close)
        judges = self._judges_engine(machines, triggers)
        self._undo.callback(within, CLOSE_SECONDS, "the judges", judges.close)
        self._undo.callback(triggers.stop_new)
        group = self._hosts_group(machines, engine)
        limits = Limits() if options.throttling else UNLIMITED
        ecs = EcsApi(engine, others=[judges], limits=limits)
        sts = Sts(ACCOUNT, lambda name: find_role(ACCOUNT, name))
        authorizer = None
        if options.iam:
            authorizer = self._authorizer([engine, judges], ecs, forwarders, sts)
            sts.caller_of = authorizer.arn_of
        endpoint = Endpoint(
            moto=moto,
            ecs=ecs,
            kinesis=self._kinesis,
            services={
                "logs": LogsApi(self.streams, options.region, ACCOUNT).answer,
                "scheduler": self._scheduler.answer,
                "sts": sts.answer,
                **({"autoscaling": AutoScalingApi([group.group]).answer} if group else {}),
            },
            forwarded={name: forwarder.answer for name, forwarder in forwarders.items()},
            hosts=Hosts(
                engine.instance_address,
                lambda task: _task_role([engine, judges], ecs, task),
                lambda text: engine.metadata(text) or judges.metadata(text),
                engine.find_interface,
            ),
            faults=self.faults,
            control=Control(self.faults, self).answer,
            publish=triggers.bus.publish,
            region=options.region,
            authorizer=authorizer,
        )
        self._parts = Parts(machines, dispatcher, triggers, engine, endpoint, judges, group)
        port = port_of(self.listeners.aws)
        rule = AccessRule(hosts_at(port, [machines.addresses[port]]))
        self._server = HttpServer(self.listeners.aws, endpoint.answer, rule)
        self._server.start()
        return triggers

    def _hosts_group(self, machines: Machines, engine: Engine) -> HostsGroup | None:
        options = self.options
        if options.hosts_between is None:
            return None

        def make(name: str, instance: str, zone: str) -> HostSlot:
            slot = machines.make(name, instance, zone)
            self._added.append(slot)
            return slot

        timers = Timers()
        self._undo.callback(timers.close)
        group = HostsGroup(
            HOSTS_GROUP,
            engine,
            zones=zones_of(options.region, options.size.zones),
            make=make,
            first=machines.slots,
            between=options.hosts_between,
            launch_seconds=options.host_delay_seconds,
            after=timers.after,
        )
        group.begin()
        return group

    def _close_added(self) -> None:
        for slot in self._added:
            slot.host.close()

    def _judges_engine(self, machines: Machines, triggers: Triggers) -> Engine:
        """The cluster of judges with its own provider, as on AWS; its host is on the first one's
        machine.
        """
        first = machines.slots[0]
        if self.options.hosts_between:  # whose host may be ended
            first = machines.make("judges", first.ec2_instance_id, first.availability_zone)
            self._added.append(first)
        host = replace(first, name=judge.HOST, ec2_instance_id="i-0000000000000face")
        return Engine(
            region=self.options.region,
            account=ACCOUNT,
            hosts=[host],
            publish=triggers.bus.publish,
            start_delay_seconds=self.options.start_delay_seconds,
            cluster=judge.CLUSTER.format(stage=STAGE),
            agent_endpoint=self._seen_by_containers(machines),
            providers=[CapacityProvider(judge.CLUSTER.format(stage=STAGE))],
            read_lag=ReadLag(self.options.task_lag_seconds, self.options.lag_seed),
        )

    def _authorizer(
        self, engines: Sequence[Engine], ecs: EcsApi, forwarded: Collection[str], sts: Sts
    ) -> Authorizer:
        roles = read_roles(self.options.template, STAGE, self.options.region)
        principals = Principals(
            functions=read_functions(self.options.project_dir, STAGE),
            roles=roles,
            host_role=host_role_of(roles),
            role_of_task=_roles_by_key(engines, ecs),
            sts=sts,
        )
        region = self.options.region
        return Authorizer(principals, ecs.task_definition, region, forwarded, lambda _: HOSTS_GROUP)

    def _wait_healthy(self, last_output: Callable[[], str]) -> None:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while True:
            connection = http.client.HTTPConnection(
                LOOPBACK, port_of(self.listeners.dispatcher), timeout=READY_SECONDS
            )
            try:
                connection.request("GET", "/health")
                response = connection.getresponse()
                body = response.read().decode("utf-8", "replace")
            finally:
                connection.close()
            if response.status == 200:
                return
            if time.monotonic() > deadline:
                raise NotHealthyError(
                    f"GET /health answers {response.status}: {body}\n{last_output()}"
                )
            self._pause(0.1)

    def _wait_warm(self, environment: Mapping[str, str]) -> None:
        pools = pools_of(environment)
        if pools:
            with self._step("warm pool"):
                wait_until_warm(
                    pools,
                    partial(count_warm, environment, self._clients.get("dynamodb")),
                    pause=self._pause,
                    say=self.say,
                )

    def _pause(self, seconds: float) -> None:
        self.stop.wait(seconds)
        self._check_wanted()

    # While it runs.

    @property
    def parts(self) -> Parts:
        """The components. Only after they were started."""
        if self._parts is None:
            raise RuntimeError("the cloud was not started")
        return self._parts

    @property
    def assignment_pages(self) -> list[str]:
        """The pages of the assignments that were created at the start."""
        names = [folder.resolve().name for folder in self.options.assignments]
        return [f"{self.dispatcher_url}/assignments/{name}" for name in names]

    @property
    def ready(self) -> dict[str, Any]:
        """The content of the READY line."""
        return {
            "dispatcher": self.dispatcher_url,
            "aws": self.aws_url,
            "stream": self.stream,
            "page": f"{self.dispatcher_url}/",
            "feed": self._feed.engine,
            "runtime": self.parts.machines.runtime,
            "isolation": self.parts.machines.isolation,
            "region": self.options.region,
            "run": self.run.run_id,
            "pid": os.getpid(),
        }

    def state(self) -> dict[str, Any]:
        """See `local.aws.control`."""
        parts = self.parts
        return {
            "run": self.run.run_id,
            "runtime": parts.machines.runtime,
            "logs": str(self.logs),
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
            "functions": list(self._functions.values()),
            "invocations": parts.dispatcher.invocations,
            "pending": parts.triggers.deliveries.pending,
            "given_up": parts.triggers.deliveries.given_up,
            "calls": parts.endpoint.calls,
            "rights": parts.endpoint.rights,
            "faults": dict(self.faults.document),
            "injected": self.faults.injected,
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
        calls = self._task_definition_calls(feed_url)
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
        if function not in self._functions:
            raise KeyError(function)
        if event is None:
            event = scheduled_event(function, datetime.now(UTC), self.options.region, ACCOUNT)
        return self.parts.dispatcher.invoke(function, event)

    # Ending.

    def close(self) -> None:
        """End everything in order: no new work, the tasks, then what they talk to. Idempotent."""
        self._undo.close()

    def _close_server(self) -> None:
        if self._server:
            self._server.close()


class StopRequestedError(Exception):
    """The end was requested before everything had started."""


class NotHealthyError(Exception):
    """Everything runs, and the dispatcher reports that it is unhealthy."""


def _environments(dispatcher: DispatcherProcess) -> dict[str, Any]:
    try:
        return dispatcher.environments()
    except UnreachableError:
        return {}  # it has just ended, and its processes with it


def _task_role(engines: Sequence[Engine], ecs: EcsApi, task_id: str) -> str | None:
    task = next(filter(None, (engine.find_task(task_id) for engine in engines)), None)
    if task is None or task.is_stopped:
        return None
    return _role_of(ecs, task)


def _role_of(ecs: EcsApi, task: Task) -> str | None:
    definition = ecs.task_definition(task.definition_arn) or {}
    role = task.overrides.get("taskRoleArn") or definition.get("taskRoleArn")
    return str(role) if role else None


def _roles_by_key(engines: Sequence[Engine], ecs: EcsApi) -> Callable[[str], str | None]:
    """The role of the task that was given an access key; credentials outlive their task."""
    known: dict[str, str | None] = {}

    def role_of(key: str) -> str | None:
        if key not in known:
            tasks = [task for engine in engines for task in engine.tasks()]
            known.update({task_key(task.id): _role_of(ecs, task) for task in tasks})
        return known.get(key)

    return role_of
