"""Parallel runs of one owner, and the log fields of each invocation."""

import logging
from dataclasses import replace

import pytest

from chalicelib.callers import Caller
from chalicelib.jobs.model import Invocation, State
from chalicelib.jobs.quotas import running_quota
from chalicelib.jobs.table import NotClaimed
from chalicelib.wiring import Services
from tests.integration.job_lab import JobLab, check_jobs, check_rest, run_to_their_ends


@pytest.fixture
def lab(job_lab: JobLab) -> JobLab:
    job_lab.begin()
    return job_lab


def finishes(lab: JobLab, services: Services, invocation_id: str) -> None:
    """Its container starts, runs and reports."""
    container = lab.job_of(invocation_id)
    lab.ask(services, container)
    lab.end(container)
    lab.report(services, container)


def accept_as(services: Services, owner: str, **facts) -> Invocation:
    draft = services.jobs.invocations.draft(
        job="report", owner=owner, parameters=None, callback_base_url="http://d", **facts
    )
    return services.jobs.invocations.accept(draft, by=Caller(owner, owner))


def test_an_owner_at_its_quota_waits_says_why_and_holds_up_nobody(lab: JobLab) -> None:
    lab.config = replace(lab.config, jobs_running_per_owner=2, jobs_capacity=4)
    services = lab.process()
    of_ann = [accept_as(services, "ann") for _ in range(4)]
    of_bob = accept_as(services, "bob")
    assert services.jobs.launcher.run() == 3
    found = lab.invocations()
    launched = [i for i in of_ann if found[i.id].state is State.LAUNCHED]
    queued = [i for i in of_ann if found[i.id].state is State.QUEUED]
    assert (len(launched), len(queued)) == (2, 2)
    assert found[of_bob.id].state is State.LAUNCHED
    waiting = services.jobs.invocations.why_it_waits(found[queued[0].id])
    assert waiting is not None
    assert waiting["because"] == "2 of its owner run, and no more than 2 may at once"
    check_jobs(lab)

    finishes(lab, services, launched[0].id)
    for wake_up in lab.wake_ups():
        lab.answer_wake_up(services, wake_up)
    found = lab.invocations()
    assert sorted(found[i.id].state for i in queued) == [State.LAUNCHED, State.QUEUED]
    run_to_their_ends(lab, services)
    for _ in range(2):
        for wake_up in lab.wake_ups():
            lab.answer_wake_up(services, wake_up)
        run_to_their_ends(lab, services)
    check_rest(lab, kills=set())
    counts = [i for i in lab.job_items() if i["id"]["S"].startswith("quota#running#")]
    assert [int(count["n"]["N"]) for count in counts] == [0, 0]


def test_launchers_at_once_never_exceed_an_owners_quota(lab: JobLab) -> None:
    lab.config = replace(lab.config, jobs_running_per_owner=1)
    services = lab.process()
    first, second = (accept_as(services, "ann") for _ in range(2))
    stale = replace(first, is_limited=True)
    assert services.jobs.launcher.run() == 1
    quota = running_quota(stale, 1, lab.now())
    assert quota is not None
    seen = lab.invocations()[second.id]
    table = services.jobs.table
    refused = table.claim(seen, seen, (NotClaimed.OWNER, table.counted(quota)))
    assert refused is NotClaimed.OWNER
    assert lab.places_taken() == 1


def test_every_line_about_an_invocation_has_its_id_job_and_image(
    lab: JobLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lines.append)
    logger = logging.getLogger("usher.jobs")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        services = lab.process()
        run, killed, given_up = (accept_as(services, "ann") for _ in range(3))
        services.jobs.launcher.run()
        finishes(lab, services, run.id)
        container = lab.job_of(given_up.id)
        lab.end_process(container, 1)
        services.jobs.invocations.kill(killed.id, "asked")
        for _ in range(3):
            lab.sweep(services)
            run_to_their_ends(lab, services)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    about = {getattr(line, "invocation", None) for line in lines}
    assert {run.id, killed.id, given_up.id} <= about
    for line in lines:
        assert None not in {getattr(line, n, None) for n in ("invocation", "job", "image")}, line
