"""Every AWS call of every operation fails in every way; then the sweep repairs the state.

The points are made from the calls that an undisturbed run of the operation makes. After each, the
worst is assumed: the event and the message that were being handled are lost, and all that follow.
Containers repeat what was not acknowledged, clients with an Idempotency-Key ask again, and for the
rest there is the sweep. Then no task runs without an owner, no connected client has lost its
session, and the counters are exact.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chalicelib.contract import Bye
from chalicelib.sessions.launch_queue import ReconcilePool
from chalicelib.sessions.model import Reason, Session, State
from tests.integration.crash_points import (
    CrashPoint,
    act,
    chosen,
    compare,
    distinct,
    few_partitions,
    recorded,
)
from tests.integration.lab import (
    Lab,
    check_at_rest,
    check_invariants,
)
from tests.integration.wire import Fate, Point

MATRIX = "sessions"
LIMITS = "[limits]\ntotal = 4\nper_owner = 1\n"
COLD = LIMITS + '[apps.chat]\nimage = "any"\nmax_sessions = 3\nqueue_seconds = 200\n'
CHOSEN = COLD + '[apps.chat.placement]\nplugin = "last-host"\n'
PLUGINS = "tests.integration.placement_plugins"
POOLED = LIMITS + '[apps.chat]\nimage = "any"\npool = {minimum = 1, maximum = 3}\n'

OF_A_LOOK = (Fate.FAILS, Fate.DIES_BEFORE)
"""To a call that changes nothing, no more can happen."""
OF_A_WRITE = (
    Fate.FAILS,
    Fate.REPLY_LOST_ONCE,
    Fate.REPLY_LOST,
    Fate.DIES_BEFORE,
    Fate.DIES_AFTER,
)
CONFLICTING = {"dynamodb.PutItem", "dynamodb.TransactWriteItems"}
LOOKS = ("Get", "Query", "Describe", "List")

PASSING = {Fate.CONFLICTS, Fate.REPLY_LOST_ONCE}
"""Failures that happen once; the next attempt succeeds."""

HOSTS_AT_FIRST = 2
HOST_COMES_AT = 2
"""Before this sweep a full cluster gets a host."""
READ_LAG_SECONDS = 3.0
"""By how much ListTasks and DescribeTasks are behind RunTask."""
PAUSES = (0, 20, 60, 60, 60, 320, 60, 60)
"""Seconds before each sweep: past every deadline there is."""


def fates_of(call: str) -> tuple[Fate, ...]:
    if call.partition(".")[2].startswith(LOOKS):
        return OF_A_LOOK
    if call.startswith("ecs."):
        return (*OF_A_WRITE, Fate.THROTTLED)
    return (*OF_A_WRITE, Fate.CONFLICTS) if call in CONFLICTING else OF_A_WRITE


class Story:
    """The records of an operation: a session, and a bystander that must stay unaffected."""

    def __init__(self, lab: Lab, *, is_full: bool) -> None:
        self.lab = lab
        self.is_full = is_full
        if is_full:
            lab.use_provider()
            lab.add_host()
        self.services = lab.process()
        self.session_id = ""
        self.answer: Session | None = None
        """The session that the operation returned, if it did."""
        self.bystander = self.active("bystander")
        if is_full:  # and the cluster is full with it
            lab.drain_host(HOSTS_AT_FIRST)

    def dispatch(self, owner: str, key: str | None = None) -> Session:
        return self.services.sessions.service.dispatch(self.lab.request("chat", owner, key))

    def starting(self, owner: str) -> str:
        return self.dispatch(owner).id

    def reserved(self, owner: str) -> str:
        session_id = self.starting(owner)
        self.news()
        return session_id

    def active(self, owner: str) -> str:
        session_id = self.reserved(owner)
        self.lab.connect(session_id)
        self.news()
        assert self.state(session_id) is State.ACTIVE
        return session_id

    def warm(self, number: int = 1) -> list[str]:
        """Fill the pool; the ids of what is warm, and what its index shows by now."""
        self.lab.sweep(self.services)
        self.news()
        self.lab.indexes_catch_up()
        warm = [s.id for s in self.lab.sessions().values() if s.state is State.WARM]
        assert len(warm) == number
        return warm

    def news(self) -> None:
        """Containers send their callbacks, and all events are delivered."""
        self.lab.send_all(self.services)
        self.lab.deliver_events(self.services)

    def state(self, session_id: str) -> State:
        return self.lab.sessions()[session_id].state

    def event_of(self, session_id: str, status: str) -> tuple[str, dict[str, Any]]:
        """Returns the event of a session's task with this status; all others are dropped."""
        marked = f"session/{session_id}"
        (found,) = [
            event
            for event in self.lab.events()
            if event[1]["detail"].get("startedBy") == marked
            and event[1]["detail"]["lastStatus"] == status
        ]
        return found

    def sweep(self) -> None:
        """Time passes, and the sweep runs, until no work is left."""
        for number, pause in enumerate(PAUSES):
            self.lab.now.move(pause)
            if self.is_full and number == HOST_COMES_AT:
                self.lab.add_host()
            self.services = self.lab.process()
            self.lab.send_all(self.services)
            self.lab.events()  # the events are lost
            taken = self.lab.sweep(self.services)
            assert "failed" not in taken, taken
            self.lab.send_all(self.services)
            check_invariants(self.lab)
            if self.is_over():
                return

    def is_over(self) -> bool:
        states = Counter(s.state for s in self.lab.sessions().values())
        over = set(states) <= {State.ACTIVE, State.WARM, State.ENDED}
        wanted = self.lab.config.apps.by_name["chat"].pool.minimum
        return over and states[State.WARM] == wanted and self.tasks_are_owned()

    def tasks_are_owned(self) -> bool:
        owned = {s.task_arn for s in self.lab.sessions().values() if s.state is not State.ENDED}
        return set(self.lab.running()) == owned


@dataclass(frozen=True)
class Operation:
    """Something the dispatcher does; `arrange` is what was before it."""

    name: str
    apps: str
    arrange: Callable[[Story], None]
    act: Callable[[Story], None]
    afterwards: Callable[[Story], None] = lambda story: None
    """Extra steps of this operation: after the first crash, before the sweeps."""
    is_full: bool = False
    """Tasks wait at ECS for a host of a capacity provider, which has one, full of the bystander."""


OPERATIONS: list[Operation] = []


def operation(
    apps: str,
    arrange: Callable[[Story], None],
    afterwards: Callable[[Story], None] | None = None,
    *,
    is_full: bool = False,
) -> Callable[[Callable[[Story], None]], Callable[[Story], None]]:
    """Make an operation of a function."""

    def made(act: Callable[[Story], None]) -> Callable[[Story], None]:
        after = afterwards or (lambda story: None)
        OPERATIONS.append(Operation(act.__name__, apps, arrange, act, after, is_full))
        return act

    return made


def nothing(_: Story) -> None:
    """No more than the bystander."""


def connects_to_the_answer(story: Story) -> None:
    """A client with an answer connects, however late the news was."""
    if story.answer is not None:
        connects(story, story.answer.id)


def connects(story: Story, session_id: str) -> None:
    """The client asks until it has an address, and connects: from then on nothing may end it."""
    story.services = story.lab.process()
    for _ in range(8):
        if story.state(session_id) is State.RESERVED:
            break
        story.lab.send_all(story.services)
        story.lab.sweep(story.services)
        story.lab.now.move(15)
    story.lab.connect(session_id)
    story.session_id = session_id


def asks_again_with_the_key(story: Story) -> None:
    """The same key gives the same session, however often it is sent."""
    story.services = story.lab.process()
    again = [story.dispatch("me", "key").id for _ in range(2)]
    if story.answer is not None:
        again.append(story.answer.id)
    assert len(set(again)) == 1
    mine = [s for s in story.lab.sessions().values() if s.owner == "me" and s.is_live]
    assert [s.id for s in mine] == again[:1]
    connects(story, again[0])


def asks_again_with_the_key_while_it_waits(story: Story) -> None:
    """The same key gives the same session, which has no address yet."""
    story.services = story.lab.process()
    again = {story.dispatch("me", "key").id for _ in range(2)}
    assert len(again | ({story.answer.id} if story.answer else set())) == 1


@operation(COLD, nothing, connects_to_the_answer)
def dispatches_cold(story: Story) -> None:
    story.answer = story.dispatch("me")


@operation(COLD, nothing, asks_again_with_the_key)
def dispatches_cold_with_a_key(story: Story) -> None:
    story.answer = story.dispatch("me", "key")


@operation(POOLED, Story.warm, connects_to_the_answer)
def claims_a_warm_one(story: Story) -> None:
    story.answer = story.dispatch("me")
    assert story.answer.pooled


@operation(POOLED, Story.warm, asks_again_with_the_key)
def claims_a_warm_one_with_a_key(story: Story) -> None:
    story.answer = story.dispatch("me", "key")
    assert story.answer.pooled


def is_starting(story: Story) -> None:
    story.session_id = story.starting("me")


def runs_unready(story: Story) -> None:
    is_starting(story)
    story.lab.deliver_events(story.services)


@operation(COLD, runs_unready, lambda story: connects(story, story.session_id))
def handles_ready(story: Story) -> None:
    story.lab.send_next(story.services, story.lab.container_of(story.session_id))


def pool_is_starting(story: Story) -> None:
    story.lab.sweep(story.services)
    story.lab.deliver_events(story.services)
    (story.session_id,) = [s.id for s in story.lab.sessions().values() if s.pooled]


@operation(POOLED, pool_is_starting)
def handles_ready_of_a_pooled_one(story: Story) -> None:
    story.lab.send_next(story.services, story.lab.container_of(story.session_id))


def is_reserved(story: Story) -> None:
    story.session_id = story.reserved("me")


@operation(POOLED, is_reserved)
def handles_connected(story: Story) -> None:
    story.lab.send_next(story.services, story.lab.connect(story.session_id))


def is_active(story: Story) -> None:
    story.session_id = story.active("me")


@operation(COLD, is_active)
def handles_disconnected(story: Story) -> None:
    container = story.lab.disconnect(story.session_id)
    story.session_id = ""
    story.lab.send_next(story.services, container)


@operation(COLD, is_active)
def handles_stopping(story: Story) -> None:
    container = story.lab.report_stopping(story.session_id, Bye.EXPIRED)
    story.session_id = ""
    story.lab.send_next(story.services, container)


@operation(COLD, is_starting, lambda story: connects(story, story.session_id))
def handles_a_running_task(story: Story) -> None:
    story.lab.deliver(story.services, story.event_of(story.session_id, "RUNNING"))


@operation(COLD, is_active)
def handles_a_stopped_task(story: Story) -> None:
    story.lab.exit(story.lab.container_of(story.session_id))
    event = story.event_of(story.session_id, "STOPPED")
    story.session_id = ""
    story.lab.deliver(story.services, event)


@operation(COLD, is_starting)
def handles_a_failed_start(story: Story) -> None:
    story.lab.exit(story.lab.container_of(story.session_id), code=1)
    event = story.event_of(story.session_id, "STOPPED")
    story.session_id = ""
    story.lab.deliver(story.services, event)


def has_warm_ones(story: Story) -> None:
    story.session_id = story.warm()[0]


@operation(POOLED, has_warm_ones)
def handles_a_draining_host(story: Story) -> None:
    instance = story.lab.sessions()[story.session_id].container_instance
    story.session_id = ""
    story.services.sessions.service.on_host_leaving(str(instance))


@operation(COLD, is_active)
def stops_one_that_is_asked_to(story: Story) -> None:
    session_id, story.session_id = story.session_id, ""
    story.services.sessions.service.stop(session_id, Reason.STOPPED, "asked")


def waits_for_room(story: Story) -> None:
    with story.lab.without_room():
        story.session_id = story.starting("me")
    assert story.state(story.session_id) is State.QUEUED


@operation(COLD, waits_for_room)
def stops_one_that_waits(story: Story) -> None:
    session_id, story.session_id = story.session_id, ""
    story.services.sessions.service.stop(session_id, Reason.STOPPED, "asked")


@operation(COLD, waits_for_room, lambda story: connects(story, story.session_id))
def launches_one_that_waits(story: Story) -> None:
    story.services.sessions.launches.launch_later(story.session_id, 2)


@operation(CHOSEN, nothing, connects_to_the_answer)
def dispatches_where_a_plugin_chooses_the_host(story: Story) -> None:
    story.answer = story.dispatch("me")


@operation(CHOSEN, waits_for_room, lambda story: connects(story, story.session_id))
def launches_one_that_waits_where_a_plugin_chooses_the_host(story: Story) -> None:
    story.services.sessions.launches.launch_later(story.session_id, 2)


@operation(COLD, waits_for_room)
def finds_no_room_again(story: Story) -> None:
    session_id, story.session_id = story.session_id, ""
    with story.lab.without_room():
        story.services.sessions.launches.launch_later(session_id, 2)


@operation(COLD, waits_for_room)
def gives_up_waiting(story: Story) -> None:
    session_id, story.session_id = story.session_id, ""
    story.lab.now.move(201)
    story.services.sessions.launches.launch_later(session_id, 9)


def has_one_too_many_and_one_too_old(story: Story) -> None:
    old = story.warm()[0]
    story.lab.now.move(3_700)
    story.lab.deploy("chat")
    assert story.state(old) is State.WARM


@operation(POOLED, has_one_too_many_and_one_too_old)
def reconciles_the_pool(story: Story) -> None:
    story.services.sessions.pools.on_message(ReconcilePool("chat", claimed=True))


def is_in_disorder(story: Story) -> None:
    """One record of each kind that a sweep repairs: unlaunched, unreported, unconnected, without a
    task, stuck, orphaned.
    """
    gone, stuck, unsent = (story.reserved(owner) for owner in ("a", "b", "c"))
    story.reserved("never connects")
    story.lab.exit(story.lab.container_of(gone))
    story.lab.disconnect(stuck)
    story.lab.send_all(story.services)
    story.lab.connect(unsent).unsent.clear()
    with story.lab.without_room():
        story.starting("unlaunched")
    story.starting("unready")
    definition = story.lab.sessions()[gone].task_definition
    story.lab.aws.ecs.run_task(
        cluster=story.lab.config.cluster,
        taskDefinition=definition,
        startedBy="session/00000000-0000-4000-8000-000000000000",
    )
    story.lab.now.move(60)
    story.session_id = unsent


@operation(COLD.replace("total = 4", "total = 9").replace("= 3\n", "= 9\n"), is_in_disorder)
def sweeps(story: Story) -> None:
    story.lab.sweep(story.services)


# A full cluster: tasks wait in ECS's PROVISIONING for a host.


def waits_for_host(story: Story) -> None:
    story.session_id = story.starting("me")
    (task,) = [t for t in story.lab.tasks() if t.started_by == f"session/{story.session_id}"]
    assert task.instance_arn is None, "the cluster is full"
    assert story.lab.sessions()[story.session_id].waits_for_host


def host_was_found(story: Story) -> None:
    waits_for_host(story)
    story.lab.add_host()


def waits_too_long_for_host(story: Story) -> None:
    waits_for_host(story)
    story.session_id = ""
    story.lab.now.move(201)


@operation(COLD, nothing, is_full=True)
def dispatches_on_a_full_cluster(story: Story) -> None:
    story.answer = story.dispatch("me")


@operation(COLD, nothing, asks_again_with_the_key_while_it_waits, is_full=True)
def dispatches_on_a_full_cluster_with_a_key(story: Story) -> None:
    story.answer = story.dispatch("me", "key")


@operation(COLD, host_was_found, lambda story: connects(story, story.session_id), is_full=True)
def handles_a_found_host(story: Story) -> None:
    story.lab.deliver(story.services, story.event_of(story.session_id, "RUNNING"))


@operation(COLD, waits_for_host, is_full=True)
def stops_one_that_waits_for_a_host(story: Story) -> None:
    session_id, story.session_id = story.session_id, ""
    story.services.sessions.service.stop(session_id, Reason.STOPPED, "asked")


@operation(COLD, waits_too_long_for_host, is_full=True)
def sweeps_what_waited_too_long_for_a_host(story: Story) -> None:
    story.lab.sweep(story.services)


@operation(COLD, host_was_found, lambda story: connects(story, story.session_id), is_full=True)
def sweeps_what_a_host_was_found_for(story: Story) -> None:
    story.lab.now.move(READ_LAG_SECONDS)
    story.lab.sweep(story.services)


@operation(POOLED, nothing, is_full=True)
def fills_the_pool_on_a_full_cluster(story: Story) -> None:
    story.services.sessions.pools.on_message(ReconcilePool("chat"))


def survivors(story: Story) -> Iterator[str]:
    yield story.bystander
    if story.session_id:
        yield story.session_id


def run(lab: Lab, operation: Operation, point: Point | None) -> list[str]:
    """Run one operation with one failure, and the steps after it; returns its calls."""
    lab.fresh(operation.apps)
    lab.config = replace(lab.config, placement_module=PLUGINS)
    story = Story(lab, is_full=operation.is_full)
    operation.arrange(story)
    lab.settle()
    story.services = lab.process()
    outcome = act(lab, lambda: operation.act(story), point, PASSING)
    if not outcome.was_answered:
        story.answer = None
    check_invariants(lab)
    operation.afterwards(story)
    lab.send_all(story.services)
    story.sweep()
    check_at_rest(lab)
    assert story.is_over()
    sessions = lab.sessions()
    for session_id in survivors(story):
        session = sessions.get(session_id)
        if session is not None and session.owner is not None:
            assert session.state is State.ACTIVE, f"a live session was lost: {session}"
            assert lab.container_of(session_id).connected
    return outcome.calls


BY_NAME = {operation.name: operation for operation in OPERATIONS}


def new_lab() -> Lab:
    """Returns a laboratory whose ECS lags: a task may be unknown right after its RunTask."""
    return Lab(read_lag_seconds=READ_LAG_SECONDS)


def calls_of_operations() -> dict[str, list[str]]:
    """Returns the calls of each operation when none fails."""
    lab = new_lab()
    return {name: run(lab, operation, None) for name, operation in BY_NAME.items()}


def crash_points() -> list[CrashPoint]:
    """Yields the `chosen` fates of every call of every operation, without repetitions."""
    return [
        point
        for operation, calls in recorded(MATRIX).items()
        for point in distinct(
            [
                CrashPoint(operation, number, call, fate)
                for number, call in enumerate(calls, 1)
                for fate in chosen(number, fates_of(call))
            ],
            calls,
        )
    ]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with few_partitions(), closing(new_lab()) as made:
        yield made


@pytest.mark.parametrize("name", BY_NAME)
def test_an_undisturbed_operation_makes_the_calls_that_are_crash_points(
    lab: Lab, name: str
) -> None:
    compare(MATRIX, name, run(lab, BY_NAME[name], None))


@pytest.mark.parametrize("crash", crash_points(), ids=str)
def test_nothing_leaks_collides_or_drops_wherever_it_breaks(lab: Lab, crash: CrashPoint) -> None:
    calls = run(lab, BY_NAME[crash.operation], crash.point)
    assert calls[crash.number - 1] == crash.call
