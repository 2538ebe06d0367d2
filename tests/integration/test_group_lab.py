"""Three groups compete for one cluster: guarantees are held at every step, counts are exact."""

import pytest

from chalicelib.errors import BadRequestError
from chalicelib.jobs.model import State as JobState
from chalicelib.sessions.model import State
from chalicelib.wiring import Services
from tests.integration.group_lab import GroupLab, check_groups

GROUPS = """
default = "batch"
[cluster]
places = 12
[groups.live]
tier = "critical"
guarantee = { places = 4 }
[groups.reports]
guarantee = { places = 3 }
weight = 2
[groups.batch]
"""
APPS = """
[apps.chat]
image = "any"
cpu = 16
memory = 16
group = "live"
queue_seconds = 3600
[apps.demo]
image = "any"
cpu = 16
memory = 16
queue_seconds = 3600
"""
JOBS = {"report": "reports", "crunch": "batch"}


@pytest.fixture
def lab(group_lab: GroupLab) -> GroupLab:
    group_lab.begin_groups(GROUPS, APPS, JOBS)
    return group_lab


def taken(lab: GroupLab) -> dict[str, int]:
    return {name: standing.taken.places for name, standing in lab.standings().items()}


def launch_jobs(lab: GroupLab, services: Services) -> None:
    """Launch all that may be; no more than so many a second are started."""
    while services.jobs.launcher.run(capacity_freed=True):
        lab.now.move(1)


def test_borrowed_places_leave_a_critical_guarantee_free(lab: GroupLab) -> None:
    services = lab.process()
    for _ in range(20):
        lab.job(services, "crunch", "ann")
    launch_jobs(lab, services)
    assert taken(lab) == {"live": 0, "reports": 0, "batch": 8}
    check_groups(lab)
    states = [lab.session(services, "chat", f"owner-{n}").state for n in range(5)]
    assert states == [State.STARTING] * 4 + [State.QUEUED]
    check_groups(lab)


def test_who_has_lent_gets_the_next_places(lab: GroupLab) -> None:
    services = lab.process()
    crunching = [lab.job(services, "crunch", "ann") for _ in range(20)]
    launch_jobs(lab, services)
    reports = [lab.job(services, "report", "bob") for _ in range(3)]
    launch_jobs(lab, services)
    assert taken(lab)["reports"] == 0
    for each in crunching[:4]:
        container = lab.job_of(each)
        lab.ask(services, container)
        lab.end(container)
        lab.report(services, container)
        lab.now.move(1)
        launch_jobs(lab, services)
        check_groups(lab)
    assert taken(lab) == {"live": 0, "reports": 3, "batch": 5}
    assert {lab.invocations()[each].state for each in reports} == {JobState.LAUNCHED}


def test_a_session_that_waits_starts_when_one_of_its_group_ends(lab: GroupLab) -> None:
    services = lab.process()
    first = [lab.session(services, "demo", "ann") for _ in range(8)]
    assert taken(lab)["batch"] == 8
    waits = [lab.session(services, "demo", "ann") for _ in range(3)]
    of_bob = lab.session(services, "demo", "bob")
    assert [each.queue_position for each in waits] == [1, 2, 3]
    check_groups(lab)
    lab.send_all(services)
    lab.deliver_events(services)
    for each in first[:2]:
        lab.exit(lab.container_of(each.id))
        lab.deliver_events(services)
    lab.take_messages(services)
    check_groups(lab)
    now = lab.sessions()
    started = {s.id for s in (*waits, of_bob) if now[s.id].state is not State.QUEUED}
    assert started == {waits[0].id, of_bob.id}


def test_a_host_that_dies_leaves_the_counts_exact(lab: GroupLab) -> None:
    services = lab.process()
    for _ in range(10):
        lab.job(services, "crunch", "ann")
    launch_jobs(lab, services)
    for number in range(3):
        lab.session(services, "chat", f"owner-{number}")
    check_groups(lab)
    before = sum(taken(lab).values())
    lab.kill_host(0)
    lab.deliver_events(services)
    check_groups(lab)
    assert sum(taken(lab).values()) < before


def test_a_group_that_is_not_there_is_refused_with_the_name_that_was_meant(lab: GroupLab) -> None:
    services = lab.process()
    with pytest.raises(BadRequestError, match="did you mean reports"):
        services.jobs.catalog.register("new", "any", {"name": "new", "group": "report"})
    with pytest.raises(BadRequestError, match="did you mean live"):
        services.sessions.registry.register("new", "any", {"group": "liv"})


WITHOUT_REPORTS = GROUPS.replace("[groups.reports]\nguarantee = { places = 3 }\nweight = 2\n", "")


def test_an_invocation_whose_group_is_removed_from_the_file_starts_in_the_default_one(
    lab: GroupLab,
) -> None:
    before = lab.process()
    ids = [lab.job(before, "report", owner) for owner in ("ann", "ann", "bob")]
    lab.configure(WITHOUT_REPORTS)
    services = lab.process()
    launch_jobs(lab, services)
    assert not any(lab.invocations()[each].state is JobState.LAUNCHED for each in ids)
    lab.sweep(services)
    launch_jobs(lab, services)
    assert {lab.invocations()[each].state for each in ids} == {JobState.LAUNCHED}
    assert {lab.invocations()[each].group for each in ids} == {None}
    assert taken(lab) == {"live": 0, "batch": 3}
    check_groups(lab)


def test_an_invocation_that_waits_in_what_is_now_the_default_group_starts(lab: GroupLab) -> None:
    waits = lab.job(lab.process(), "report", "ann")
    lab.configure(GROUPS.replace('default = "batch"', 'default = "reports"'))
    services = lab.process()
    lab.sweep(services)
    launch_jobs(lab, services)
    assert lab.invocations()[waits].state is JobState.LAUNCHED
    assert taken(lab) == {"live": 0, "reports": 1, "batch": 0}


def test_a_session_whose_group_is_removed_from_the_file_waits_in_the_default_one(
    lab: GroupLab,
) -> None:
    before = lab.process()
    first = [lab.session(before, "demo", "ann") for _ in range(8)]
    others = [lab.session(before, "demo", "bob") for _ in range(2)]
    lab.configure(GROUPS.replace("batch", "other"))
    services = lab.process()
    lab.take_messages(services)
    assert {lab.sessions()[each.id].waits_in for each in others} == {"other"}
    assert services.sessions.table.count_waiting("other") == len(others)
    lab.send_all(services)
    lab.deliver_events(services)
    lab.exit(lab.container_of(first[0].id))
    lab.deliver_events(services)
    lab.take_messages(services)
    states = [lab.sessions()[each.id].state for each in others]
    assert states == [State.STARTING, State.QUEUED]
