"""Sessions and jobs whose host a placement plug-in chooses, on the embedded ECS."""

import logging
from dataclasses import replace

import pytest

from chalicelib.errors import BadRequestError, ConfigurationError
from chalicelib.jobs.model import State as JobState
from chalicelib.sessions.model import State
from tests.integration.job_lab import JobLab, check_jobs, run_to_their_ends
from tests.integration.lab import Lab, check_invariants
from tests.integration.test_jobs_rules import invoke

MODULE = "tests.integration.placement_plugins"
APP = """
[apps.{name}]
image = "any"
cpu = 64
memory = 64

[apps.{name}.placement]
plugin = "{name}"
"""
APPS = "[limits]\ntotal = 9\nper_owner = 4\n" + "".join(
    APP.format(name=name) for name in ("last-host", "nowhere", "broken")
)
STARTS = "ecs.StartTask"


@pytest.fixture
def lab(session_lab: Lab) -> Lab:
    session_lab.fresh(APPS)
    session_lab.config = replace(session_lab.config, placement_module=MODULE)
    return session_lab


@pytest.fixture
def jobs(job_lab: JobLab) -> JobLab:
    job_lab.begin(others=("plain",))
    job_lab.config = replace(job_lab.config, placement_module=MODULE)
    job_lab.deploy_job("report", placement={"plugin": "last-host"})
    return job_lab


def dispatch(lab: Lab, app: str):
    services = lab.process()
    session = services.sessions.service.dispatch(lab.request(app, "somebody"))
    return services, session.id


def last_host(lab: Lab) -> str:
    return next(i.arn for i in lab.engine.instances() if i.name == "host-1")


def test_a_session_is_on_the_fittest_host(lab: Lab) -> None:
    _, session_id = dispatch(lab, "last-host")
    session = lab.sessions()[session_id]
    (task,) = lab.running().values()
    assert (task.arn, task.instance_arn) == (session.task_arn, last_host(lab))
    assert task.group == "family:usher-local-last-host"
    assert "ecs.RunTask" not in lab.wire.calls
    assert lab.wire.calls.count(STARTS) == 1
    check_invariants(lab)


def test_without_a_host_a_session_waits_and_says_why(lab: Lab) -> None:
    _, session_id = dispatch(lab, "nowhere")
    session = lab.sessions()[session_id]
    assert (session.state, session.task_arn) == (State.QUEUED, None)
    assert "plugin on 2" in (session.detail or "")
    assert STARTS not in lab.wire.calls


def test_one_that_waited_starts_when_a_host_takes_tasks_again(lab: Lab) -> None:
    with lab.without_room():
        services, session_id = dispatch(lab, "last-host")
        assert "draining on 2" in (lab.sessions()[session_id].detail or "")
    lab.now.move(5)
    lab.take_messages(services)
    assert lab.sessions()[session_id].task_arn in lab.running()


def test_a_plugin_that_raises_is_logged_and_its_sessions_wait(lab: Lab, caplog) -> None:
    with caplog.at_level(logging.ERROR, "usher.capacity"):
        _, session_id = dispatch(lab, "broken")
    assert lab.sessions()[session_id].state is State.QUEUED
    assert "LookupError: no such rack" in caplog.text
    assert "no such rack" not in (lab.sessions()[session_id].detail or "")


@pytest.mark.parametrize("fault", ["lose_reply", "fail_before"])
def test_after_a_lost_reply_a_session_has_one_task(lab: Lab, fault: str) -> None:
    lab.faults.set({"calls": {STARTS: {fault: {"times": 1}}}})
    services, session_id = dispatch(lab, "last-host")
    assert lab.sessions()[session_id].task_arn is None
    assert lab.wire.calls.count(STARTS) == 1
    lab.now.move(11)
    lab.take_messages(services)
    (task,) = lab.running().values()
    assert lab.sessions()[session_id].task_arn == task.arn
    assert len(lab.tasks()) == 1
    check_invariants(lab)


def test_a_host_that_went_meanwhile_is_no_failure(lab: Lab) -> None:
    services, first = dispatch(lab, "last-host")
    lab.drain_host(1)  # the look at the hosts is kept for two seconds
    second = services.sessions.service.dispatch(lab.request("last-host", "another")).id
    assert "DRAINING" in (lab.sessions()[second].detail or "")
    lab.now.move(5)
    lab.take_messages(services)
    tasks = {lab.sessions()[one].task_arn for one in (first, second)}
    assert tasks == set(lab.running())
    assert len({task.instance_arn for task in lab.running().values()}) == 2


def test_an_unknown_plugin_is_refused_with_the_one_that_is_meant(lab: Lab) -> None:
    services = lab.process()
    description = {"cpu": 64, "memory": 64, "placement": {"plugin": "last-hosts"}}
    with pytest.raises(BadRequestError, match=r"'last-hosts': did you mean last-host\?"):
        services.sessions.registry.register("web", "any", description)
    with pytest.raises(BadRequestError, match=r"'last-hosts': did you mean last-host\?"):
        services.jobs.catalog.register(
            "web", "any", {"name": "web", "placement": {"plugin": "last-hosts"}}
        )
    lab.config = replace(lab.config, placement_module=None)
    with pytest.raises(ConfigurationError, match=r"apps\.broken\.placement\.plugin: no placement"):
        lab.process()


def test_a_job_is_on_the_fittest_host_and_runs_to_its_end(jobs: JobLab) -> None:
    services = jobs.process()
    made = invoke(services)
    services.jobs.launcher.run()
    (task,) = jobs.running().values()
    assert (task.instance_arn, task.started_by) == (last_host(jobs), made.started_by)
    run_to_their_ends(jobs, services)
    assert jobs.runs[made.id] == 1
    check_jobs(jobs)


def test_a_job_that_finds_no_host_keeps_nobody_else_waiting(jobs: JobLab) -> None:
    jobs.deploy_job("report", placement={"plugin": "nowhere"})
    services = jobs.process()
    made, plain = invoke(services), invoke(services, job="plain")
    services.jobs.launcher.run()
    found = jobs.invocations()
    assert found[made.id].state is JobState.QUEUED
    assert "no host fits: plugin on 2" in (found[made.id].detail or "")
    assert found[plain.id].task_arn in jobs.running()


def test_after_a_lost_reply_a_job_runs_once(jobs: JobLab) -> None:
    jobs.faults.set({"calls": {STARTS: {"lose_reply": {"times": 1}}}})
    services = jobs.process()
    made = invoke(services)
    services.jobs.launcher.run()
    assert jobs.invocations()[made.id].state is JobState.LAUNCHING
    jobs.now.move(61)
    jobs.sweep(services)
    assert len(jobs.tasks()) == 1
    run_to_their_ends(jobs, services)
    assert jobs.runs[made.id] == 1
    check_jobs(jobs)
