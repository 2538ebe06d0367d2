"""An owner's single request does not wait for all earlier requests of another owner."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.callers import Caller
from chalicelib.capacity.turns import Turns
from chalicelib.errors import LimitError
from chalicelib.jobs.model import Invocation, Priority, State
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab, check_jobs


@pytest.fixture
def lab(job_lab: JobLab) -> JobLab:
    job_lab.begin()
    job_lab.config = replace(job_lab.config, jobs_capacity=1, jobs_kept_for_critical=0)
    return job_lab


def ask(lab: JobLab, services: Services, owner: str, **facts) -> str:
    """An owner requests one run, 10 ms after the last request."""
    lab.now.move(0.01)
    draft = services.jobs.invocations.draft(
        job="report", owner=owner, parameters=None, callback_base_url="http://d", **facts
    )
    caller = Caller(owner, owner, is_operator=owner == "operator")
    return services.jobs.invocations.accept(draft, by=caller).id


def start_one(lab: JobLab, services: Services) -> Invocation:
    """Returns the next launched invocation, after it ran to its end."""
    lab.now.move(0.1)  # no more than so many a second are started
    assert services.jobs.launcher.run(capacity_freed=True) == 1
    (launched,) = (i for i in lab.invocations().values() if i.state is State.LAUNCHED)
    container = lab.job_of(launched.id)
    lab.ask(services, container)
    lab.end(container)
    lab.report(services, container)
    return lab.invocations()[launched.id]


def test_one_run_of_another_owner_starts_among_the_next_two(lab: JobLab) -> None:
    services = lab.process()
    of_ann = [ask(lab, services, "ann") for _ in range(20)]
    assert [start_one(lab, services).id for _ in range(3)] == of_ann[:3]
    bob = ask(lab, services, "bob")
    assert bob in [start_one(lab, services).id for _ in range(2)]
    assert start_one(lab, services).owner == "ann"
    check_jobs(lab)


def test_ahead_says_how_many_go_first(lab: JobLab) -> None:
    services = lab.process()
    ask(lab, services, "ann")
    start_one(lab, services)
    for _ in range(9):
        ask(lab, services, "ann")
    start_one(lab, services)
    bob = ask(lab, services, "bob")
    why = services.jobs.invocations.why_it_waits(lab.invocations()[bob])
    assert why is not None
    assert why["ahead"] <= 1


def test_the_runs_of_operators_and_deferred_ones_have_turns_too(lab: JobLab) -> None:
    services = lab.process()
    later = lab.now() + 60
    deferred = [ask(lab, services, "operator", at=later) for _ in range(5)]
    lab.now.move(61)
    for each in deferred:
        services.jobs.invocations.came_due(each)
    first = start_one(lab, services)
    assert first.id == deferred[0]
    bob = ask(lab, services, "bob")
    assert bob in [start_one(lab, services).id for _ in range(2)]


def test_runs_that_were_killed_while_they_waited_cost_their_owner_no_turn(lab: JobLab) -> None:
    services = lab.process()
    for each in [ask(lab, services, "ann") for _ in range(8)]:
        services.jobs.invocations.kill(each, "not wanted any more")
    wanted = ask(lab, services, "ann")
    others = [ask(lab, services, f"owner-{number}") for number in range(5)]
    started = [start_one(lab, services).id for _ in range(6)]
    assert started.index(wanted) <= 1
    assert {*started} == {wanted, *others}


def test_runs_that_were_refused_cost_their_owner_no_turn(lab: JobLab) -> None:
    lab.config = replace(lab.config, jobs_per_owner=1)
    services = lab.process()
    first = ask(lab, services, "ann")
    for _ in range(8):
        with pytest.raises(LimitError):
            ask(lab, services, "ann")
    assert start_one(lab, services).id == first
    wanted = ask(lab, services, "ann")
    others = [ask(lab, services, f"owner-{number}") for number in range(5)]
    started = [start_one(lab, services).id for _ in range(6)]
    assert started.index(wanted) <= 1
    assert {*started} == {wanted, *others}


def test_records_of_the_version_before_go_first_in_their_order(lab: JobLab) -> None:
    services = lab.process()
    ids = [ask(lab, services, "ann") for _ in range(3)]
    for each in ids:
        record = services.jobs.table.get(each)
        assert record is not None
        services.jobs.table.replace(record, replace(record, turn=None))
    newer = ask(lab, services, "ann")
    assert [start_one(lab, services).id for _ in range(4)] == [*ids, newer]


ASKS = st.sampled_from(["ann", "bob", "cem", "operator"])


@settings(max_examples=40)
@given(st.lists(st.one_of(ASKS, st.just("start")), max_size=40))
def test_an_only_run_is_passed_over_by_at_most_one_of_each_other_owner(
    job_lab: JobLab, steps: list[str]
) -> None:
    job_lab.begin()
    turns, now = Turns(job_lab.process().jobs.table.items), 1_800_000_000.0
    waiting: list[tuple[int, int, str]] = []
    started: list[tuple[int, str]] = []
    for number, step in enumerate([*steps, *["start"] * len(steps)]):
        now += 0.25
        if step != "start":
            waiting.append((turns.next("jobs/normal", step, now), number, step))
        elif waiting:
            turn, asked, owner = min(waiting)
            waiting.remove((turn, asked, owner))
            turns.started("jobs/normal", turn)
            started.append((asked, owner))
    assert len(started) == len(steps) - steps.count("start")
    for owner in {owner for _, owner in started}:
        own = [asked for asked, of in started if of == owner]
        assert own == sorted(own), "an owner's own runs start in the order in which they were asked"
        if len(own) == 1:
            earlier = started[: started.index((own[0], owner))]
            later = [of for asked, of in earlier if asked > own[0]]
            assert len(later) == len(set(later))


def test_each_priority_has_turns_of_its_own(lab: JobLab) -> None:
    services = lab.process()
    for _ in range(3):
        ask(lab, services, "operator", priority=Priority.LOW)
    normal = ask(lab, services, "operator")
    record = lab.invocations()[normal]
    assert record.turn == 0
