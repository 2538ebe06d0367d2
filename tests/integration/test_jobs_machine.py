"""The lifecycle of jobs, with all failures, in any order.

Hypothesis makes up the story: callers that repeat themselves, kill and plan ahead; containers that
crash, stop sending or lose the answer; events and messages that are dropped, late, doubled,
overtaken; replies that are lost, processes that exit in the middle, run concurrently or are frozen
between calls, hosts that are lost or start late, tokens that ECS deletes, deploys, and sweeps at
any time. Indexes and what ECS lists lag behind what was written.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    invariant,
    multiple,
    rule,
)

from chalicelib.contract.jobs import Outcome
from chalicelib.ecs.failures import StopError
from chalicelib.errors import UsherError
from chalicelib.jobs.model import NEXT, Invocation, Priority, State, repeated_id
from chalicelib.wiring import Services
from tests.integration.faulty_machine import FaultyMachine
from tests.integration.job_lab import (
    JobContainer,
    JobLab,
    check_jobs,
    check_rest,
    run_to_their_ends,
)
from tests.integration.job_lab import Phase as Place
from tests.integration.wire import Fate, Point, ProcessDiedError
from tests.machines import machine_settings

CAPACITY, KEPT = 3, 1
PROCESSES = 3
"""Number of processes of one function, each with caches of its own."""
MOST_HOSTS = 5
INDEX_LAG_SECONDS = 1.0
READ_LAG_SECONDS = 3.0
"""By how much ListTasks and DescribeTasks are behind RunTask."""
PAUSES = (0, 61, 61, 61, 640, 61, 61, 61, 61, 61)
ENDINGS = st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED])

pytestmark = pytest.mark.usefixtures("few_partitions")
_lab: list[JobLab] = []
_stories: Counter[str] = Counter()


def after(state: State) -> set[State]:
    """The state, and all that it may lead to."""
    found, more = {state}, {state}
    while more := {to for one in more for to in NEXT[one]} - found:
        found |= more
    return found


FENCED = {State.STARTED, State.KILL_INITIATED, State.FINISHED}


def the_lab() -> JobLab:
    """One laboratory for all stories: making clients takes longer than a story."""
    if not _lab:
        lagging = {"index_lag_seconds": INDEX_LAG_SECONDS, "read_lag_seconds": READ_LAG_SECONDS}
        _lab.append(JobLab(**lagging))
    return _lab[0]


class Lifecycle(FaultyMachine):
    """One story."""

    told = Bundle("told")
    """Ids of invocations that a client received in an answer."""

    @initialize(knows_tasks=st.booleans(), is_full=st.booleans())
    def begin(self, knows_tasks: bool, is_full: bool) -> None:
        """`is_full`: tasks wait at ECS until a capacity provider has brought a host."""
        self.lab = the_lab()
        self.lab.begin(capacity=CAPACITY, kept=KEPT, is_full=is_full)
        self.knows_tasks = knows_tasks
        for host in self.lab.job_hosts:
            host.knows_tasks = knows_tasks
        self.processes = [self.lab.process() for _ in range(PROCESSES)]
        self.serving = 0
        """Number of the process that answers; the others are frozen with their caches."""
        self.seen: dict[str, Invocation] = {}
        self.promised: set[str] = set()
        self.kills: set[str] = set()
        self.hosts = [] if is_full else [0, 1]
        """Hosts that accept tasks."""
        self.point: Point | None = None
        """The next failure."""
        self.between: tuple[int, Callable[[], None]] | None = None
        """The next action of another process between two calls."""
        _stories["stories"] += 1

    def attempt(self, act: Callable[[], Any]) -> Any:
        """Run an operation, in which a call may fail or the process exit; then another one goes
        on.
        """
        _stories["steps"] += 1
        self.lab.wire.reset(self.point)
        self.lab.wire.meanwhile = self.between
        try:
            return act()
        except (UsherError, ClientError, BotoCoreError, StopError):
            _stories["failed"] += 1
        except ProcessDiedError:
            _stories["died"] += 1
        finally:
            if self.lab.wire.struck:
                _stories[str(self.point and self.point.fate.name)] += 1
                self.point = None
            if self.lab.wire.meanwhile is None:
                self.between = None
            if self.lab.wire.dead:
                self.processes[self.serving] = self.lab.process()
            self.lab.wire.reset(None)
        return None

    @property
    def services(self) -> Services:
        return self.processes[self.serving]

    # Callers.

    @rule(
        target=told,
        key=st.sampled_from([None, "k1", "k2"]),
        priority=st.sampled_from(Priority),
        later=st.sampled_from([0, 0, 100]),
        patience=st.sampled_from([None, None, 200]),
    )
    def requests(
        self, key: str | None, priority: Priority, later: int, patience: int | None
    ) -> Any:
        now = self.lab.now()

        def ask() -> Invocation:
            invocations = self.services.jobs.invocations
            draft = invocations.draft(
                job="report",
                owner="me",
                parameters=None,
                callback_base_url="http://dispatcher",
                invocation_id=key and repeated_id("me", "report", key),
                priority=priority,
                at=now + later if later else None,
                not_after=patience and now + later + patience,
            )
            return invocations.accept(draft)

        found = self.attempt(ask)
        if found is None:
            return multiple()
        self.promised.add(found.id)
        return found.id

    @rule(target=told, speaks=st.sampled_from([0, 1, 1]))
    def has_one_launched(self, speaks: int) -> Any:
        """The usual course: requested, launched, and the container sends its first requests."""
        found = self.requests(None, Priority.NORMAL, 0, None)
        self.wake_ups_arrive(1)
        if speaks:
            self.containers_speak(set(range(9)))
        return found

    @rule(invocation_id=told)
    def asks_for_the_end(self, invocation_id: str) -> None:
        self.kills.add(invocation_id)
        self.attempt(lambda: self.services.jobs.invocations.kill(invocation_id, "its owner asked"))

    # Containers and hosts.

    @rule(numbers=st.sets(st.integers(0, 4)))
    def containers_speak(self, numbers: set[int]) -> None:
        for number, container in enumerate(self.running()):
            if number in numbers:
                self.attempt(lambda c=container: self.lab.send_next(self.services, c))

    @rule(outcome=ENDINGS)
    def all_go_on(self, outcome: Outcome) -> None:
        """The usual course: requested, run, ended."""
        self.containers_speak(set(range(9)))
        for container in self.running():
            if container.phase is Place.RUNNING:
                self.lab.end(container, outcome)
        self.containers_speak(set(range(9)))

    @rule(number=st.integers(0, 4))
    def an_answer_is_lost(self, number: int) -> None:
        for container in self.running()[number : number + 1]:
            if container.phase is Place.ASKING:
                self.attempt(lambda c=container: self.lab.ask(self.services, c, is_answered=False))
            if container.phase is Place.REPORTING:
                self.attempt(
                    lambda c=container: self.lab.report(self.services, c, is_answered=False)
                )

    @rule(number=st.integers(0, 4), outcome=ENDINGS)
    def user_code_ends(self, number: int, outcome: Outcome) -> None:
        for container in self.running()[number : number + 1]:
            if container.phase is Place.RUNNING:
                self.lab.end(container, outcome)

    @rule(number=st.integers(0, 4), code=st.sampled_from([0, 1, 75, 137]))
    def a_container_ends(self, number: int, code: int) -> None:
        """Without a report."""
        for container in self.running()[number : number + 1]:
            if container.phase is Place.RUNNING or code:
                self.lab.end_process(container, code)

    @rule()
    def a_host_dies(self) -> None:
        """One host remains where none is added."""
        if len(self.hosts) >= (1 if self.lab.is_full else 2):
            self.lab.kill_host(self.hosts.pop(0))

    @rule()
    def a_host_comes(self) -> None:
        if self.lab.is_full and len(self.lab.job_hosts) < MOST_HOSTS:
            self._add_host()

    def _add_host(self) -> None:
        self.hosts.append(len(self.lab.job_hosts))
        self.lab.add_host()
        self.lab.job_hosts[-1].knows_tasks = self.knows_tasks

    # News, time, repair.

    @rule(number=st.integers(0, PROCESSES - 1), is_new=st.booleans())
    def another_process_answers(self, number: int, is_new: bool) -> None:
        """The process has its caches from before the freeze, or is new and has none."""
        self.serving = number
        if is_new:
            self.processes[number] = self.lab.process()

    @rule(times=st.sampled_from([1, 1, 2]))
    def events_arrive(self, times: int) -> None:
        for event in self.lab.events() * times:
            self.attempt(lambda e=event: self.lab.deliver(self.services, e))

    @rule(times=st.sampled_from([0, 1, 1, 2]))
    def wake_ups_arrive(self, times: int) -> None:
        for wake_up in self.lab.wake_ups() * times:
            self.attempt(lambda k=wake_up: self.lab.answer_wake_up(self.services, k))

    @rule(seconds=st.sampled_from([1, 12, 35, 61, 130, 700]))
    def time_passes(self, seconds: int) -> None:
        self.lab.now.move(seconds)

    @rule()
    def sweeps(self) -> None:
        self.attempt(lambda: self.lab.sweep(self.services))

    @rule()
    def deploys(self) -> None:
        self.lab.deploy_job("report", summary=str(self.lab.now()))

    @rule()
    def ecs_forgets_all_tokens(self) -> None:
        self.lab.forget_tokens()

    # Failures.

    @rule(number=st.integers(1, 12), fate=st.sampled_from(Fate))
    def a_call_meets_its_fate(self, number: int, fate: Fate) -> None:
        """Inject a fate into the call of this number, in the next operation with that many
        calls.
        """
        self.point = Point(number, fate)

    @rule(
        number=st.integers(1, 12),
        what=st.sampled_from(["round", "sweep", "speak", "kill"]),
        which=st.integers(0, 4),
    )
    def another_process_comes_between(self, number: int, what: str, which: int) -> None:
        """Run another process just before the call of this number, in the next operation with that
        many calls.
        """

        def happens() -> None:
            other = self.lab.other_process()
            _stories[f"meanwhile {what}"] += 1
            match what:
                case "round":
                    other.jobs.launcher.run()
                case "sweep":
                    self.lab.sweep(other)
                case "kill":
                    self._kill_one(other, which)
                case "speak":
                    for container in self.running()[which : which + 1]:
                        self.lab.send_next(other, container)

        self.between = (number, happens)

    def _kill_one(self, other: Services, which: int) -> None:
        for invocation_id in sorted(self.promised)[which : which + 1]:
            self.kills.add(invocation_id)
            other.jobs.invocations.kill(invocation_id, "somebody asked")

    # Invariants.

    @invariant()
    def nothing_runs_twice_or_is_miscounted(self) -> None:
        if not hasattr(self, "lab"):
            return
        check_jobs(self.lab)
        invocations = self.lab.invocations()
        assert self.promised <= set(invocations), "what a caller was told of is there"
        for now in invocations.values():
            before = self.seen.get(now.id, now)
            assert now.state in after(before.state), f"{before.state} leads not to {now.state}"
            if before.permit is not None:
                assert now.permit == before.permit
                assert now.state in FENCED
                assert now.attempt == before.attempt
            self.seen[now.id] = now

    def teardown(self) -> None:
        if not hasattr(self, "lab"):
            return
        self.lab.faults.set({})
        self.point = self.between = None
        self.processes = [self.lab.process()]
        self.serving = 0
        if self.lab.is_full:
            self._add_host()
        for pause in PAUSES:
            self._only_sweeps(pause)
        # By now nothing is left of what went wrong: every sweep serves one of those that wait.
        waiting = len([i for i in self.lab.invocations().values() if not i.has_ended])
        _stories["more sweeps"] += waiting
        for _ in range(waiting):
            self._only_sweeps(61)
        check_rest(self.lab, kills=self.kills)
        for invocation in self.lab.invocations().values():
            _stories[f"ran {self.lab.runs[invocation.id]}"] += 1
            _stories[str(invocation.reason)] += 1
            _stories["requeued"] += invocation.attempt > 1

    def _only_sweeps(self, seconds: float) -> None:
        """Time passes, containers do as they should, and no event or message arrives."""
        self.lab.now.move(seconds)
        self.lab.events()
        self.lab.wake_ups()
        run_to_their_ends(self.lab, self.services)
        assert "failed" not in self.lab.sweep(self.services)
        self.nothing_runs_twice_or_is_miscounted()

    # Looking.

    def running(self) -> list[JobContainer]:
        self.lab.settle()
        return [container for container in self.lab.jobs if container.running]


Lifecycle.TestCase.settings = machine_settings(examples=30, steps=50)


class TestJobs(Lifecycle.TestCase):  # type: ignore[misc]
    """The stories that Hypothesis generates."""

    @classmethod
    def tearDownClass(cls) -> None:
        print(f"jobs: {dict(_stories)}")
        while _lab:
            _lab.pop().close()
