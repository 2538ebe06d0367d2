"""Capacity groups: sessions and jobs of three groups compete for one cluster.

The whole dispatcher runs (`chalicelib.wiring`), with its tables on a model of DynamoDB: claims of
sessions and of jobs, the launcher's rounds, the ledger of the groups, turns of owners. One owner
queues thousands of runs, then another asks for a single one. Each second the stored counts are
compared with the guarantees. Left out: host scaling, limits of Lambda, the sweep.
"""

import logging
import random
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.apps import parse_apps
from chalicelib.callers import Caller
from chalicelib.capacity import counting
from chalicelib.capacity.groups import Amount, parse_groups
from chalicelib.clients import Clients
from chalicelib.config import Config, load_config
from chalicelib.contract import Callback
from chalicelib.contract.jobs import Outcome
from chalicelib.dynamodb.serialization import serialize
from chalicelib.ecs.task_changes import parse_task
from chalicelib.environment import Environment
from chalicelib.errors import UsherError
from chalicelib.jobs.description import parse_description
from chalicelib.jobs.queues import read_wake_up
from chalicelib.jobs.task_definitions import job_task_definition
from chalicelib.sessions.launch_queue import LaunchAgain, StartWaiting, read_message
from chalicelib.sessions.model import HANDED_OUT
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.wiring import Services, build
from simulation.cell import SeededIds
from simulation.meter import Meter, percentile
from simulation.models.ecs import EcsModel, Task
from simulation.models.latencies import Latencies
from simulation.models.messages import MessagesModel
from simulation.models.plain_dynamodb import PlainDynamoDB
from simulation.report import pairs, sparkline, times
from simulation.virtual_time import VirtualTime

NAME = "groups"
LINE = "three capacity groups: 200 sessions and 2,000 jobs compete for 100 places"
SESSIONS = 200
JOBS_PER_SESSION = 10
SECONDS = 1_800
ARRIVAL_SECONDS = 600.0
"""Visitors and reports arrive within this time."""
STAY_SECONDS, RUN_SECONDS = 120.0, 20.0
"""Of sessions and of jobs, on average."""
SINGLE_AT = 120.0
"""When the owner of one run asks for it."""
PATIENCE_SECONDS = 900.0
MANY, ONE = "owner-of-many", "owner-of-one"
REPORTS_SHARE = 0.25
"""Of all jobs; the others are the bulk of one owner."""
TRIES = 6
PLOT_SECONDS = 15
PARTS_OF_TIME = 100
SETTLING_SECONDS = 10.0
"""After the last end: its event is still to come."""
MOST_SESSIONS = 2_000

GROUPS = """
default = "batch"
[cluster]
places = PLACES
[groups.live]
tier = "critical"
guarantee = { places = LIVE }
[groups.reports]
guarantee = { places = REPORTS }
weight = 2
[groups.batch]
guarantee = { places = BATCH }
"""
SESSIONS_OF_A_PLACE = 2
LEAST_PLACES = 10
PARTS = {"PLACES": 1.0, "LIVE": 0.4, "REPORTS": 0.2, "BATCH": 0.1}
"""Of all places."""
APPS = """
[apps.chat]
image = "any"
cpu = 16
memory = 16
group = "live"
queue_seconds = 900
"""
JOBS = {"report": "reports", "crunch": "batch"}


class Ecs(EcsModel):
    """With definitions of jobs, which the dispatcher reads."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._definitions: dict[str, dict[str, Any]] = {}

    def register(self, request: Mapping[str, Any]) -> None:
        """A job is deployed."""
        arn = self.newest_revision(request["family"])
        definition = {**request, "taskDefinitionArn": arn, "revision": 1, "status": "ACTIVE"}
        self._definitions[request["family"]] = self._definitions[arn] = definition

    def describe_task_definition(self, taskDefinition: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        answer = super().describe_task_definition(taskDefinition)
        known = self._definitions.get(taskDefinition)
        return answer if known is None else {"taskDefinition": known}


@dataclass
class Second:
    """The stored counts of one second."""

    taken: dict[str, int]
    waits: set[str]
    """Groups in which a wait is recorded."""


@dataclass
class GroupsWorld:
    """The deployment, who asks of it, and what it did."""

    sessions: int
    seed: int
    time: VirtualTime = field(default_factory=VirtualTime)
    seconds: list[Second] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Guarantees that were not kept, with the second."""
    waited: list[float] = field(default_factory=list)
    """How long each visitor waited for an address."""
    runs: Counter[str] = field(default_factory=Counter)
    over: int = 0
    """Runs and visits that have ended."""
    gave_up: int = 0
    repeated: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        logging.getLogger("usher").setLevel(logging.CRITICAL)
        chance = self._chance = random.Random(f"{self.seed}/groups")
        latencies = self._latencies = Latencies()
        self.meter = Meter(self.time.now, 1)
        self.config = _config(self.sessions)
        self.groups = parse_groups(self.config.capacity)
        self.ecs = Ecs(self.time, self.meter, chance, latencies, 1)
        self.ecs.add_host("us-east-1a", self.groups.cluster.places or 0)
        self.database = PlainDynamoDB(self.time, self.meter, latencies)
        messages = MessagesModel(self.time, self.meter, latencies)
        messages.on_message_of = self._on_message
        self.services = self._build(messages)
        for name, group in JOBS.items():
            self.ecs.register(_definition(name, group, self.config))
        self.ecs.on_event = self._on_event
        self.ecs.on_running = self._on_running
        self._tasks: dict[str, Task] = {}

    def _build(self, messages: MessagesModel) -> Services:
        time = self.time
        environment = Environment(
            now=time.now,
            sleep=time.sleep,
            ids=SeededIds(self._chance),
            wait=lambda _event, seconds: time.sleep(seconds),
            beside=time.beside,
            run_each=time.run_each,
        )
        clients = Clients(self.database, messages, self.ecs, self.ecs, create=lambda _: None)
        return build(self.config, clients, environment)

    def run(self, progress: Callable[[float], None] = lambda _: None) -> None:
        """Let all arrive, run and end."""
        time, chance = self.time, self._chance
        jobs = self.sessions * JOBS_PER_SESSION
        reports = round(jobs * REPORTS_SHARE)
        for number in range(jobs - reports):  # in the order of their requests
            time.spawn(lambda: self._ask("crunch", MANY), number * 0.02)
        time.spawn(lambda: self._ask("crunch", ONE), SINGLE_AT)
        for number in range(reports):
            owner = f"analyst-{number % 20}"
            time.spawn(
                lambda owner=owner: self._ask("report", owner),  # type: ignore[misc]
                chance.random() * ARRIVAL_SECONDS,
            )
        for number in range(self.sessions):
            owner, stay = f"visitor-{number}", chance.expovariate(1 / STAY_SECONDS)
            time.spawn(
                lambda owner=owner, stay=stay: self._visit(owner, stay),  # type: ignore[misc]
                chance.random() * ARRIVAL_SECONDS,
            )
        time.spawn(self._watch)
        for part in range(PARTS_OF_TIME):
            time.run(SECONDS / PARTS_OF_TIME)
            progress((part + 1) / PARTS_OF_TIME)
            if self.over == jobs + 1 + self.sessions:
                time.run(SETTLING_SECONDS)
                return

    # Who asks.

    def _ask(self, job: str, owner: str) -> None:
        invocations = self.services.jobs.invocations
        caller = Caller(owner, owner, is_operator=True)

        def ask() -> None:
            draft = invocations.draft(
                job=job, owner=owner, parameters=None, callback_base_url="https://api"
            )
            invocations.accept(draft, by=caller)

        self._attempt(ask)

    def _visit(self, owner: str, stay_seconds: float) -> None:
        app = self.config.apps.by_name["chat"]
        caller = Caller(owner, owner)
        request = DispatchRequest(app, 20.0, None, caller, "https://api")
        service, began, session = self.services.sessions.service, self.time.elapsed, None
        while self.time.elapsed < began + PATIENCE_SECONDS:
            try:
                session = (
                    service.dispatch(request)
                    if session is None
                    else service.get(session.id, caller)
                )
            except UsherError as refusal:
                self.time.sleep(refusal.retry_after_seconds or 1)
                continue
            if session.state in HANDED_OUT:
                self.waited.append(self.time.elapsed - began)
                self._call(session.id, session.key, Callback.CONNECTED)
                self.time.sleep(stay_seconds)
                self._call(session.id, session.key, Callback.DISCONNECTED)
                self.ecs.end(self._tasks[session.id], exit_code=0)
                self.over += 1
                return
            self.time.sleep(1)
        self.gave_up += 1
        self.over += 1

    # Containers.

    def _on_running(self, task: Task) -> None:
        given = task.environment
        if "INVOCATION_ID" in given:
            self.time.spawn(lambda: self._job(task), self._latencies.boot)
            return
        self._tasks[given["SESSION_ID"]] = task
        self.time.spawn(
            lambda: self._call(given["SESSION_ID"], given["SESSION_KEY"], Callback.READY),
            self._latencies.boot,
        )

    def _job(self, task: Task) -> None:
        given, invocations = task.environment, self.services.jobs.invocations
        invocation_id, key = given["INVOCATION_ID"], given["INVOCATION_KEY"]
        process = f"process-{task.arn}"
        attempt = int(given["INVOCATION_ATTEMPT"])
        self._attempt(lambda: invocations.start(invocation_id, key, attempt, task.arn, process))
        self.runs[invocation_id] += 1
        self.time.sleep(self._chance.expovariate(1 / RUN_SECONDS))
        self._attempt(
            lambda: invocations.finish(
                invocation_id,
                key,
                process,
                Outcome.SUCCEEDED,
                exit_code=0,
                detail="",
                result=None,
                usage=None,
            )
        )
        self.ecs.end(task, exit_code=0)
        self.over += 1

    def _call(self, session_id: str, key: str, callback: Callback) -> None:
        service = self.services.sessions.service
        self._attempt(lambda: service.handle_callback(session_id, key, callback, ""))

    # Events and messages.

    def _on_event(self, detail: dict[str, Any]) -> None:
        change = parse_task(detail)
        self.time.spawn(lambda: self._attempt(lambda: self.services.on_task_change(change)))

    def _on_message(self, queue: str, body: str) -> None:
        is_launch = queue == self.config.launches_queue
        take = self._take_launch if is_launch else self._take_wake_up
        self.time.spawn(lambda: self._attempt(lambda: take(body)))

    def _take_launch(self, body: str) -> None:
        sessions = self.services.sessions
        match read_message(body):
            case LaunchAgain(session_id, tries):
                sessions.launches.launch_later(session_id, tries)
            case StartWaiting(group):
                sessions.launches.start_waiting(group)
            case message:
                sessions.pools.on_message(message)

    def _take_wake_up(self, body: str) -> None:
        wake_up = read_wake_up(body)
        newcomers = [] if wake_up.invocation_id is None else [wake_up.invocation_id]
        self.services.jobs.launcher.run(
            newcomers, capacity_freed=wake_up.capacity_freed, ends=int(wake_up.capacity_freed)
        )

    def _attempt(self, call: Callable[[], object]) -> None:
        """A request, event or message, which is repeated while the dispatcher is busy."""
        for tries in range(TRIES):
            try:
                call()
            except (UsherError, ClientError):
                self.repeated += 1
                self.time.sleep(2.0**tries)
            else:
                return
        self.failed += 1

    # What is watched.

    def _watch(self) -> None:
        while True:
            self.time.sleep(1.0)
            self._look()

    def _look(self) -> None:
        item = self.database.tables.get(self.config.sessions_table, {}).get(counting.ITEM)
        found = counting.read_standings(
            None if item is None else serialize(item), self.groups, self.time.now()
        )
        total = sum((standing.taken for standing in found.values()), Amount())
        at = f"second {len(self.seconds) + 1}"
        if not total.fits_in(self.groups.cluster, self.groups.resources):
            self.broken.append(f"{at}: {total.places} places are taken")
        for group in self.groups.by_name.values():
            free = self.groups.cluster - (total - found[group.name].taken)
            if not group.lend and not group.guarantee.fits_in(free, self.groups.resources):
                self.broken.append(f"{at}: {group.name} has {free.places} of its guarantee")
        second = Second(
            {name: standing.taken.places for name, standing in found.items()},
            {name for name, standing in found.items() if standing.waits is not None},
        )
        if self.seconds:
            self._check_borrowing(self.seconds[-1], second, at)
        self.seconds.append(second)

    def _check_borrowing(self, before: Second, second: Second, at: str) -> None:
        """No group borrows a place in a second in which another waits for one of its guarantee."""
        owed = {
            name
            for name in before.waits & second.waits
            if max(second.taken[name], before.taken[name]) < self._guarantee(name)
        }
        for name, places in second.taken.items():
            grows = places > max(before.taken[name], self._guarantee(name))
            if grows and owed - {name}:
                self.broken.append(f"{at}: {name} borrows, {', '.join(sorted(owed))} waits")

    def _guarantee(self, name: str) -> int:
        return self.groups.of(name).guarantee.places

    def claims(self) -> list[tuple[str, str, float, float]]:
        """Of each run that was launched: its job and owner, when it was asked for and launched."""
        return [
            (item["job"], item["owner"], float(item["created_at"]), float(item["claimed_at"]))
            for item in self.database.tables[self.config.jobs_table].values()
            if "claimed_at" in item
        ]

    def starts_before_the_single_run(self) -> int | None:
        """How many runs of the owner of many were launched between the request of the owner of one
        and its launch; None where it was not launched.
        """
        claims = self.claims()
        single = [(asked, at) for _, owner, asked, at in claims if owner == ONE]
        if not single:
            return None
        asked, launched = single[0]
        return sum(asked < at < launched for _, owner, _, at in claims if owner == MANY)

    def uncounted(self) -> int:
        """Places that are counted and not taken at the end, or the other way round."""
        running = sum(task.last_status != "STOPPED" for task in self.ecs.tasks.values())
        return sum(self.seconds[-1].taken.values()) - running


def run(
    *, sessions: int, seed: int, progress: Callable[[float], None] = lambda _: None
) -> dict[str, Any]:
    """The scenario; all its figures."""
    world = GroupsWorld(sessions, seed)
    try:
        world.run(progress)
        return _document(world)
    finally:
        world.time.close()


def _document(world: GroupsWorld) -> dict[str, Any]:
    claims = world.claims()
    runs = {
        job: [at - asked for name, _, asked, at in claims if name == job] for job in sorted(JOBS)
    }
    waiting = {"sessions": world.waited, **runs}
    return {
        "scenario": NAME,
        "seed": world.seed,
        "sessions": world.sessions,
        "jobs": len(claims),
        "places": world.groups.cluster.places,
        "broken": world.broken,
        "ranTwice": sum(count > 1 for count in world.runs.values()),
        "neverRan": world.sessions * JOBS_PER_SESSION + 1 - len(world.runs),
        "gaveUp": world.gave_up,
        "requestsRepeated": world.repeated,
        "requestsFailed": world.failed,
        "uncountedPlaces": world.uncounted(),
        "startsBeforeTheSingleRun": world.starts_before_the_single_run(),
        "waiting": {
            name: {f"p{p}": percentile(found, p / 100) for p in (50, 90, 99)}
            for name, found in waiting.items()
        },
        "groups": {
            name: {
                "guarantee": group.guarantee.places,
                "most": max(second.taken[name] for second in world.seconds),
                "mean": round(
                    sum(second.taken[name] for second in world.seconds) / len(world.seconds), 1
                ),
            }
            for name, group in world.groups.by_name.items()
        },
        "callsOfDynamoDB": round(
            sum(world.meter.totals[name] for name in ("reads", "queries", "writes", "transactions"))
        ),
        "conflictsOfTransactions": round(world.meter.totals["conflicts of transactions"]),
        "series": {
            name: [second.taken[name] for second in world.seconds[::PLOT_SECONDS]]
            for name in world.groups.by_name
        },
    }


def text_of(document: Mapping[str, Any]) -> str:
    """The table and the plots for people."""
    before = document["startsBeforeTheSingleRun"]
    rows = {
        "runs": f"{document['jobs']:,}, {document['ranTwice']} ran twice, "
        f"{document['neverRan']} never",
        "sessions that gave up": f"{document['gaveUp']}",
        "guarantees": "kept in every second"
        if not document["broken"]
        else f"broken in {len(document['broken'])} seconds: {document['broken'][0]}",
        "single run behind the bulk": "did not start"
        if before is None
        else f"start number {before + 1} after its request",
        "counted and not taken at the end": f"{document['uncountedPlaces']} places",
        "requests repeated, failed": f"{document['requestsRepeated']}, "
        f"{document['requestsFailed']}",
        "calls of DynamoDB": f"{document['callsOfDynamoDB']:,}, of these "
        f"{document['conflictsOfTransactions']:,} conflicts",
        **{
            f"waiting of {name} p50 / p90 / p99": times(found)
            for name, found in document["waiting"].items()
        },
    }
    groups = [
        f"{name:8}  {group['guarantee']:>9}  {group['mean']:>6}  {group['most']:>4}  "
        f"{sparkline(document['series'][name])}"
        for name, group in document["groups"].items()
    ]
    return "\n".join(
        [
            f"{NAME}: {document['sessions']:,} sessions and {document['jobs']:,} jobs on "
            f"{document['places']} places, seed {document['seed']}",
            "",
            *pairs(rows),
            "",
            "group     guarantee    mean  most  places taken",
            *groups,
        ]
    )


def _config(sessions: int) -> Config:
    places = max(LEAST_PLACES, sessions // SESSIONS_OF_A_PLACE)
    text = GROUPS
    for name, part in PARTS.items():
        text = text.replace(name, str(round(places * part)))
    known = load_config(
        {"STAGE": "sim", "AWS_REGION": "us-east-1", "CALLBACK_BASE_URL": "https://api"}
    )
    return replace(
        known,
        apps=parse_apps(tomllib.loads(APPS)),
        capacity=tomllib.loads(text),
        jobs_capacity=0,
        jobs_running_per_owner=0,
        metrics_here=True,  # nothing is printed
    )


def _definition(name: str, group: str, config: Config) -> dict[str, Any]:
    described = {"name": name, "cpu": 16, "memory": 16, "timeoutSeconds": 7_200, "group": group}
    return job_task_definition(
        parse_description(described),
        "any",
        stage=config.stage,
        region=config.region,
        log_group=config.jobs_log_group,
        launch_type=config.jobs_launch_type,
    )
