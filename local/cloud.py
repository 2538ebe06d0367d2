"""One running local cloud: all its parts, started side by side and ended in order."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from local import judge
from local.access import AccessRule, hosts_at
from local.aws.auto_scaling import AutoScalingApi
from local.aws.clients import Clients
from local.aws.control import Control
from local.aws.dynamodb.index_lag import LAG
from local.aws.ecs.api import EcsApi, Limits
from local.aws.ecs.buckets import UNLIMITED
from local.aws.ecs.engine import Engine
from local.aws.ecs.model import HostSlot
from local.aws.ecs.providers import CapacityProvider
from local.aws.ecs.read_lag import ReadLag
from local.aws.endpoint import Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.forwarding import Forwarder
from local.aws.http_server import HttpServer
from local.aws.iam.authorizer import Authorizer
from local.aws.iam.principals import (
    Principals,
    host_role_of,
    read_functions,
    read_roles,
)
from local.aws.iam.task_roles import role_of_live_task, roles_by_key
from local.aws.kinesis.api import KinesisApi
from local.aws.kinesis.switches import Switches
from local.aws.logs.api import LogsApi
from local.aws.moto.calls import Moto
from local.aws.moto.roles import find_role
from local.aws.provision import ACCOUNT, AwsCall, execute, read_plan
from local.aws.scheduler.api import Scheduler, sender
from local.aws.secrets import secrets_through
from local.aws.sts import Sts
from local.background import InBackground, within
from local.cli.options import HOSTS_GROUP, ROOT, STAGE, Listeners, Options, port_of
from local.dispatcher_settings import dispatcher_arguments, dispatcher_environment
from local.feed.engine import Feed
from local.functions.dispatcher_process import DispatcherProcess
from local.functions.triggers.all import Triggers
from local.functions.warm import count_warm, pools_of, wait_until_warm
from local.hosts.images import session_image
from local.hosts.machines import LOOPBACK, Machines, Site, make_machines, zones_of
from local.hosts_group import HostsGroup, Timers
from local.leftovers import RunFolder
from local.operations import Operations, Parts

READY_SECONDS = 60.0
HEALTHY_SECONDS = 10.0
"""Time for GET /health to become healthy before the start fails."""

CLOSE_SECONDS = 8.0
"""Time for the engine to end all tasks; sessions get their SIGTERM at once."""


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
        self._kinesis = KinesisApi(
            self.options.region, ACCOUNT, Switches(read_limits=self.options.throttling)
        )
        self._scheduler = Scheduler(
            sender(lambda: self._clients.get("sqs")), self.options.region, ACCOUNT
        )
        self._feed = Feed(self.options, self.stream, self.logs, self.run.run_id)
        self.operations = Operations(
            self.options,
            run_id=self.run.run_id,
            logs=self.logs,
            clients=self._clients,
            faults=self.faults,
            feed=self._feed,
            kinesis=self._kinesis,
        )
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
        calls += self.operations.task_definition_calls(self._feed.url(machines.addresses))
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
            self.operations.functions = {function["name"]: function for function in functions}
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
        self._wait_warm(self._dispatcher_environment(machines))

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._check_wanted()
        started = time.monotonic()
        yield
        self.say(f"started {what} ({time.monotonic() - started:.2f} s)")

    def _check_wanted(self) -> None:
        if self.stop.is_set():
            raise StopRequestedError

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
        at = machines.addresses[port_of(self.listeners.dispatcher)]
        dispatcher = DispatcherProcess(
            project_dir=self.options.project_dir,
            api=self.listeners.dispatcher,
            invoke=self.listeners.invoke,
            environment=self._dispatcher_environment(machines),
            log_file=self.logs / "dispatcher.log",
            options=dispatcher_arguments(self.options, at),
            restart=self.options.restart,
        )
        self._undo.callback(dispatcher.stop)
        dispatcher.start()
        return dispatcher

    def _dispatcher_environment(self, machines: Machines) -> dict[str, str]:
        port = port_of(self.listeners.dispatcher)
        return dispatcher_environment(
            self.options,
            run_id=self.run.run_id,
            port=port,
            aws_url=self.aws_url,
            callback_url=f"http://{machines.addresses[port]}",
            container_aws_url=self._seen_by_containers(machines),
            feed_url=self._feed.url(machines.addresses),
            feed_relay_url=self._feed.relay_url,
        )

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
                lambda task: role_of_live_task([engine, judges], ecs, task),
                lambda text: engine.metadata(text) or judges.metadata(text),
                engine.find_interface,
            ),
            faults=self.faults,
            control=Control(self.faults, self.operations).answer,
            publish=triggers.bus.publish,
            region=options.region,
            authorizer=authorizer,
        )
        self.operations.begin(
            Parts(machines, dispatcher, triggers, engine, endpoint, judges, group)
        )
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
            role_of_task=roles_by_key(engines, ecs),
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
            "runtime": self.operations.parts.machines.runtime,
            "isolation": self.operations.parts.machines.isolation,
            "region": self.options.region,
            "run": self.run.run_id,
            "pid": os.getpid(),
        }

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
