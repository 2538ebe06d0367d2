"""One cell: the dispatcher's own services on models of AWS, its containers, and its visitors."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from chalicelib.callers import Caller
from chalicelib.capacity.cluster_state import TaskKind
from chalicelib.clients import Clients
from chalicelib.contract import Callback, Env
from chalicelib.ecs.failures import StopError
from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import parse_task
from chalicelib.ecs.task_definitions import family_of
from chalicelib.environment import Environment
from chalicelib.errors import (
    BusyError,
    ConflictError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    UsherError,
)
from chalicelib.sessions import lifecycle
from chalicelib.sessions.creation import new_session
from chalicelib.sessions.launch_queue import LaunchAgain, StartWaiting, read_message
from chalicelib.sessions.limits import choose, limits_for, lowered_at_end
from chalicelib.sessions.model import HANDED_OUT, Session, State
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.wiring import SessionServices, build_sessions
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.probe import Found
from simulation.meter import Meter
from simulation.models.dynamodb import Partitions, TableModel
from simulation.models.ecs import EcsModel, Host, Task
from simulation.models.functions import Functions, ThrottledError
from simulation.models.latencies import Latencies
from simulation.models.messages import MessagesModel
from simulation.models.scaling import AutoScaling
from simulation.planned_hosts import PlannedHosts
from simulation.records import Visit, Visits
from simulation.shape import APP, Shape
from simulation.virtual_time import VirtualTime

APP_FAMILY = family_of(APP, "sim")
SWEEP_SECONDS = 60
PATIENCE_SECONDS = 120.0
"""So long a visitor tries to get an address."""
CONNECT_SECONDS = 0.15
"""From the address to the open websocket: DNS, TCP, TLS, handshake."""
CALLBACK_TRIES = 8
NEWS_SECONDS = 0.002
"""How soon who waits in the same process learns of a session."""
UNDONE = {State.QUEUED, State.STARTING, State.RESERVED, State.STOPPING}


class NoMetrics:
    """Nothing is measured by the dispatcher itself here."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Nothing."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Nothing."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Nothing."""


class SeededIds:
    """Identifiers from the seed. No two are alike, as each has its number in it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0

    def uuid(self) -> str:
        """An id whose first digits spread, as a UUID's do."""
        self._number += 1
        return f"{self._chance.getrandbits(32):08x}-{self._number}"

    def key(self) -> str:
        """A key; it need not be secret here."""
        return f"key-{self._number}"

    def part(self) -> float:
        """A number from 0 up to 1."""
        return self._chance.random()


@dataclass
class Container:
    """The process of a session: its environment, and whether it still runs."""

    task: Task
    session_id: str
    key: str
    is_over: bool = False
    has_booted: bool = False
    is_connected: bool = False


class Cell:
    """A deployment in virtual time."""

    def __init__(
        self,
        time: VirtualTime,
        shape: Shape,
        *,
        seed: str,
        batch: int = 1,
        latencies: Latencies | None = None,
        shares_process: bool = False,
        planned_hosts: bool = False,
    ) -> None:
        """`shape` is batched already; `batch` is what each simulated session stands for.

        `shares_process`: all functions run in one process, as on a laptop, so who waits for a
        session learns at once that it is there. `planned_hosts`: by the dispatcher's own planner
        instead of ECS managed scaling.
        """
        logging.getLogger("usher").setLevel(logging.CRITICAL)
        self.time, self.shape, self.batch = time, shape, batch
        self.latencies = latencies or Latencies()
        chance = self._chance = random.Random(seed)
        self.meter = Meter(time.now, batch)
        self.ecs = EcsModel(time, self.meter, chance, self.latencies, batch)
        self.functions = Functions(time, self.meter, self.latencies, batch)
        self.scaling = self._scaling(planned_hosts)
        messages = MessagesModel(time, self.meter, self.latencies)
        partitions = Partitions(time, self.meter, chance, self.latencies, batch)
        self.table = TableModel(partitions)
        self.config = shape.config(max(4, 300 // batch))
        self._ids = SeededIds(chance)
        self._shares_process = shares_process
        self.services = self._build(messages)
        self.visits = Visits()
        self._containers: dict[str, Container] = {}
        self._by_port: dict[int | None, Container] = {}
        """By the host port of their tasks; the newest of those with the same one."""
        self._booting = 0
        self._served: dict[str, float] = {}
        self._ended: list[tuple[float, float]] = []
        self.given: set[str] = set()
        """Sessions that visitors got."""
        self.given_twice = 0
        self.ecs.on_event = self._on_task_event
        self.ecs.on_running = self._on_running
        messages.on_message = self._on_message

    def _scaling(self, is_planned: bool) -> AutoScaling:
        shape = self.shape
        arguments = (self.time, self.meter, self._chance, self.ecs)
        settings: dict[str, Any] = {
            "zones": shape.zones,
            "slots": shape.sessions_on_host,
            "minimum": 1,
            "maximum": max(3, round(shape.most_sessions * 1.3 / shape.sessions_on_host)),
        }
        if not is_planned:
            return AutoScaling(*arguments, **settings)
        planned = PlannedHosts(*arguments, **settings, stay_seconds=shape.stay_seconds)
        planned.kind_of, planned.move = self._kind_of, self._move
        return planned

    def _kind_of(self, task: Task) -> TaskKind:
        session = self.table.sessions.get(task.started_by.partition("/")[2])
        return TaskKind.WARM if session and session.state is State.WARM else TaskKind.SESSION

    def _move(self, task_arn: str) -> None:
        """A warm container is to be started elsewhere, if it still has no owner."""
        session_id = self.ecs.tasks[task_arn].started_by.partition("/")[2]
        session = self.table.sessions.get(session_id)
        if session is not None and session.state is State.WARM:
            stop = self.services.service.stop_warm
            self._deliver("host_changed", lambda: stop(session, "its host leaves"))

    def _build(self, messages: MessagesModel) -> SessionServices:
        time = self.time
        launcher = Launcher(self.ecs, self.config.cluster)
        environment = Environment(
            now=time.now,
            sleep=time.sleep,
            probe=self._probe,
            ids=self._ids,
            wait=self._wait,
            beside=time.beside,
            run_each=time.run_each,
        )
        return build_sessions(
            self.config,
            Clients(None, messages, self.ecs, self.ecs, create=lambda _: None),
            environment,
            launcher=launcher,
            revisions=Revisions(launcher, time.now),
            metrics=NoMetrics(),
            table=self.table,
        )

    def _wait(self, event: threading.Event, seconds: float) -> None:
        """Waits for a session: until the next poll, or a transition in this process."""
        until = self.time.now() + seconds
        while self._shares_process and not event.is_set() and self.time.now() < until:
            self.time.sleep(min(NEWS_SECONDS, until - self.time.now()))
        if not self._shares_process:
            self.time.sleep(seconds)

    def begin(self, sessions: int, hosts: int | None = None) -> None:
        """Hosts with so many sessions that are served already, and a sweep each minute."""
        filled = sessions + self.shape.pool_minimum
        needed = 1 + round(filled / self.shape.sessions_on_host / 0.9)
        self.scaling.begin(needed if hosts is None else hosts)
        for number in range(sessions):
            self._add_served(f"early-{number}")
        self.time.spawn(self._sweep)

    def _add_served(self, owner: str) -> None:
        """A session as if its client had come before the beginning."""
        app, now = self.config.apps.by_name[APP], self.time.now()
        limits = limits_for(
            self.config.apps.limits, app=APP, app_maximum=app.max_sessions, owner=owner, now=now
        )
        counters = [
            counter
            for limit in limits
            if (counter := choose(limit, self._chance.random(), frozenset())) is not None
        ]
        session = new_session(
            self._ids,
            app_name=APP,
            owner=owner,
            callback_base_url="https://api",
            task_definition=self.ecs.newest_revision(APP_FAMILY),
            now=now,
            queue_seconds=app.queue_seconds,
        )
        task = self.ecs.add_running(session.started_by, session.task_definition or "")
        session = lifecycle.fold_task(
            replace(session, counters=lowered_at_end(counters)),
            parse_task(task.described()),
            "198.18.0.1",
            app,
            now,
        )
        for callback in (Callback.READY, Callback.CONNECTED):
            folded = lifecycle.fold_callback(session, callback, app, now)
            if isinstance(folded, lifecycle.Refused):
                raise TypeError(folded.why)
            session = folded
        self.table.add(session, counters)
        container = self._add_container(task, session.id, session.key)
        self._served[session.id] = now
        self.time.spawn(
            lambda: self._leave(container), self._chance.expovariate(1 / self.shape.stay_seconds)
        )

    def _leave(self, container: Container) -> bool:
        """The client of a container goes; False where the container had gone before."""
        self._ended.append((self._served.pop(container.session_id), self.time.now()))
        if container.is_over:
            return False
        self._call(container, Callback.DISCONNECTED)
        self._exit(container)
        return True

    @property
    def served(self) -> list[tuple[float, float]]:
        """From when until when each client was there; now, for those who still are."""
        now = self.time.now()
        return [*self._ended, *((start, now) for start in self._served.values())]

    # Visitors.

    def visit(self, owner: str, stay_seconds: float) -> None:
        """One visitor, from the request for a session until it has ended. Blocks."""
        visit = Visit(self.time.now(), owner)
        self.visits.add(visit)
        session = self._get_session(visit)
        if session is None:
            return
        visit.address_at, visit.is_warm = self.time.now(), session.pooled
        self.given_twice += session.id in self.given
        self.given.add(session.id)
        container = self._containers.get(session.id)
        self.time.sleep(CONNECT_SECONDS)
        if container is None or container.is_over or not self._call(container, Callback.CONNECTED):
            visit.outcome = "lost before it connected"
            return
        visit.outcome, visit.session_id = "served", session.id
        self._served[session.id] = self.time.now()
        self.time.sleep(stay_seconds)
        visit.was_cut = not self._leave(container)

    def _get_session(self, visit: Visit) -> Session | None:
        caller = Caller(visit.owner, visit.owner)
        app = self.config.apps.by_name[APP]
        request = DispatchRequest(app, 20.0, None, caller, "https://api")
        service, session = self.services.service, None
        until = visit.arrived_at + PATIENCE_SECONDS
        while self.time.now() < until:
            try:
                with self.functions.request():
                    session = (
                        service.dispatch(request)
                        if session is None
                        else service.get(session.id, caller)
                    )
            except ThrottledError:
                visit.refusals["throttled"] += 1
                self.time.sleep(1 + self._chance.random())
                continue
            except UsherError as refusal:
                visit.refusals[refusal.code] += 1
                session = None
                self.time.sleep((refusal.retry_after_seconds or 1) * (1 + self._chance.random()))
                continue
            if session.state in HANDED_OUT:
                return session
            if not session.is_live:
                visit.refusals[str(session.reason)] += 1
                session = None
            self.time.sleep(1)
        visit.outcome = "gave up"
        return None

    # Containers.

    def _add_container(self, task: Task, session_id: str, key: str) -> Container:
        container = Container(task, session_id, key)
        self._containers[session_id] = self._by_port[task.host_port] = container
        return container

    def _on_running(self, task: Task) -> None:
        environment = task.environment
        session_id = environment[Env.SESSION_ID]
        container = self._add_container(task, session_id, environment[Env.SESSION_KEY])
        self._booting += 1
        share = max(1.0, self._booting / (self.latencies.cores or float("inf")))

        def boot() -> None:
            self._booting -= 1
            container.has_booted = True
            self._call(container, Callback.READY)

        self.time.spawn(boot, self.latencies.boot * share)

    def _call(self, container: Container, callback: Callback) -> bool:
        """A callback of a container, until it is acknowledged; False if it is refused.

        One that is not over repeats `ready` for as long as it takes.
        """
        if callback is not Callback.READY:
            container.is_connected = callback is Callback.CONNECTED
        tries = 0
        while True:
            if container.is_over or (tries >= CALLBACK_TRIES and callback is not Callback.READY):
                return False
            try:
                with self.functions.request():
                    self.services.service.handle_callback(
                        container.session_id, container.key, callback, ""
                    )
            except (ThrottledError, BusyError, UnavailableError):
                self.time.sleep(min(5.0, 2.0 ** min(tries, 3)) * self._chance.random())
                tries += 1
            except (ConflictError, NotFoundError, UnauthorizedError):
                if callback is Callback.READY:
                    self._exit(container)
                return False
            else:
                return True

    def _exit(self, container: Container) -> None:
        container.is_over = True
        self.ecs.end(container.task, exit_code=0)

    def _probe(self, url: str) -> Found:
        """GET /healthz."""
        container = self._by_port.get(urlsplit(url).port)
        if container is None or container.is_over:
            return Found.SILENT
        if not container.has_booted:
            return Found.OVER
        return Found.CONNECTED if container.is_connected else Found.ALONE

    # Events and messages.

    def _on_task_event(self, detail: dict[str, Any]) -> None:
        if detail["lastStatus"] == "STOPPED":
            session_id = detail["startedBy"].partition("/")[2]
            container = self._containers.pop(session_id, None)
            if container is not None:
                container.is_over = True
                if self._by_port.get(container.task.host_port) is container:
                    del self._by_port[container.task.host_port]
        change = parse_task(detail)
        self._deliver("task_changed", lambda: self.services.service.on_task_change(change))

    def _on_message(self, body: str) -> None:
        def handle() -> None:
            match read_message(body):
                case LaunchAgain(session_id, tries):
                    self.services.launches.launch_later(session_id, tries)
                case StartWaiting(group):
                    self.services.launches.start_waiting(group)
                case message:
                    self.services.pools.on_message(message)

        self._deliver("launch_queued", handle)

    def on_host_leaving(self, host: Host) -> None:
        """A host drains, or is gone: what its event makes the dispatcher do."""
        self._deliver("host_changed", lambda: self.services.service.on_host_leaving(host.arn))

    def _deliver(self, function: str, handle: Callable[[], object]) -> None:
        """An event or message: delivered again later where its function fails or is throttled."""

        def deliver() -> None:
            for tries in range(6):
                try:
                    with self.functions.invocation(function):
                        handle()
                        return
                except (ThrottledError, UsherError, ClientError, StopError):
                    self.meter.add("deliveries repeated")
                    self.time.sleep(2.0**tries)
            self.meter.add("deliveries given up")

        self.time.spawn(deliver)

    # The sweep.

    def _sweep(self) -> None:
        """Its repairs of what is on its way, and its look at the pools.

        A whole pass reads every record; warm and active ones, to which nothing is to be done unless
        an event was lost, are left out here.
        """
        while True:
            kind = self.services.kind
            kind.page(0, None)  # remembers the apps
            for session in list(self.table.sessions.values()):
                if session.state in UNDONE:
                    self._repair(session)
            for _, step in kind.closing_steps(None):
                self._attempt(step)
            self.time.sleep(SWEEP_SECONDS)

    def _repair(self, session: Session) -> None:
        task = self.ecs.tasks.get(session.task_arn or "")
        tasks = {task.arn: parse_task(task.described())} if task else {}
        for _, step in self.services.kind.steps(list(self.services.kind.plan(session, tasks))):
            self._attempt(step)

    def _attempt(self, step: Callable[[], object]) -> None:
        try:
            with self.functions.invocation("sweep"):
                step()
        except (ThrottledError, UsherError, ClientError, StopError):
            self.meter.add("steps of the sweep failed")

    # What a scenario does to it.

    def live_sessions(self) -> int:
        """Sessions that have an owner and have not ended."""
        return sum(1 for s in self.table.sessions.values() if s.owner and s.is_live)

    def deploy(self) -> None:
        """A new revision: the pool is replaced behind it."""
        self.ecs.revision += 1

    def with_latencies(self, **changes: float) -> None:
        """From now on some things take longer, or shorter."""
        self.latencies = self.ecs.latencies = replace(self.latencies, **changes)
