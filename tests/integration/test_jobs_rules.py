"""Single rules of jobs, each against the embedded cloud with time standing still."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from chalicelib.callers import Caller
from chalicelib.contract.jobs import Outcome
from chalicelib.ecs.failures import StopError
from chalicelib.errors import ForbiddenError, UsherError
from chalicelib.jobs.launching import TOGETHER_SECONDS
from chalicelib.jobs.listings import parse_listing, show_place
from chalicelib.jobs.model import Invocation, Priority, Reason, State
from chalicelib.jobs.queues import WakeUp
from chalicelib.jobs.table import MAX_QUERIES
from chalicelib.jobs.task_definitions import family_of
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab, Phase, check_jobs, check_rest, run_to_their_ends
from tests.integration.wire import Fate, Point

SOMEBODY = Caller("me", key_scope="me")


@pytest.fixture
def lab(job_lab: JobLab) -> JobLab:
    job_lab.begin()
    return job_lab


def invoke(services: Services, priority: Priority = Priority.NORMAL, **facts) -> Invocation:
    invocations = services.jobs.invocations
    draft = invocations.draft(
        job=facts.pop("job", "report"),
        owner="me",
        parameters=None,
        callback_base_url="http://dispatcher",
        priority=priority,
        **facts,
    )
    return invocations.accept(draft)


def states(lab: JobLab) -> list[State]:
    return [i.state for i in sorted(lab.invocations().values(), key=lambda i: i.created_at)]


def wake_ups_at(lab: JobLab) -> list[int]:
    """Returns the Unix times in seconds of the recorded wake-up messages."""
    ids = [item["id"]["S"] for item in lab.job_items()]
    return [int(one.removeprefix("again#")) for one in ids if one.startswith("again#")]


def finishes(lab: JobLab, services: Services, invocation_id: str) -> None:
    container = lab.job_of(invocation_id)
    lab.ask(services, container)
    lab.end(container)
    lab.report(services, container)


# Room and places.


def test_a_wake_up_comes_after_the_rest_of_everybody_who_rests(lab: JobLab) -> None:
    """The second one finds no room in the same second, but later in it."""
    services = lab.process()
    with lab.without_room():
        invoke(services)
        services.jobs.launcher.run()
        lab.now.move(0.5)
        invoke(services, Priority.CRITICAL)
        services.jobs.launcher.run()
    resting = [i.next_try_at for i in lab.invocations().values() if i.next_try_at]
    assert len(resting) == 2
    for until in resting:
        assert any(until <= second <= until + 1 for second in wake_ups_at(lab))


def test_the_critical_go_first_and_places_are_kept_for_them(lab: JobLab) -> None:
    services = lab.process()
    made = [invoke(services, p) for p in (Priority.LOW, Priority.NORMAL, Priority.NORMAL)]
    lab.now.move(1)
    made += [invoke(services, Priority.NORMAL), invoke(services, Priority.CRITICAL)]
    services.jobs.launcher.run()
    launched = {i.id for i in lab.invocations().values() if i.state is State.LAUNCHED}
    assert launched == {made[n].id for n in (1, 2, 4)}, "the fourth place is kept"
    check_jobs(lab)
    for ends, follows in ((4, 3), (1, 0)):
        finishes(lab, services, made[ends].id)
        assert lab.invocations()[made[follows].id].is_waiting
        services.jobs.launcher.run()
        assert lab.invocations()[made[follows].id].state is State.LAUNCHED


def test_where_all_places_are_kept_nobody_else_gets_one(job_lab: JobLab) -> None:
    job_lab.begin(capacity=1, kept=5)
    services = job_lab.process()
    invoke(services)
    services.jobs.launcher.run()
    assert states(job_lab) == [State.QUEUED]
    invoke(services, Priority.CRITICAL)
    services.jobs.launcher.run()
    assert sorted(states(job_lab)) == [State.LAUNCHED, State.QUEUED]


def test_a_claim_that_meets_another_transaction_is_tried_again(lab: JobLab) -> None:
    services = lab.process()
    invoke(services)
    lab.wire.reset(None)
    services.jobs.launcher.run()
    claim = lab.wire.calls.index("dynamodb.TransactWriteItems") + 1
    lab.begin()
    services = lab.process()
    invoke(services)
    lab.wire.reset(Point(claim, Fate.CONFLICTS))
    services.jobs.launcher.run()
    assert lab.wire.struck
    assert states(lab) == [State.LAUNCHED]


def test_one_that_failed_to_start_does_not_hold_up_the_line(lab: JobLab) -> None:
    services = lab.process()
    with lab.without_room():
        first = invoke(services)
        services.jobs.launcher.run()
    lab.now.move(2)
    services.jobs.launcher.run()
    lab.end_process(lab.job_of(first.id), 1)
    lab.deliver_events(services)
    assert lab.invocations()[first.id].next_try_at
    second = invoke(services)
    services.jobs.launcher.run()
    assert lab.invocations()[second.id].state is State.LAUNCHED


def test_a_job_that_nobody_can_read_stops_no_other(job_lab: JobLab) -> None:
    job_lab.begin(others=("odd",))
    services = job_lab.process()
    odd = invoke(services, Priority.CRITICAL, job="odd")
    family = family_of("odd", "local")
    known = job_lab.aws.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    (container,) = known["containerDefinitions"]
    for label in ('{"version": 2}', "nonsense", json.dumps({"name": "odd", "new": 1})):
        container["dockerLabels"] = {"usher.job": label}
        job_lab.aws.ecs.register_task_definition(family=family, containerDefinitions=[container])
    good, services = invoke(services), job_lab.process()
    services.jobs.launcher.run()
    found = job_lab.invocations()
    assert found[odd.id].reason is Reason.START_FAILED
    assert found[good.id].state is State.LAUNCHED
    assert [job.description.name for job in services.jobs.catalog.page(100)[0]] == ["report"]


# Listings.


def test_pages_of_jobs_have_each_job_once_by_name(job_lab: JobLab) -> None:
    job_lab.begin(others=("alpha", "zulu", "midway", "odd"))
    catalog = job_lab.process().jobs.catalog
    family = family_of("odd", "local")
    known = job_lab.aws.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    (container,) = known["containerDefinitions"]
    container["dockerLabels"] = {"usher.job": "nonsense"}
    job_lab.aws.ecs.register_task_definition(family=family, containerDefinitions=[container])
    pages, after = [], None
    while not pages or after:
        jobs, after = catalog.page(2, after)
        pages.append([job.description.name for job in jobs])
    assert pages == [["alpha", "midway"], ["report"], ["zulu"]]


def test_a_listing_looks_at_no_day_to_come_and_at_none_that_is_forgotten(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services)
    lab.wire.reset(None)
    query = {"from": "0001-01-02T00:00:00Z", "to": "9999-12-30T00:00:00Z"}
    page = services.jobs.invocations.search(parse_listing(query, lab.now()), SOMEBODY)
    assert [i.id for i in page.invocations] == [made.id]
    assert len(lab.wire.calls) <= 2 * MAX_QUERIES


def test_a_caller_sees_its_own_and_an_operator_whose_it_asks_for(lab: JobLab) -> None:
    services = lab.process()
    mine = invoke(services)
    operator = Caller("boss", key_scope="boss", is_operator=True)

    def listed(query: dict[str, str], caller: Caller) -> list[str]:
        listing = parse_listing(query, lab.now())
        return [i.id for i in services.jobs.invocations.search(listing, caller).invocations]

    other = Caller("other", key_scope="other")
    assert mine.owner == SOMEBODY.owner
    assert listed({}, SOMEBODY) == listed({"owner": mine.owner}, SOMEBODY) == [mine.id]
    assert listed({"job": mine.job}, SOMEBODY) == [mine.id]
    assert listed({}, other) == listed({"job": mine.job}, other) == []
    assert listed({}, operator) == listed({"owner": mine.owner}, operator) == [mine.id]
    assert listed({"owner": "other"}, operator) == []
    with pytest.raises(ForbiddenError):
        listed({"owner": mine.owner}, other)


def test_pages_have_everything_once_newest_first(lab: JobLab) -> None:
    services, made = lab.process(), []
    for number in range(7):
        made.append(invoke(services, job="report").id)
        lab.now.move(86_400 / 3 if number % 2 else 0.001)
    for base in ({}, {"job": "report"}):
        query, seen = {**base, "limit": "2"}, []
        while True:
            listing = parse_listing(query, lab.now())
            page = services.jobs.invocations.search(listing, SOMEBODY)
            seen += [i.id for i in page.invocations]
            if page.after is None:
                break
            query["next"] = show_place(page.after, listing.digest)
        assert seen == made[::-1]


# Two at once, one of them between any two calls of the other.

Meanwhile = Callable[[JobLab, Services, str], None]


def asks_for_leave(lab: JobLab, other: Services, invocation_id: str) -> None:
    for container in lab.jobs_of(invocation_id):
        if container.running and container.phase is Phase.ASKING:
            lab.ask(other, container)


def runs_and_ends(lab: JobLab, other: Services, invocation_id: str) -> None:
    asks_for_leave(lab, other, invocation_id)
    for container in lab.jobs_of(invocation_id):
        if container.running and container.phase is not Phase.ASKING:
            lab.end(container, Outcome.SUCCEEDED)
            lab.report(other, container)


def is_killed(lab: JobLab, other: Services, invocation_id: str) -> None:
    other.jobs.invocations.kill(invocation_id, "somebody asked")


def is_launched(lab: JobLab, other: Services, invocation_id: str) -> None:
    other.jobs.launcher.run()


def is_swept(lab: JobLab, other: Services, invocation_id: str) -> None:
    lab.sweep(other)


def waits(lab: JobLab, services: Services) -> str:
    return invoke(services).id


def was_launched(lab: JobLab, services: Services) -> str:
    return lab.put(State.LAUNCHED)


def was_started(lab: JobLab, services: Services) -> str:
    return lab.put(State.STARTED)


def claim_was_forgotten(lab: JobLab, services: Services) -> str:
    made = invoke(services).id
    lab.faults.set({"calls": {"ecs.RunTask": {"lose_reply": {}}}})
    services.jobs.launcher.run()
    lab.faults.set({})
    lab.forget_tokens()
    return made


def has_a_round(lab: JobLab, services: Services, _: str) -> None:
    services.jobs.launcher.run()


def has_a_sweep(lab: JobLab, services: Services, _: str) -> None:
    lab.sweep(services)


@pytest.mark.parametrize(
    ("before", "seconds", "act", "meanwhile", "knows_task"),
    [
        (waits, 0, has_a_round, asks_for_leave, True),
        (waits, 0, has_a_round, asks_for_leave, False),
        (waits, 0, has_a_round, runs_and_ends, True),
        (waits, 0, has_a_round, runs_and_ends, False),
        (waits, 0, has_a_round, is_killed, True),
        (waits, 0, has_a_round, is_launched, True),
        (waits, 0, has_a_round, is_swept, True),
        (claim_was_forgotten, 61, has_a_sweep, asks_for_leave, True),
        (claim_was_forgotten, 61, has_a_sweep, asks_for_leave, False),
        (claim_was_forgotten, 61, has_a_sweep, is_swept, True),
        (claim_was_forgotten, 61, has_a_sweep, is_killed, True),
        (was_launched, 601, has_a_sweep, asks_for_leave, True),
        (was_launched, 601, has_a_sweep, runs_and_ends, False),
        (was_launched, 601, has_a_sweep, is_killed, True),
        (was_launched, 601, has_a_sweep, is_swept, True),
        (was_started, 7_300, has_a_sweep, runs_and_ends, True),
        (was_launched, 0, is_killed, asks_for_leave, True),
        (was_launched, 0, is_killed, runs_and_ends, False),
        (was_launched, 0, asks_for_leave, is_killed, True),
        (was_started, 0, runs_and_ends, is_killed, True),
        (was_started, 0, runs_and_ends, is_swept, True),
    ],
)
def test_two_at_once_run_it_once_and_tell_the_truth(
    job_lab: JobLab,
    before: Callable[[JobLab, Services], str],
    seconds: int,
    act: Meanwhile,
    meanwhile: Meanwhile,
    knows_task: bool,
) -> None:
    """An event happens before each call in turn; in the end the record agrees with the event."""
    place, happened = 0, True
    while happened:
        place += 1
        job_lab.begin()
        for host in job_lab.job_hosts:
            host.knows_tasks = knows_task
        services = job_lab.process()
        invocation_id = before(job_lab, services)
        job_lab.settle()
        job_lab.now.move(seconds)
        services, other = job_lab.process(), job_lab.other_process()

        def happens(other: Services = other, one: str = invocation_id) -> None:
            job_lab.settle()
            with suppress(UsherError):
                meanwhile(job_lab, other, one)

        job_lab.wire.meanwhile = (place, happens)
        with suppress(UsherError, StopError):
            act(job_lab, services, invocation_id)
        happened = job_lab.wire.meanwhile is None
        was_asked = is_killed in {act, meanwhile}
        undisturbed(job_lab, invocation_id, may_be_stopped=was_asked or seconds > 7_200)
        goes_on(job_lab)
        check_rest(job_lab, kills={invocation_id} if was_asked else set())
    assert place > 1


def undisturbed(lab: JobLab, invocation_id: str, *, may_be_stopped: bool) -> None:
    """A running container received no stop, unless a caller asked for one."""
    lab.settle()
    check_jobs(lab)
    for container in lab.jobs_of(invocation_id):
        if container.ran and not may_be_stopped:
            assert not container.was_signalled


def goes_on(lab: JobLab) -> None:
    """Time passes, and only the sweep learns of changes."""
    for pause in (0, 61, 61, 640, 61, 61):
        lab.now.move(pause)
        services = lab.process()
        run_to_their_ends(lab, services)
        lab.events()
        if all(i.has_ended for i in lab.invocations().values()) and not lab.running():
            return
        assert "failed" not in lab.sweep(services)


def test_two_tasks_of_one_attempt_run_it_once(lab: JobLab) -> None:
    """ECS has deleted the token: the first container to ask runs, whichever RunTask it is from."""
    for first in (0, 1):
        lab.begin()
        services = lab.process()
        made = claim_was_forgotten(lab, services)
        lab.now.move(61)
        seen = lab.invocations()[made]
        services.jobs.launcher.launch(replace(seen))
        lab.settle()
        two = lab.jobs_of(made)
        assert len(two) == 2
        for container in (two[first], two[1 - first]):
            if container.running:
                lab.ask(services, container)
        goes_on(lab)
        check_rest(lab, kills=set())
        assert lab.runs[made] == 1


# The start permit, and containers that ask for it too late.


@pytest.mark.parametrize("knows_task", [True, False])
def test_a_container_that_outlived_its_attempt_runs_nothing(
    lab: JobLab,
    knows_task: bool,
) -> None:
    """Its host was cut off, and ECS replaced its task: it asks after the other one has started."""
    for host in lab.job_hosts:
        host.knows_tasks = knows_task
    services, made = lab.process(), lab.put(State.LAUNCHED)
    old = lab.job_of(made)
    with lab.without(old.host):
        words = "Host EC2 (instance i-1) terminated."
        task = services.launcher.describe([str(lab.invocations()[made].task_arn)]).popitem()[1]
        gone = replace(task, last_status="STOPPED", version=99, stopped_reason=words)
        services.on_task_change(gone)
        services.jobs.launcher.run()
        lab.settle()
    new = lab.jobs_of(made)[-1]
    assert (old.attempt, new.attempt, new.running) == (1, 2, True)
    lab.ask(services, old)
    assert (old.ran, old.exit_code) == (False, 75)
    lab.ask(services, new)
    assert new.ran
    goes_on(lab)
    check_rest(lab, kills=set())


def test_a_container_that_asks_after_the_kill_runs_nothing(lab: JobLab) -> None:
    services, made = lab.process(), lab.put(State.LAUNCHED)
    lab.faults.set({"calls": {"ecs.StopTask": {"fail_before": {}}}})
    services.jobs.invocations.kill(made, "somebody asked")
    lab.faults.set({})
    lab.ask(services, lab.job_of(made))
    goes_on(lab)
    check_rest(lab, kills={made})
    assert not lab.runs[made]


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("code", [1, 75, 137])
def test_a_container_that_never_received_its_permit_ends_with_any_code(
    lab: JobLab, code: int, is_killed: bool
) -> None:
    """The record has ECS's exit code: only the container knows that no user code ran."""
    services, made = lab.process(), lab.put(State.LAUNCHED)
    container = lab.job_of(made)
    lab.ask(services, container, is_answered=False)
    if is_killed:
        services.jobs.invocations.kill(made, "somebody asked")
    if container.running:
        lab.end_process(container, code)
    goes_on(lab)
    ended = lab.invocations()[made]
    assert ended.reason is (Reason.KILLED if is_killed else Reason.FAILED)
    assert ended.exit_code == container.exit_code
    check_rest(lab, kills={made} if is_killed else set())
    assert len(lab.jobs_of(made)) == 1, "user code may have run: never again"


def test_a_second_process_of_the_same_task_runs_nothing(lab: JobLab) -> None:
    """A host starts a container again by itself."""
    services, made = lab.process(), lab.put(State.LAUNCHED)
    container = lab.job_of(made)
    lab.ask(services, container)
    again = replace(container, process="another-process", phase=Phase.ASKING, ran=False)
    lab.ask(services, again)
    assert not again.ran
    check_jobs(lab)


def test_what_ran_and_was_forgotten_by_ecs_is_lost_and_not_run_again(lab: JobLab) -> None:
    made = lab.put(State.STARTED)
    lab.end_process(lab.job_of(made), 0)
    lab.events()
    lab.now.move(3_700)
    lab.sweep(lab.process())
    ended = lab.invocations()[made]
    assert (ended.reason, ended.exit_code) == (Reason.LOST, None)
    lab.now.move(61)
    lab.sweep(lab.process())
    assert len(lab.jobs_of(made)) == lab.runs[made] == 1


def test_what_started_and_is_known_to_nobody_does_not_live_for_ever(job_lab: JobLab) -> None:
    """The container had no task ARN, its launcher crashed, its host was lost, and no event came."""
    job_lab.begin()
    for host in job_lab.job_hosts:
        host.knows_tasks = False
    services = job_lab.process()
    made = claim_was_forgotten(job_lab, services)
    container = job_lab.job_of(made)
    job_lab.ask(services, container)
    job_lab.kill_host(job_lab.job_hosts.index(container.host))
    job_lab.events()
    job_lab.now.move(61)
    job_lab.sweep(job_lab.process())
    assert job_lab.invocations()[made].reason is Reason.LOST
    check_rest(job_lab, kills=set())


# Calls that are spared.


def test_a_report_costs_no_read_where_the_permit_was_written(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services)
    services.jobs.launcher.run()
    lab.settle()
    container = lab.job_of(made.id)
    lab.ask(services, container)
    lab.end(container)
    lab.wire.reset(None)
    lab.report(services, container)
    assert [call for call in lab.wire.calls if call.startswith("dynamodb")] == [
        "dynamodb.TransactWriteItems"
    ]
    check_rest(lab, kills=set())


def test_a_report_on_what_has_moved_on_is_decided_on_the_record_as_it_is(lab: JobLab) -> None:
    services, other = lab.process(), lab.other_process()
    made = invoke(services)
    services.jobs.launcher.run()
    lab.settle()
    container = lab.job_of(made.id)
    lab.ask(services, container)
    other.jobs.invocations.kill(made.id, "somebody asked", Reason.TIMED_OUT)
    lab.end(container, Outcome.KILLED)
    lab.report(services, container)
    found = lab.invocations()[made.id]
    assert (found.state, found.reason) == (State.FINISHED, Reason.TIMED_OUT)
    assert lab.places_taken() == 0


def test_a_message_costs_one_read_where_no_place_is_open_to_its_priority(lab: JobLab) -> None:
    """Four places, one of them kept for critical ones."""
    services = lab.process()
    for _ in range(4):
        invoke(services)
    services.jobs.launcher.run()
    assert lab.places_taken() == 3
    lab.wire.reset(None)
    services.jobs.launcher.run(priority=Priority.NORMAL)
    assert lab.wire.calls == ["dynamodb.BatchGetItem"]
    urgent = invoke(services, Priority.CRITICAL)
    services.jobs.launcher.run([urgent.id])
    assert lab.invocations()[urgent.id].state is State.LAUNCHED
    lab.wire.reset(None)
    services.jobs.launcher.run()
    assert lab.wire.calls == ["dynamodb.BatchGetItem"]


def test_no_message_is_sent_for_one_that_no_place_is_open_to(lab: JobLab) -> None:
    """How many run is read once a second with the turns, and then after the record is written."""
    services = lab.process()
    made = [invoke(services) for _ in range(3)]
    services.jobs.launcher.run()
    assert lab.places_taken() == 3
    lab.wake_ups()
    lab.now.move(2)
    made.append(invoke(services))
    lab.wire.reset(None)
    made.append(invoke(services))
    assert lab.wire.calls == ["dynamodb.UpdateItem", "dynamodb.PutItem", "dynamodb.GetItem"]
    # one delayed message for both, as the index may not show them to the round of the next end
    assert lab.wake_ups() == [WakeUp()]
    urgent = invoke(services, Priority.CRITICAL)
    assert [wake_up.invocation_id for wake_up in lab.wake_ups()] == [urgent.id]
    finishes(lab, services, made[0].id)
    (end,) = lab.wake_ups()
    services.jobs.launcher.run(capacity_freed=end.capacity_freed, ends=1)
    assert lab.invocations()[urgent.id].state is State.LAUNCHED


def test_a_message_is_sent_where_a_place_was_freed_before_the_record_was_written(
    lab: JobLab,
) -> None:
    services = lab.process()
    made = [invoke(services) for _ in range(3)]
    services.jobs.launcher.run()
    lab.now.move(2)
    invoke(services)
    finishes(lab, services, made[0].id)
    lab.wake_ups()
    late = invoke(services)  # in the same second: all places were taken at the last look
    assert [wake_up.invocation_id for wake_up in lab.wake_ups()] == [late.id]


def test_messages_that_come_during_a_round_wait_for_each_other(lab: JobLab) -> None:
    services, other = lab.process(), lab.other_process()
    waiting = invoke(services)
    other.jobs.launcher._lease.acquire()
    began = lab.now()
    assert services.jobs.launcher.run(ends=1) == 0
    assert lab.now() == began
    assert services.jobs.launcher.run(ends=1, of_messages=True) == 0
    assert lab.now() == began + TOGETHER_SECONDS
    assert lab.invocations()[waiting.id].is_waiting


def test_an_end_costs_a_round_of_few_calls(lab: JobLab) -> None:
    """The place of the one that ended is given to the next, whose record is known."""
    services = lab.process()
    for _ in range(9):
        invoke(services)
    lab.indexes_catch_up()
    services.jobs.launcher.run()
    for ends, claims in ((1, 1), (3, 3)):
        for each in running(lab)[:ends]:
            end(services, each)
        lab.wire.reset(None)
        services.jobs.launcher.run(capacity_freed=True, ends=ends)
        launch = ["dynamodb.TransactWriteItems", "ecs.RunTask"]
        # take the lease, read the waiting ones (critical, normal); write the last launch with its
        # end
        assert lab.wire.calls == [
            "dynamodb.UpdateItem",
            "dynamodb.Query",
            "dynamodb.Query",
            *launch * claims,
            "dynamodb.TransactWriteItems",
        ]
        assert lab.places_taken() == 3
    assert len(running(lab)) == 3


def running(lab: JobLab) -> list[Invocation]:
    return [each for each in lab.invocations().values() if each.state is State.LAUNCHED]


def end(services: Services, invocation: Invocation) -> None:
    asked = (invocation.key, invocation.attempt, invocation.task_arn, "p")
    services.jobs.invocations.start(invocation.id, *asked)
    services.jobs.invocations.finish(
        invocation.id,
        invocation.key,
        "p",
        Outcome.SUCCEEDED,
        exit_code=0,
        detail="",
        result=None,
        usage=None,
    )


def test_one_round_answers_many_messages(lab: JobLab) -> None:
    services = lab.process()
    made = [invoke(services, priority) for priority in (Priority.LOW, Priority.NORMAL)]
    services.jobs.table.waiting = lambda *_: iter(())  # the index shows none of them yet
    assert services.jobs.launcher.run() == 0
    assert services.jobs.launcher.run([i.id for i in made]) == 2
    assert states(lab) == [State.LAUNCHED, State.LAUNCHED]


def test_a_task_that_has_reported_and_not_yet_exited_is_counted_as_no_orphan(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services)
    services.jobs.launcher.run([made.id])
    end(services, lab.invocations()[made.id])
    assert "StopOrphan" not in lab.sweep(services)
    assert services.sweep_states.read().finished.orphans == 0
    assert lab.job_of(made.id).running
    lab.now.move(31)
    assert lab.sweep(services)["StopOrphan"] == 1
    assert services.sweep_states.read().finished.orphans == 1
