"""Guarantees that hold while the indexes of DynamoDB show every write ten seconds late."""

import pytest

from chalicelib.errors import LimitError
from chalicelib.jobs.model import Invocation, Priority
from chalicelib.jobs.model import State as JobState
from chalicelib.jobs.queues import WakeUp
from chalicelib.sessions.launch_queue import ReconcilePool
from chalicelib.sessions.model import State
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab
from tests.integration.lab import Lab, check_invariants

LAG_SECONDS = 10.0
POOL = 40
POOLED = f"""
[limits]
total = 99
[apps.chat]
image = "any"
cpu = 8
memory = 8
pool = {{minimum = {POOL}, maximum = 60}}
"""
LIMITED = '[limits]\ntotal = 3\nper_owner = 1\n[apps.chat]\nimage = "any"\n'


class FixedLag:
    """Every write is late by as much as it may be."""

    def uniform(self, _: float, longest: float) -> float:
        return longest


def begin(lab: Lab, apps: str) -> Lab:
    lab.index_lag_seconds = LAG_SECONDS
    lab.fresh(apps)
    use_fixed_lag()
    return lab


def use_fixed_lag() -> None:
    from local.aws.dynamodb.index_lag import LAG

    LAG._random = FixedLag()  # type: ignore[assignment]


def nobodys(lab: Lab) -> list[str]:
    return [session.id for session in lab.sessions().values() if session.is_unowned]


def fill(lab: Lab) -> Services:
    """A full pool of warm ones that the index shows as such."""
    services = lab.process()
    for _ in range(2):  # so many at a time
        lab.sweep(services)
        lab.send_all(services)
        lab.deliver_events(services)
        lab.now.move(LAG_SECONDS + 1)
    assert [session.state for session in lab.sessions().values()] == [State.WARM] * POOL
    return services


def test_a_pool_is_not_filled_twice_before_its_index_shows_it(session_lab: Lab) -> None:
    lab = begin(session_lab, POOLED)
    for started in (20, 40, 40, 40, 40):  # so many at a time
        lab.sweep(lab.process())
        assert len(nobodys(lab)) == started
        lab.now.move(1.5)


def test_each_claimed_one_is_replaced_once(session_lab: Lab) -> None:
    lab = begin(session_lab, POOLED)
    services = fill(lab)
    services.sessions.service.dispatch(lab.request("chat", "me"))
    for _ in range(5):
        services.sessions.pools.on_message(ReconcilePool("chat"))
        assert len(nobodys(lab)) == POOL
        lab.now.move(1.5)


def test_all_warm_ones_find_their_users_though_the_index_shows_the_claimed_ones_yet(
    session_lab: Lab,
) -> None:
    lab = begin(session_lab, POOLED)
    services = fill(lab)
    given = [
        services.sessions.service.dispatch(lab.request("chat", f"user-{n}")) for n in range(POOL)
    ]
    assert len({session.id for session in given}) == POOL
    assert {session.state for session in given} == {State.RESERVED}
    cold = services.sessions.service.dispatch(lab.request("chat", "late"))
    assert not cold.pooled
    check_invariants(lab)


def test_a_claim_of_the_last_warm_one_makes_few_calls(session_lab: Lab) -> None:
    lab = begin(session_lab, POOLED)
    services = fill(lab)
    for n in range(POOL - 1):
        services.sessions.service.dispatch(lab.request("chat", f"user-{n}"))
    lab.wire.reset(None)
    assert services.sessions.service.dispatch(lab.request("chat", "last")).state is State.RESERVED
    assert lab.wire.calls.count("dynamodb.TransactWriteItems") <= 4


def test_one_that_died_warm_is_handed_to_nobody(session_lab: Lab) -> None:
    lab = begin(session_lab, POOLED)
    services = fill(lab)
    for container in lab.containers[: POOL - 1]:
        lab.exit(container, code=1)
    lab.deliver_events(services)
    (alive,) = [s.id for s in lab.sessions().values() if s.state is State.WARM]
    assert services.sessions.service.dispatch(lab.request("chat", "me")).id == alive


def test_a_host_that_leaves_takes_along_what_the_index_does_not_show_on_it(
    session_lab: Lab,
) -> None:
    lab = begin(session_lab, POOLED)
    services = lab.process()
    lab.sweep(services)
    lab.send_all(services)
    lab.deliver_events(services)
    (instance, *_) = [session.container_instance for session in lab.sessions().values()]
    services.sessions.service.on_host_leaving(str(instance))
    assert instance not in {s.container_instance for s in lab.sessions().values() if s.is_unowned}


def test_a_repeated_key_gets_its_session(session_lab: Lab) -> None:
    lab = begin(session_lab, POOLED)
    services = fill(lab)
    first, again = (
        services.sessions.service.dispatch(lab.request("chat", "me", "key")) for _ in "12"
    )
    assert first.id == again.id


def test_limits_of_owners_and_in_total_are_exact(session_lab: Lab) -> None:
    lab = begin(session_lab, LIMITED)
    services = lab.process()
    services.sessions.service.dispatch(lab.request("chat", "me"))
    for _ in range(2):
        with pytest.raises(LimitError):
            services.sessions.service.dispatch(lab.request("chat", "me"))
    for owner in ("you", "they"):
        services.sessions.service.dispatch(lab.request("chat", owner))
    with pytest.raises(LimitError):
        services.sessions.service.dispatch(lab.request("chat", "another"))


def test_a_sweep_stops_nothing_that_no_index_shows(session_lab: Lab) -> None:
    lab = begin(session_lab, LIMITED)
    services = lab.process()
    session = services.sessions.service.dispatch(lab.request("chat", "me"))
    for _ in range(3):
        lab.sweep(lab.process())
        lab.send_all(services)
    assert lab.sessions()[session.id].state is State.RESERVED
    assert len(lab.running()) == 1


# Jobs.


def begin_jobs(
    lab: JobLab, *, capacity: int, kept: int, lag_seconds: float = LAG_SECONDS
) -> JobLab:
    lab.index_lag_seconds = lag_seconds
    lab.begin(capacity=capacity, kept=kept)
    use_fixed_lag()
    return lab


def invoke(lab: JobLab, services: Services, priority: Priority = Priority.NORMAL) -> Invocation:
    draft = services.jobs.invocations.draft(
        job="report",
        owner="me",
        parameters=None,
        callback_base_url="http://d",
        priority=priority,
    )
    return services.jobs.invocations.accept(draft)


def test_a_critical_newcomer_goes_before_a_normal_one_that_the_index_shows(
    job_lab: JobLab,
) -> None:
    lab = begin_jobs(job_lab, capacity=1, kept=0)
    services = lab.process()
    normal = invoke(lab, services)
    lab.now.move(LAG_SECONDS + 1)
    critical = invoke(lab, services, Priority.CRITICAL)
    lab.wake_ups()
    lab.answer_wake_up(services, WakeUp(critical.id))
    states = {i.id: i.state for i in lab.invocations().values()}
    assert states == {normal.id: JobState.QUEUED, critical.id: JobState.LAUNCHED}


def test_an_invocation_is_launched_once_while_the_index_shows_it_as_waiting(
    job_lab: JobLab,
) -> None:
    lab = begin_jobs(job_lab, capacity=4, kept=0)
    services = lab.process()
    invocation = invoke(lab, services)
    lab.now.move(LAG_SECONDS + 1)
    for _ in range(3):
        lab.answer_wake_up(lab.process(), WakeUp(invocation.id))
        lab.sweep(lab.process())
        lab.now.move(1)
    assert len(lab.jobs_of(invocation.id)) == 1
    assert lab.places_taken() == 1


@pytest.mark.parametrize("knows_that_all_is_full", [True, False])
def test_one_that_was_accepted_just_before_the_last_place_was_freed_waits_for_no_sweep(
    job_lab: JobLab, knows_that_all_is_full: bool
) -> None:
    """The index does not show it yet to the round that follows the end."""
    lab = begin_jobs(job_lab, capacity=1, kept=0, lag_seconds=1.5)
    services = lab.process()
    first = invoke(lab, services)
    services.jobs.launcher.run([first.id])
    lab.wake_ups()
    if knows_that_all_is_full:  # the number of running ones is read with the first turn of a second
        lab.now.move(2)
    last = invoke(lab, services)
    delayed = [] if knows_that_all_is_full else deliver_wake_ups(lab, services)
    container = lab.job_of(first.id)
    lab.ask(services, container)
    lab.end(container)
    lab.report(services, container)
    delayed += deliver_wake_ups(lab, services)
    assert lab.invocations()[last.id].state is JobState.QUEUED
    lab.now.move(3)
    for wake_up in delayed:
        lab.answer_wake_up(services, wake_up)
    assert lab.invocations()[last.id].state is JobState.LAUNCHED


def deliver_wake_ups(lab: JobLab, services: Services) -> list[WakeUp]:
    """Deliver messages without delay; returns those with one, which name nothing."""
    messages = lab.wake_ups()
    for wake_up in messages:
        if wake_up != WakeUp():
            lab.answer_wake_up(services, wake_up)
    return [wake_up for wake_up in messages if wake_up == WakeUp()]
