"""Every AWS call of every operation on jobs fails in every way; user code runs once or never.

The points are made from the calls that an undisturbed run of the operation makes. After each, the
worst is assumed, in two kinds. Silence: the event and the message that were being handled are lost,
and all that follow, so that only containers (which repeat what was not acknowledged) and the sweep
go on. Noise: everything comes twice, and the newest first. In the end every invocation has ended,
for the reason that is true; no task is left, and the count of the capacity is exact.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from chalicelib.contract.jobs import Outcome
from chalicelib.jobs.model import Invocation, Priority, Reason, State, repeated_id
from chalicelib.jobs.queues import WakeUp
from tests.integration.crash_points import (
    CrashPoint,
    act,
    compare,
    few_partitions,
    silent_and_noisy_points,
)
from tests.integration.job_lab import (
    JobContainer,
    JobLab,
    Phase,
    check_jobs,
    check_rest,
    failure_is_news,
)
from tests.integration.wire import Point

MATRIX = "jobs"
INDEX_LAG_SECONDS = 1.0
READ_LAG_SECONDS = 3.0
"""By how much ListTasks and DescribeTasks are behind RunTask."""
PAUSES = (0, 61, 61, 61, 640, 61, 61)
"""Seconds before each sweep: past every deadline there is, but for the job's own."""

HOSTS_AT_FIRST = 2
HOST_COMES_AT = 3
"""Before this sweep a full cluster gets a host."""


PLUGINS = "tests.integration.placement_plugins"


@dataclass
class Story:
    """The records of an operation: an invocation, and a bystander that must stay unaffected."""

    lab: JobLab
    id: str = ""
    answer: Invocation | None = None
    """The invocation that the operation returned, if it did."""
    kills: set[str] = field(default_factory=set)
    """Ids of the invocations that a caller killed."""

    def __post_init__(self) -> None:
        self.services = self.lab.process()
        if self.lab.is_full:
            self.lab.add_host()
        self.bystander = self.lab.put(State.STARTED)
        if self.lab.is_full:  # and the cluster is full with it
            self.lab.drain_host(HOSTS_AT_FIRST)

    @property
    def all(self) -> Any:
        return self.services.jobs.invocations

    def invoke(self, key: str | None = None, **facts: Any) -> Invocation:
        """A caller's POST /jobs/report/invocations."""
        known = None if key is None else repeated_id("me", "report", key)
        draft = self.all.draft(
            job="report",
            owner="me",
            parameters=None,
            callback_base_url="http://dispatcher",
            invocation_id=known,
            **facts,
        )
        accepted = self.all.accept(draft)
        assert isinstance(accepted, Invocation)
        return accepted

    def queued(self, **facts: Any) -> str:
        self.id = self.invoke(**facts).id
        return self.id

    def claimed(self) -> str:
        """An invocation that was claimed; its RunTask was lost."""
        return self._run_task_has("fail_before")

    def unanswered(self) -> str:
        """An invocation whose RunTask was accepted; the reply was lost."""
        return self._run_task_has("lose_reply")

    def _run_task_has(self, fault: str) -> str:
        self.queued()
        self.lab.faults.set({"calls": {"ecs.RunTask": {fault: {}}}})
        self.round()
        self.lab.faults.set({})
        assert self.state() is State.LAUNCHING
        return self.id

    def round(self) -> None:
        """Wake-up messages are delivered, and the index shows waiting invocations."""
        self.lab.indexes_catch_up()
        self.services.jobs.launcher.run()

    def sweep(self) -> None:
        """A minute is over."""
        self.lab.sweep(self.services)

    def launched(self) -> str:
        self.id = self.lab.put(State.LAUNCHED)
        return self.id

    def started(self) -> str:
        self.id = self.lab.put(State.STARTED)
        return self.id

    def job(self) -> JobContainer:
        return self.lab.job_of(self.id)

    def record(self, invocation_id: str = "") -> Invocation:
        return self.lab.invocations()[invocation_id or self.id]

    def state(self) -> State:
        return self.record().state

    def event(self, status: str) -> tuple[str, dict[str, Any]]:
        """Returns the event of its current attempt with this status; all others are dropped."""
        (found,) = [
            event
            for event in self.lab.events()
            if event[1]["detail"].get("startedBy") == self.record().started_by
            and event[1]["detail"]["lastStatus"] == status
        ]
        return found

    def deliver(self, status: str) -> None:
        self.lab.deliver(self.services, self.event(status))

    def kill(self) -> None:
        self.kills.add(self.id)
        self.all.kill(self.id, "somebody asked")

    # After the operation.

    def goes_on(self, *, noise: bool) -> None:
        """Time passes and the sweep runs, until all but the bystander have ended."""
        for number, pause in enumerate(PAUSES):
            self.lab.now.move(pause)
            if self.lab.is_full and number == HOST_COMES_AT:
                self.lab.add_host()
            self.services = self.lab.process()
            self._jobs_go_on()
            self._news(noise=noise)
            if self.is_over():
                return
            if not pause:
                continue
            taken = self.lab.sweep(self.services)
            assert "failed" not in taken, taken
            self._jobs_go_on()
            check_jobs(self.lab)
            if self.is_over():
                return

    def _jobs_go_on(self) -> None:
        """Containers send their requests, and running code ends; twice, so that ends are
        reported.
        """
        for _ in range(2):
            self.lab.send_all_of_jobs(self.services)
            for container in self.lab.jobs:
                ends = container.running and container.phase is Phase.RUNNING
                if ends and container.invocation_id != self.bystander:
                    self.lab.end(container)

    def _news(self, *, noise: bool) -> None:
        events, wake_ups = self.lab.events(), self.lab.wake_ups()
        if not noise:
            return  # the events are lost
        for event in [*reversed(events), *events]:
            with failure_is_news():
                self.lab.deliver(self.services, event)
        for wake_up in [*reversed(wake_ups), *wake_ups]:
            with failure_is_news():
                self.lab.answer_wake_up(self.services, wake_up)
        check_jobs(self.lab)

    def is_over(self) -> bool:
        live = {i.id for i in self.lab.invocations().values() if not i.has_ended}
        return live <= {self.bystander} and len(self.lab.running()) == len(live)

    def ends(self, *, noise: bool) -> None:
        """The bystander was not disturbed, and ends as well."""
        (container,) = self.lab.jobs_of(self.bystander)
        assert self.record(self.bystander).state is State.STARTED
        self.lab.end(container)
        self.lab.report(self.services, container)
        assert self.record(self.bystander).reason is Reason.SUCCEEDED
        if not self.has_ended_all():
            self.goes_on(noise=noise)

    def has_ended_all(self) -> bool:
        return all(i.has_ended for i in self.lab.invocations().values())


@dataclass(frozen=True)
class Operation:
    """Something the dispatcher does; `arrange` is what was before it."""

    name: str
    end: Reason
    """The reason of its end when no call fails."""
    arrange: Callable[[Story], Any]
    act: Callable[[Story], None]
    afterwards: Callable[[Story], None]
    """Extra steps of this operation: after the crash, before the sweeps."""
    may_end: frozenset[Reason]
    """Other possible reasons of its end when a call fails."""
    world: dict[str, Any]


OPERATIONS: list[Operation] = []


def operation(
    arrange: Callable[[Story], Any] = lambda story: None,
    end: Reason = Reason.SUCCEEDED,
    *,
    or_else: tuple[Reason, ...] = (),
    afterwards: Callable[[Story], None] = lambda story: None,
    **world: Any,
) -> Callable[[Callable[[Story], None]], Callable[[Story], None]]:
    """Make an operation of a function."""

    def made(act: Callable[[Story], None]) -> Callable[[Story], None]:
        may_end = frozenset({end, *or_else})
        name = act.__name__
        OPERATIONS.append(Operation(name, end, arrange, act, afterwards, may_end, world))
        return act

    return made


def was_recorded(story: Story) -> None:
    """An invocation that a client received in an answer exists."""
    if story.answer is not None:
        assert story.answer.id in story.lab.invocations()


# Callers.


@operation(afterwards=was_recorded)
def invokes(story: Story) -> None:
    story.answer = story.invoke()


def asks_again_with_the_key(story: Story) -> None:
    story.services = story.lab.process()
    again = {story.invoke("key").id for _ in range(2)}
    if story.answer is not None:
        again.add(story.answer.id)
    assert len(again) == 1
    assert len(story.lab.invocations()) == 2, "the bystander and one more"


@operation(afterwards=asks_again_with_the_key)
def invokes_with_a_key(story: Story) -> None:
    story.answer = story.invoke("key")


@operation(afterwards=was_recorded)
def invokes_for_later(story: Story) -> None:
    story.answer = story.invoke(at=story.lab.now() + 100)


def has_failed(story: Story) -> None:
    story.started()
    container = story.job()
    story.lab.end(container, Outcome.FAILED)
    story.lab.report(story.services, container)


@operation(has_failed, Reason.SUCCEEDED, or_else=(Reason.FAILED,))
def reruns(story: Story) -> None:
    story.answer = story.invoke(rerun_of=story.id)


def asks_for_the_end_again(story: Story) -> None:
    story.services = story.lab.process()
    story.kill()


def to_be_killed(arrange: Callable[[Story], Any], name: str) -> None:
    def act(story: Story) -> None:
        story.kill()

    act.__name__ = f"kills_what_{name}"
    operation(arrange, Reason.KILLED, afterwards=asks_for_the_end_again)(act)


to_be_killed(lambda story: story.queued(at=story.lab.now() + 100), "is_deferred")
to_be_killed(Story.queued, "waits")
to_be_killed(Story.claimed, "is_claimed")
to_be_killed(Story.unanswered, "may_be_launched")
to_be_killed(Story.launched, "is_launched")
to_be_killed(Story.started, "runs")


# Rounds.


def is_due(story: Story) -> None:
    story.queued(at=story.lab.now() + 100)
    story.lab.wake_ups()
    story.lab.now.move(100)


@operation(is_due)
def has_come_due(story: Story) -> None:
    story.lab.answer_wake_up(story.services, WakeUp(story.id, comes_due=True))


def two_wait(story: Story) -> None:
    story.queued()
    story.queued(priority=Priority.CRITICAL)


@operation(two_wait)
def launches_two(story: Story) -> None:
    story.round()


def one_waits_for_the_host_of_a_plugin(story: Story) -> None:
    story.lab.config = replace(story.lab.config, placement_module=PLUGINS)
    story.lab.deploy_job("report", placement={"plugin": "last-host"})
    story.services = story.lab.process()
    story.queued()


@operation(one_waits_for_the_host_of_a_plugin)
def launches_one_where_a_plugin_chooses_the_host(story: Story) -> None:
    story.round()


@operation(Story.queued)
def finds_no_room(story: Story) -> None:
    with story.lab.without_room():
        story.round()


@operation(Story.queued, capacity=2, kept=1)
def finds_no_place(story: Story) -> None:
    story.round()
    assert story.state() is State.QUEUED


def is_too_late(story: Story) -> None:
    story.queued(not_after=story.lab.now() + 50)
    story.lab.now.move(51)


@operation(is_too_late, Reason.EXPIRED)
def launches_nothing_that_is_too_late(story: Story) -> None:
    story.round()


# Containers.


@operation(Story.launched)
def gives_permit(story: Story) -> None:
    story.lab.ask(story.services, story.job())


@operation(Story.unanswered)
def gives_permit_before_the_answer_of_runtask(story: Story) -> None:
    story.lab.ask(story.services, story.job())


def has_no_metadata(story: Story) -> None:
    for host in story.lab.job_hosts:
        host.knows_tasks = False
    story.unanswered()


@operation(has_no_metadata)
def gives_permit_without_a_task(story: Story) -> None:
    story.lab.ask(story.services, story.job())
    assert story.record().task_arn is None


def missed_the_answer(story: Story) -> None:
    story.launched()
    story.lab.ask(story.services, story.job(), is_answered=False)


@operation(missed_the_answer)
def gives_the_same_permit_again(story: Story) -> None:
    story.lab.ask(story.services, story.job())


def exits_without_the_answer(story: Story) -> None:
    """The start permit was given and the container exited: its code does not say if it ran."""
    missed_the_answer(story)
    story.lab.end_process(story.job(), 75)


@operation(exits_without_the_answer, Reason.FAILED)
def handles_an_exit_after_a_missed_permit(story: Story) -> None:
    story.deliver("STOPPED")


@operation(Story.started)
def stores_progress(story: Story) -> None:
    job = story.job()
    story.all.progress(story.id, job.key, job.process, 0.5, "half")


def is_done(story: Story, outcome: Outcome = Outcome.SUCCEEDED) -> None:
    story.started()
    story.lab.end(story.job(), outcome)


@operation(is_done)
def stores_success(story: Story) -> None:
    story.lab.report(story.services, story.job())


@operation(lambda story: is_done(story, Outcome.FAILED), Reason.FAILED)
def stores_failure(story: Story) -> None:
    story.lab.report(story.services, story.job())


def acknowledgement_is_lost(story: Story) -> None:
    is_done(story)
    story.lab.report(story.services, story.job(), is_answered=False)


@operation(acknowledgement_is_lost)
def stores_success_again(story: Story) -> None:
    story.lab.report(story.services, story.job())


def is_killed_without_a_signal(story: Story) -> None:
    """ECS took no StopTask, and the container ended by itself, after another signal."""
    story.started()
    story.lab.faults.set({"calls": {"ecs.StopTask": {"fail_before": {}}}})
    story.kill()
    story.lab.faults.set({})
    story.lab.end(story.job(), Outcome.KILLED)


@operation(is_killed_without_a_signal, Reason.KILLED)
def stores_that_it_was_killed(story: Story) -> None:
    story.lab.report(story.services, story.job())


# Events.


def ends_unknown(story: Story) -> None:
    story.unanswered()
    story.lab.end_process(story.job(), 1)


@operation(ends_unknown)
def handles_the_end_of_an_unknown_task(story: Story) -> None:
    story.deliver("STOPPED")


def exits(story: Story, code: int, *, started: bool) -> None:
    if started:
        story.started()
    else:
        story.launched()
    story.lab.end_process(story.job(), code)


@operation(lambda story: exits(story, 1, started=False))
def handles_a_failed_start(story: Story) -> None:
    story.deliver("STOPPED")


def failed_four_times(story: Story) -> None:
    story.launched()
    for _ in range(4):
        story.lab.end_process(story.job(), 1)
        story.deliver("STOPPED")
        story.lab.now.move(31)
        story.round()
        story.lab.settle()
    story.lab.end_process(story.job(), 1)


@operation(failed_four_times, Reason.START_FAILED)
def handles_the_last_failed_start(story: Story) -> None:
    story.deliver("STOPPED")


@operation(lambda story: exits(story, 137, started=True), Reason.FAILED)
def handles_a_crash(story: Story) -> None:
    story.deliver("STOPPED")


def host_fails(story: Story, *, started: bool) -> None:
    """And not the bystander's."""
    (bystander,) = story.lab.jobs_of(story.bystander)
    with story.lab.without(bystander.host):
        story.id = story.lab.put(State.STARTED if started else State.LAUNCHED)
    story.lab.kill_host(story.lab.job_hosts.index(story.job().host))


def host_fails_before_the_permit(story: Story) -> None:
    host_fails(story, started=False)


@operation(host_fails_before_the_permit)
def handles_a_failed_host_before_the_permit(story: Story) -> None:
    story.deliver("STOPPED")


def host_fails_after_the_permit(story: Story) -> None:
    host_fails(story, started=True)


@operation(host_fails_after_the_permit, Reason.LOST)
def handles_a_failed_host_after_the_permit(story: Story) -> None:
    story.deliver("STOPPED")


def is_killed_and_stopped(story: Story) -> None:
    story.started()
    story.kill()
    story.lab.settle()


@operation(is_killed_and_stopped, Reason.KILLED)
def handles_the_end_of_a_killed_task(story: Story) -> None:
    story.deliver("STOPPED")


# The sweep.


def swept(arrange: Callable[[Story], Any], name: str, *seconds: float, **options: Any) -> None:
    """Seconds after `arrange` at which the sweep, the failing operation, runs."""

    def arranged(story: Story) -> None:
        arrange(story)
        story.lab.now.move(sum(seconds))

    act = partial(Story.sweep)
    act.__name__ = f"sweeps_{name}"  # type: ignore[attr-defined]
    operation(arranged, **options)(act)


def is_not_sent(story: Story) -> None:
    story.lab.faults.set({"calls": {"sqs.SendMessage": {"fail_before": {}}}})
    story.queued()
    story.lab.faults.set({})
    assert story.state() is State.QUEUED


def tokens_have_expired(story: Story) -> None:
    story.unanswered()
    story.lab.forget_tokens()


def token_was_used_otherwise(story: Story) -> None:
    """The same token with other parameters: ECS raises ConflictException with the task's ARN."""
    story.claimed()
    request = dict(story.record().request or {})
    story.lab.aws.ecs.run_task(**request, group="other")
    story.lab.settle()


def expires_unanswered(story: Story) -> None:
    story.queued(not_after=story.lab.now() + 30)
    story.lab.faults.set({"calls": {"ecs.RunTask": {"fail_before": {}}}})
    story.round()
    story.lab.faults.set({})


def never_requests_a_permit(story: Story) -> None:
    story.launched()
    story.job().is_silent = True


def has_an_orphan(story: Story) -> None:
    story.launched()
    request = dict(story.record().request or {}) | {
        "clientToken": "another",
        "startedBy": "job/x/1",
    }
    story.lab.aws.ecs.run_task(**request)
    story.lab.settle()
    for container in story.lab.jobs_of(story.id):
        container.is_silent = container.task_arn != story.record().task_arn


def is_in_disorder(story: Story) -> None:
    """One record of each kind that a sweep repairs."""
    is_not_sent(story)
    exits(story, 0, started=True)
    exits(story, 1, started=False)
    story.claimed()


# A full cluster: tasks wait in ECS's PROVISIONING for a host.


def waits_for_host(story: Story, **facts: Any) -> None:
    story.queued(**facts)
    story.round()
    story.lab.settle()
    assert story.record().waits_for_host
    (task,) = [t for t in story.lab.tasks() if t.started_by == story.record().started_by]
    assert task.instance_arn is None, "the cluster is full"


def host_was_found(story: Story) -> None:
    waits_for_host(story)
    story.lab.add_host()


def ecs_gave_up(story: Story) -> None:
    waits_for_host(story)
    story.lab.now.move(1_300)
    story.lab.tasks()


@operation(lambda story: story.queued(), is_full=True)
def launches_on_a_full_cluster(story: Story) -> None:
    story.round()


@operation(host_was_found, is_full=True)
def gives_permit_on_a_host_that_was_found(story: Story) -> None:
    story.lab.ask(story.services, story.job())
    assert story.lab.waiting_count() == 0


@operation(ecs_gave_up, is_full=True)
def handles_that_no_host_was_found(story: Story) -> None:
    story.deliver("STOPPED")


@operation(waits_for_host, Reason.KILLED, afterwards=asks_for_the_end_again, is_full=True)
def kills_what_waits_for_a_host(story: Story) -> None:
    story.kill()


def waits_too_long_for_host(story: Story) -> None:
    waits_for_host(story, not_after=story.lab.now() + 100)
    story.lab.now.move(101)


swept(waits_too_long_for_host, "what_waits_too_long_for_a_host", end=Reason.EXPIRED, is_full=True)
swept(ecs_gave_up, "what_no_host_was_found_for", 1, is_full=True)
swept(host_was_found, "what_a_host_was_found_for", 1, is_full=True)

swept(is_not_sent, "what_was_not_sent", 16)
swept(is_due, "whose_message_was_lost", 1)
swept(is_too_late, "what_is_too_late", 1, end=Reason.EXPIRED)
swept(Story.claimed, "a_forgotten_claim", 61)
swept(Story.unanswered, "an_unheard_launch", 61)
swept(tokens_have_expired, "a_launch_that_ecs_has_forgotten", 61)
swept(token_was_used_otherwise, "a_launch_whose_token_was_used", 61)
swept(expires_unanswered, "a_claim_that_is_too_late", 61, end=Reason.EXPIRED)
swept(lambda story: exits(story, 0, started=True), "an_unheard_end", 1)
swept(lambda story: exits(story, 1, started=False), "an_unheard_failure", 1)
swept(host_fails_after_the_permit, "after_a_host_that_died", 1, end=Reason.LOST)
swept(is_killed_without_a_signal, "what_did_not_stop", 31, end=Reason.KILLED)
swept(has_an_orphan, "an_orphan", 1)
swept(never_requests_a_permit, "what_never_asks", 601)
swept(is_in_disorder, "disorder", 61, capacity=9)


def run(lab: JobLab, operation: Operation, point: Point | None, *, noise: bool) -> list[str]:
    """Run one operation with one failure, and the steps after it; returns its calls."""
    lab.begin(**operation.world)
    story = Story(lab)
    operation.arrange(story)
    lab.settle()
    story.services = lab.process()
    outcome = act(lab, lambda: operation.act(story), point)
    if not outcome.was_answered:
        story.answer = None
    check_jobs(lab)
    operation.afterwards(story)
    story.goes_on(noise=noise)
    story.ends(noise=noise)
    check_rest(lab, kills=story.kills)
    check_story(story, operation, point)
    return outcome.calls


def check_story(story: Story, operation: Operation, point: Point | None) -> None:
    """Check the result of an operation with one failed call."""
    for invocation in story.lab.invocations().values():
        if invocation.id != story.bystander:
            assert invocation.reason in operation.may_end, f"{invocation.reason}: {invocation}"
    if point is None:
        last = story.answer.id if story.answer else story.id
        assert story.record(last).reason is operation.end


def spares_looks(operation: str) -> bool:
    """The looks of all sweeps are those of the one that finds everything in disorder."""
    return operation.startswith("sweeps_") and operation != "sweeps_disorder"


BY_NAME = {operation.name: operation for operation in OPERATIONS}


def new_lab() -> JobLab:
    """Returns a laboratory whose indexes and ECS lag: new records and tasks may be unknown."""
    return JobLab(index_lag_seconds=INDEX_LAG_SECONDS, read_lag_seconds=READ_LAG_SECONDS)


def calls_of_operations() -> dict[str, list[str]]:
    """Returns the calls of each operation when none fails."""
    lab = new_lab()
    return {name: run(lab, operation, None, noise=False) for name, operation in BY_NAME.items()}


@pytest.fixture(scope="module")
def lab() -> Iterator[JobLab]:
    with few_partitions(), closing(new_lab()) as made:
        yield made


@pytest.mark.parametrize("noise", [False, True], ids=["silence", "noise"])
@pytest.mark.parametrize("name", BY_NAME)
def test_an_undisturbed_operation_makes_the_calls_that_are_crash_points(
    lab: JobLab, name: str, noise: bool
) -> None:
    compare(MATRIX, name, run(lab, BY_NAME[name], None, noise=noise))


@pytest.mark.parametrize(("crash", "noise"), silent_and_noisy_points(MATRIX, spares_looks))
def test_user_code_runs_once_or_never_wherever_it_breaks(
    lab: JobLab, crash: CrashPoint, noise: bool
) -> None:
    calls = run(lab, BY_NAME[crash.operation], crash.point, noise=noise)
    assert calls[crash.number - 1] == crash.call
