"""The laboratory of jobs: all of AWS inside the test, and containers that the test controls.

On the machinery of `tests.integration.lab`: the test moves the clock, any AWS call may fail, the
test delivers events and messages. A container asks for a start permit, runs (which is counted),
reports, and exits, one step at a time; the test decides which answers reach it.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.jobs import EXIT_NOT_RUN, Outcome
from chalicelib.ecs.requests import run_task_for
from chalicelib.ecs.task_changes import parse_task
from chalicelib.errors import ConflictError, NotFoundError, UnauthorizedError, UsherError
from chalicelib.jobs import lifecycle
from chalicelib.jobs.description import parse_description
from chalicelib.jobs.items import from_item
from chalicelib.jobs.launching import task_request_for
from chalicelib.jobs.model import Invocation, Priority, Reason, State
from chalicelib.jobs.queues import WakeUp, read_wake_up
from chalicelib.jobs.table import CAPACITY_KEY
from chalicelib.jobs.task_definitions import job_task_definition
from chalicelib.tasks.hosts_wanted import JOBS, item_id
from chalicelib.wiring import Services
from local.hosts.base import ContainerSpec, Exit
from tests.integration.lab import REGION, Lab, LabHost, backend, items_in, take_all
from tests.unit.local.fakes import FakeHost

PERMIT_SECONDS = 120
"""Seconds for which a container repeats its request for a start permit."""
FINISH_SECONDS = 60
KILLED_CODE = 143
DESCRIPTION = {"name": "report", "cpu": 64, "memory": 64, "timeoutSeconds": 7_200}
NEVER = (ConflictError, NotFoundError, UnauthorizedError)
"""Answers that repeating cannot change."""


class Phase(Enum):
    """The phase of a container's life."""

    ASKING = auto()
    RUNNING = auto()
    REPORTING = auto()


@dataclass
class JobContainer:
    """A container of a job's task, with the requests that `usher.entry` sends."""

    host: "JobHost"
    runtime_id: str
    invocation_id: str
    attempt: int
    key: str
    task_arn: str | None
    process: str = field(default_factory=lambda: uuid.uuid4().hex)
    phase: Phase = Phase.ASKING
    since: float | None = None
    """Time of its first request in this phase, in seconds."""
    ran: bool = False
    outcome: Outcome = Outcome.SUCCEEDED
    exit_code: int | None = None
    """None until it exits, and None for ever where its host was lost."""
    was_acknowledged: bool = False
    """Its report was acknowledged."""
    was_signalled: bool = False
    running: bool = True
    is_silent: bool = False


class JobHost(LabHost):
    """Its containers are `JobContainer`s."""

    def __init__(self, arn_of: Callable[[str], str]) -> None:
        super().__init__()
        self.jobs: list[JobContainer] = []
        self.knows_tasks = True
        """Whether containers have the ARN of their task."""
        self._arn_of = arn_of

    def start(self, spec: ContainerSpec, on_exit: Callable[[Exit], None]) -> str:
        """Start as FakeHost does, and record the container."""
        runtime_id = FakeHost.start(self, spec, on_exit)
        given = spec.environment
        arn = self._arn_of(spec.task_id) if self.knows_tasks else None
        attempt = int(given["INVOCATION_ATTEMPT"])
        self.jobs.append(
            JobContainer(
                self, runtime_id, given["INVOCATION_ID"], attempt, given["INVOCATION_KEY"], arn
            )
        )
        return runtime_id

    def signal(self, runtime_id: str, signal_name: str) -> None:
        for container in self.jobs:
            if container.runtime_id == runtime_id and container.running:
                container.was_signalled = True
        super().signal(runtime_id, signal_name)

    def exit(self, runtime_id: str, ended: Exit) -> None:
        for container in self.jobs:
            if container.runtime_id == runtime_id and container.running:
                container.running = False
                container.exit_code = ended.code
        super().exit(runtime_id, ended)

    def kill(self) -> None:
        for container in self.jobs:
            container.running = False
        super().kill()


class JobLab(Lab):
    """One region of AWS with a job called `report`, made anew by `begin`.

    Its indexes lag only where a test asks for it: many move no time between a write and a look.
    """

    def __init__(self, *, index_lag_seconds: float = 0.0, read_lag_seconds: float = 0.0) -> None:
        super().__init__(index_lag_seconds=index_lag_seconds, read_lag_seconds=read_lag_seconds)

    def begin(
        self,
        *,
        capacity: int = 4,
        kept: int = 1,
        others: tuple[str, ...] = (),
        is_full: bool = False,
    ) -> None:
        """Empty tables, two hosts, no task. `others` are jobs besides.

        `is_full`: tasks go to a capacity provider that has no host until `add_host` brings one.
        """
        self.runs: Counter[str] = Counter()
        """Number of runs of user code, by invocation."""
        self.fresh('[apps.unused]\nimage = "any"\n')
        self.config = replace(self.config, jobs_capacity=capacity, jobs_kept_for_critical=kept)
        self.is_full = is_full
        if is_full:
            self.use_provider()
        self._aside = self.other_process()
        self.deploy_job("report")
        for name in others:
            self.deploy_job(name)
        self.wire.reset(None)

    def deploy_job(self, name: str, **changes: Any) -> str:
        """Register a revision of a job; its ARN."""
        description = parse_description(DESCRIPTION | {"name": name} | changes)
        request = job_task_definition(
            description,
            "any",
            stage=self.config.stage,
            region=REGION,
            log_group=self.config.jobs_log_group,
            launch_type=self.config.jobs_launch_type,
        )
        answer = self.aws.ecs.register_task_definition(**request)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def put(self, state: State) -> str:
        """Put an invocation that is LAUNCHED or STARTED, in fewer steps than the dispatcher's;
        returns its id.
        """
        jobs, now = self._aside.jobs, self.now()
        draft = jobs.invocations.draft(
            job="report", owner="me", parameters=None, callback_base_url="http://d"
        )
        job = jobs.catalog.get("report")
        request = run_task_for(task_request_for(draft, job, self.config), self.config.cluster)
        claimed = lifecycle.claim(
            lifecycle.queue(draft, now),
            task_definition=job.task_definition,
            image="any",
            timeout_seconds=job.description.timeout_seconds,
            request=request,
            attempt_counters=(CAPACITY_KEY,),
            now=now,
        )
        after = lifecycle.fold_launch(claimed, 1, self._aside.launcher.run(request), now)
        self.settle()
        (container,) = self.jobs_of(draft.id)
        if state is State.STARTED:
            granted = lifecycle.give_permit(after, 1, after.task_arn, container.process, now)
            assert isinstance(granted, Invocation)
            after = granted
            container.phase, container.ran = Phase.RUNNING, True
            self.runs[draft.id] += 1
        jobs.table.items.count(CAPACITY_KEY, None, int(now) + 999_999)
        assert jobs.table.put_if_absent(after) is not None
        return draft.id

    def _new_host(self) -> JobHost:
        cluster = self.config.cluster
        return JobHost(lambda task: f"arn:aws:ecs:{REGION}:123456789012:task/{cluster}/{task}")

    @property
    def job_hosts(self) -> list[JobHost]:
        return [host for host in self._hosts if isinstance(host, JobHost)]

    # Events and messages for the dispatcher.

    def deliver(self, services: Services, event: tuple[str, dict[str, Any]]) -> None:
        """Call the services as the handlers of chalicelib/api/tasks.py do; jobs ignore events of
        hosts.
        """
        function, body = event
        if function == "task_changed":
            services.on_task_change(parse_task(body["detail"]))

    def wake_ups(self) -> list[WakeUp]:
        """The messages of all queues of jobs that can be received now. Taken, they are deleted."""
        found: list[WakeUp] = []
        for priority in Priority:
            name = f"usher-local-jobs-{priority}"
            found += [read_wake_up(body) for body in take_all(backend("sqs").queues[name])]
        return found

    def answer_wake_up(self, services: Services, wake_up: WakeUp) -> None:
        """Call the services as the handlers of chalicelib/api/jobs.py do."""
        if wake_up.invocation_id is not None and wake_up.comes_due:
            services.jobs.invocations.came_due(wake_up.invocation_id)
        newcomers = [] if wake_up.invocation_id is None else [wake_up.invocation_id]
        services.jobs.launcher.run(
            newcomers, capacity_freed=wake_up.capacity_freed, ends=int(wake_up.capacity_freed)
        )

    def sweep(self, services: Services) -> dict[str, int]:
        """The sweep of jobs alone."""
        return services.sweep_of(services.jobs.kind).run()

    @contextmanager
    def without(self, host: JobHost) -> Iterator[None]:
        """Drain a host during the block: no task is placed on it."""
        assert self._engine is not None
        name = f"host-{self.job_hosts.index(host)}"
        arns = [instance.arn for instance in self._engine.instances() if instance.name == name]
        self._set_status(arns, "DRAINING")
        yield
        self._set_status(arns, "ACTIVE")

    def forget_tokens(self) -> None:
        """ECS has deleted all its client tokens."""
        assert self._engine is not None
        self._engine._store.tokens.__init__()  # type: ignore[misc]

    # Containers.

    @property
    def jobs(self) -> list[JobContainer]:
        """All containers that there ever were."""
        return [c for host in self.job_hosts for c in list(host.jobs)]

    def jobs_of(self, invocation_id: str) -> list[JobContainer]:
        """The containers that an invocation ever had, the oldest attempt first."""
        found = [c for c in self.jobs if c.invocation_id == invocation_id]
        return sorted(found, key=lambda c: c.attempt)

    def job_of(self, invocation_id: str) -> JobContainer:
        """The running container of an invocation."""
        self.settle()
        (found,) = [c for c in self.jobs_of(invocation_id) if c.running]
        return found

    def ask(self, services: Services, container: JobContainer, *, is_answered: bool = True) -> None:
        """The container asks for a start permit, and runs if it receives one."""
        try:
            services.jobs.invocations.start(
                container.invocation_id,
                container.key,
                container.attempt,
                container.task_arn,
                container.process,
            )
        except NEVER:
            if is_answered:
                self.end_process(container, EXIT_NOT_RUN)
            return
        # the program runs once, also where two of its requests at a time were granted
        if is_answered and container.running and not container.ran:
            container.phase, container.since, container.ran = Phase.RUNNING, None, True
            self.runs[container.invocation_id] += 1

    def end(self, container: JobContainer, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        """Its user code has ended; it has not reported that."""
        container.phase, container.since, container.outcome = Phase.REPORTING, None, outcome

    def report(
        self, services: Services, container: JobContainer, *, is_answered: bool = True
    ) -> None:
        """The container reports how the run ended, and exits when it receives an answer."""
        code = _code_of(container.outcome)
        with suppress(*NEVER):
            services.jobs.invocations.finish(
                container.invocation_id,
                container.key,
                container.process,
                container.outcome,
                exit_code=code,
                detail="",
                result={"rows": 3},
                usage=None,
            )
            container.was_acknowledged = True
        if is_answered:
            self.end_process(container, code)

    def send_next(self, services: Services, container: JobContainer) -> None:
        """The container sends its next request; it exits after too long without an answer."""
        if container.is_silent:
            return
        if container.since is None:
            container.since = self.now()
        waited = self.now() - container.since
        match container.phase:
            case Phase.ASKING if waited > PERMIT_SECONDS:
                self.end_process(container, EXIT_NOT_RUN)
            case Phase.ASKING:
                self.ask(services, container)
            case Phase.REPORTING if waited > FINISH_SECONDS:
                self.end_process(container, _code_of(container.outcome))
            case Phase.REPORTING:
                self.report(services, container)

    def send_all_of_jobs(self, services: Services) -> None:
        """Every running container sends its next request; a failed one is repeated in the next
        call.
        """
        self.settle()
        for container in self.jobs:
            if container.running:
                with failure_is_news():
                    self.send_next(services, container)
        self.settle()

    def end_process(self, container: JobContainer, code: int | None) -> None:
        """The container's program ends."""
        container.host.exit(container.runtime_id, Exit(code))
        self.settle()

    # Looking.

    def job_items(self) -> list[dict[str, Any]]:
        """Returns all items of the table from moto's storage."""
        return items_in(self.config.jobs_table)

    def invocations(self) -> dict[str, Invocation]:
        """All records of invocations, by id."""
        found = [from_item(item) for item in self.job_items() if "#" not in item["id"]["S"]]
        return {invocation.id: invocation for invocation in found}

    def waiting_count(self) -> int:
        """Returns how many tasks of jobs wait for a host, by the dispatcher's count."""
        counts = [i for i in self.job_items() if i["id"]["S"] == item_id(JOBS)]
        return int(counts[0]["n"]["N"]) if counts else 0

    def places_taken(self) -> int:
        """Returns the value of the capacity's counter."""
        counts = [i for i in self.job_items() if i["id"]["S"] == CAPACITY_KEY]
        return int(counts[0]["n"]["N"]) if counts else 0


def _code_of(outcome: Outcome) -> int:
    return {Outcome.SUCCEEDED: 0, Outcome.KILLED: KILLED_CODE}.get(outcome, 3)


@contextmanager
def failure_is_news() -> Iterator[None]:
    """Errors that the outermost frame of a handler would log."""
    with suppress(UsherError, ClientError, BotoCoreError):
        yield


def check_jobs(lab: JobLab) -> None:
    """Check the invariants of jobs, which hold after every step."""
    twice = {one: times for one, times in lab.runs.items() if times > 1}
    assert not twice, f"ran more than once: {twice}"
    invocations = lab.invocations()
    for invocation in invocations.values():
        if lab.runs[invocation.id]:
            assert invocation.permit is not None, f"ran without a permit: {invocation}"
    held = sum(bool(i.attempt_counters) for i in invocations.values())
    assert lab.places_taken() == held, "the count equals those that hold a place"
    assert held <= lab.config.jobs_capacity
    arns = Counter(i.task_arn for i in invocations.values() if i.task_arn)
    assert not [arn for arn, times in arns.items() if times > 1], "one task, one invocation"


def check_end(lab: JobLab, ended: Invocation, *, kill_was_asked: bool) -> None:
    """The record's reason and exit code agree with how the containers ended."""
    assert ended.has_ended, f"stuck: {ended}"
    assert ended.reason is not None
    assert not [c for c in lab.jobs_of(ended.id) if c.running], f"runs on: {ended}"
    ran = [c for c in lab.jobs_of(ended.id) if c.ran]
    if ended.permit is not None:
        _check_exit_code(lab, ended)
    may_be = {Reason.KILLED} if kill_was_asked else set()
    if not ran:
        may_be |= {Reason.EXPIRED, Reason.START_FAILED}
        if ended.permit is not None:  # the answer with its permit was lost
            may_be = may_be | {Reason.FAILED, Reason.LOST}
    elif ran[0].was_acknowledged:
        may_be = {Reason(ran[0].outcome.value)}
    elif ran[0].exit_code is None:
        may_be |= {Reason.LOST}
    elif ran[0].exit_code == 0:
        may_be |= {Reason.SUCCEEDED}
    elif ran[0].was_signalled:
        may_be |= {Reason.TIMED_OUT}
    else:
        may_be |= {Reason.FAILED}
        assert kill_was_asked or ended.exit_code == ran[0].exit_code
    assert ended.reason in may_be, f"{ended.reason} is not true, {may_be} would be: {ended}"


def _check_exit_code(lab: JobLab, ended: Invocation) -> None:
    """The code is that of the container with the start permit; None, for example, without a host.

    A container without an answer may also crash, with any code.
    """
    assert ended.permit is not None
    (permitted,) = [c for c in lab.jobs_of(ended.id) if c.process == ended.permit.process]
    codes = {None, permitted.exit_code}
    if permitted.was_acknowledged:
        codes.add(_code_of(permitted.outcome))  # as it reported, before any other news
    assert ended.exit_code in codes, f"not its exit code: {ended}"
    if ended.exit_code is None:
        assert ended.reason in {Reason.LOST, Reason.KILLED, Reason.TIMED_OUT}


def run_to_their_ends(lab: JobLab, services: Services) -> None:
    """All running containers start, run and end, as far as answers reach them."""
    for _ in range(2):
        lab.send_all_of_jobs(services)
        for container in lab.jobs:
            if container.running and container.phase is Phase.RUNNING:
                lab.end(container)


def check_rest(lab: JobLab, *, kills: set[str]) -> None:
    """Check the state after all runs have ended."""
    check_jobs(lab)
    for invocation in lab.invocations().values():
        check_end(lab, invocation, kill_was_asked=invocation.id in kills)
    assert not lab.running(), "no task is left"
    assert lab.places_taken() == 0
