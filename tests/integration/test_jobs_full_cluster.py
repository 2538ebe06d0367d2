"""Jobs on a full cluster whose capacity provider brings hosts late: waiting is no failed start."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.jobs.answers import show_invocation
from chalicelib.jobs.model import Invocation, Priority, Reason, State
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab, check_jobs, check_rest, run_to_their_ends

WAITING_JOBS = 4
ECS_GIVES_UP_SECONDS = 1_300


@pytest.fixture
def lab(job_lab: JobLab) -> JobLab:
    """No host, room for more than may wait at ECS, one waiting place kept for critical jobs."""
    job_lab.begin(is_full=True, capacity=20)
    job_lab.config = replace(job_lab.config, waiting_jobs=WAITING_JOBS)
    return job_lab


def invoke(services: Services, priority: Priority = Priority.NORMAL, **facts: Any) -> Invocation:
    fields = {"job": "report", "owner": "me", "parameters": None} | facts
    draft = services.jobs.invocations.draft(
        callback_base_url="http://dispatcher", priority=priority, **fields
    )
    return services.jobs.invocations.accept(draft)


@pytest.mark.parametrize("priority", list(Priority))
def test_full_hosts_hold_up_nobody_on_fargate(lab: JobLab, priority: Priority) -> None:
    lab.give_fargate()
    lab.deploy_job("far", launchType="FARGATE", cpu=256, memory=512)
    services = lab.process()
    near = [invoke(services) for _ in range(WAITING_JOBS + 2)]
    far = [invoke(services, priority, job="far") for _ in range(2)]
    services.jobs.launcher.run()
    assert {record(lab, one).state for one in far} == {State.LAUNCHED}
    assert sum(record(lab, one).state is State.QUEUED for one in near) == 3, "these wait in order"
    assert lab.waiting_count() == WAITING_JOBS - 1, "Fargate has no host to wait for"
    lab.add_host()
    finish_all(lab, services)
    assert {i.reason for i in lab.invocations().values()} == {Reason.SUCCEEDED}
    check_rest(lab, kills=set())


def test_fargate_without_room_holds_up_nobody_on_hosts(lab: JobLab) -> None:
    lab.give_fargate(cpu_units=256)
    lab.deploy_job("far", launchType="FARGATE", cpu=256, memory=512)
    services = lab.process()
    far = [invoke(services, job="far") for _ in range(2)]
    near = invoke(services)
    services.jobs.launcher.run()
    assert [record(lab, one).state for one in far] == [State.LAUNCHED, State.QUEUED]
    assert record(lab, near).state is State.LAUNCHED
    lab.add_host()
    finish_all(lab, services)
    assert {i.reason for i in lab.invocations().values()} == {Reason.SUCCEEDED}
    check_rest(lab, kills=set())


def record(lab: JobLab, invocation: Invocation) -> Invocation:
    return lab.invocations()[invocation.id]


def waits_at_ecs(lab: JobLab) -> set[str]:
    return {i.id for i in lab.invocations().values() if i.state is State.LAUNCHED}


def finish_all(lab: JobLab, services: Services, rounds: int = 6) -> None:
    """All run to their ends as fast as the launcher and the capacity allow."""
    for _ in range(rounds):
        lab.deliver_events(services)
        run_to_their_ends(lab, services)
        lab.now.move(61)
        lab.sweep(services)


def test_an_invocation_waits_for_a_host_and_says_so(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services)
    services.jobs.launcher.run()
    waiting = record(lab, made)
    assert (waiting.state, waiting.waits_for_host) == (State.LAUNCHED, True)
    assert show_invocation(waiting, None)["detail"] == "waiting for a host"
    assert lab.places_taken() == 1, "what waits for a host holds its place"
    assert lab.waiting_count() == 1
    for _ in range(15):  # longer than the start deadline, which counts from the host on
        lab.now.move(61)
        lab.sweep(services)
    assert (record(lab, made).state, record(lab, made).start_failures) == (State.LAUNCHED, 0)
    lab.add_host()
    lab.send_all_of_jobs(services)  # a request for a start permit proves that there is a host
    found = record(lab, made)
    assert not found.waits_for_host
    assert found.detail is None
    assert lab.waiting_count() == 0
    finish_all(lab, services, 2)
    assert record(lab, made).reason is Reason.SUCCEEDED
    assert lab.runs[made.id] == 1
    check_rest(lab, kills=set())


def test_a_bounded_number_waits_at_ecs_and_critical_ones_have_a_place(lab: JobLab) -> None:
    services = lab.process()
    low = [invoke(services, Priority.LOW) for _ in range(6)]
    services.jobs.launcher.run()
    assert len(waits_at_ecs(lab)) == WAITING_JOBS - 1
    details = [record(lab, one).detail for one in low if record(lab, one).state is State.QUEUED]
    assert "too many containers wait for hosts; they go first" in details, "the head says why"
    critical = invoke(services, Priority.CRITICAL)
    services.jobs.launcher.run()
    assert record(lab, critical).state is State.LAUNCHED, "not held behind what is less important"
    another = invoke(services, Priority.CRITICAL)
    services.jobs.launcher.run()
    assert record(lab, another).state is State.QUEUED
    assert lab.places_taken() == len(waits_at_ecs(lab)) == WAITING_JOBS
    assert lab.waiting_count() == WAITING_JOBS
    check_jobs(lab)
    lab.add_host()
    finish_all(lab, services)
    assert {i.reason for i in lab.invocations().values()} == {Reason.SUCCEEDED}
    check_rest(lab, kills=set())
    assert lab.waiting_count() == 0


def test_the_head_of_the_line_goes_first_when_one_may_wait_again(lab: JobLab) -> None:
    services = lab.process()
    first = [invoke(services) for _ in range(WAITING_JOBS - 1)]
    services.jobs.launcher.run()
    lab.now.move(1)
    head = invoke(services)
    lab.now.move(1)
    lower = invoke(services, Priority.LOW)
    services.jobs.launcher.run()
    assert [record(lab, one).state for one in (head, lower)] == [State.QUEUED] * 2
    services.jobs.invocations.kill(first[0].id, "asked to")
    lab.deliver_events(services)
    services.jobs.launcher.run(capacity_freed=True)
    assert record(lab, head).state is State.LAUNCHED
    assert record(lab, lower).state is State.QUEUED


def test_at_not_after_it_expires_and_its_task_is_stopped(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services, not_after=lab.now() + 300)
    services.jobs.launcher.run()
    assert lab.running()
    lab.now.move(299)
    lab.sweep(services)
    assert record(lab, made).state is State.LAUNCHED
    lab.now.move(2)
    lab.sweep(services)
    ended = record(lab, made)
    assert (ended.state, ended.reason, ended.start_failures) == (State.EXPIRED, Reason.EXPIRED, 0)
    lab.settle()
    check_rest(lab, kills=set())
    assert lab.waiting_count() == 0
    lab.add_host()
    assert lab.runs == {}


def test_a_host_at_the_deadline_finds_no_permit(lab: JobLab) -> None:
    """The record expires first; a container that a late host starts meanwhile is refused."""
    services = lab.process()
    made = invoke(services, not_after=lab.now() + 300)
    services.jobs.launcher.run()
    lab.now.move(301)
    lab.faults.set({"calls": {"ecs.StopTask": {"fail_before": {}}}})
    lab.sweep(services)
    lab.faults.set({})
    assert record(lab, made).state is State.EXPIRED
    lab.add_host()
    lab.send_all_of_jobs(services)
    assert lab.runs[made.id] == 0
    lab.now.move(61)
    lab.sweep(services)
    lab.settle()
    check_rest(lab, kills=set())


def test_one_killed_while_it_waits_leaves_nothing(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services)
    services.jobs.launcher.run()
    services.jobs.invocations.kill(made.id, "asked to")
    lab.deliver_events(services)
    assert record(lab, made).reason is Reason.KILLED
    lab.add_host()
    check_rest(lab, kills={made.id})
    assert lab.waiting_count() == 0


def test_what_ecs_gives_up_is_queued_again_without_a_failed_start(lab: JobLab) -> None:
    services = lab.process()
    made = invoke(services)
    services.jobs.launcher.run()
    lab.now.move(ECS_GIVES_UP_SECONDS)
    lab.tasks()
    lab.deliver_events(services)
    again = record(lab, made)
    assert (again.state, again.attempt, again.start_failures) == (State.QUEUED, 2, 0)
    assert lab.places_taken() == 0
    assert lab.waiting_count() == 0
    services.jobs.launcher.run()
    assert record(lab, made).waits_for_host
    lab.add_host()
    finish_all(lab, services, 2)
    assert record(lab, made).reason is Reason.SUCCEEDED
    check_rest(lab, kills=set())


def test_the_count_of_what_waits_is_corrected_by_the_sweep(lab: JobLab) -> None:
    services = lab.process()
    for _ in range(2):
        invoke(services)
    services.jobs.launcher.run()
    counts = HostsWanted(services.jobs.table.items)
    (counted, attempt), _ = counts.members(JOBS)
    counts.remove(JOBS, counted, attempt)
    for _ in range(7):
        counts.add(JOBS, str(uuid.uuid4()), 1)
    assert lab.waiting_count() == 8
    lab.now.move(61)
    lab.sweep(services)
    assert lab.waiting_count() == 2
