"""A claim, a launch or an end fails at any write: the counts of groups stay exact.

After each point the events and messages are lost; the sweep and the containers repair what is left.
"""

from collections.abc import Callable

import pytest

from chalicelib.capacity.groups import Amount
from chalicelib.sessions.model import State
from chalicelib.wiring import Services
from tests.integration.crash_points import CONFLICTING, act, chosen
from tests.integration.group_lab import GroupLab, check_groups
from tests.integration.job_lab import Phase
from tests.integration.lab import Lab
from tests.integration.wire import Fate, Point

GROUPS = """
default = "batch"
[cluster]
places = 2
[groups.live]
tier = "critical"
guarantee = { places = 1 }
[groups.batch]
"""
APPS = """
[apps.chat]
image = "any"
cpu = 16
memory = 16
group = "live"
queue_seconds = 60
"""
COUNTED = (*CONFLICTING, "dynamodb.UpdateItem", "ecs.RunTask")
"""Calls that count, or start what is counted."""
FATES = (Fate.DIES_BEFORE, Fate.DIES_AFTER, Fate.REPLY_LOST, Fate.CONFLICTS)
PAUSES = (1, 61, 61, 640, 61, 61)
"""Seconds before each sweep."""


def fates_of(number: int, call: str) -> list[Fate]:
    """Two of the fates of a call, all with CRASH_POINTS=all."""
    if call not in COUNTED:
        return []
    return chosen(number, FATES if call in CONFLICTING else FATES[:-1])


def run_waits(lab: GroupLab, services: Services) -> Callable[[], object]:
    lab.job(services, "crunch", "ann")
    return services.jobs.launcher.run


def run_has_ended(lab: GroupLab, services: Services) -> Callable[[], object]:
    invocation = lab.job(services, "crunch", "ann")
    services.jobs.launcher.run()
    container = lab.job_of(invocation)
    lab.ask(services, container)
    lab.end(container)
    return lambda: lab.report(services, container)


def session_is_asked_for(lab: GroupLab, services: Services) -> Callable[[], object]:
    return lambda: lab.session(services, "chat", "bob")


def session_waits(lab: GroupLab, services: Services) -> Callable[[], object]:
    """The second one of a group, when the first one has ended."""
    runs = [lab.session(services, "chat", owner) for owner in ("ann", "bob")]
    waits = lab.session(services, "chat", "cyd")
    assert (waits.state, waits.waits_in) == (State.QUEUED, "live")
    lab.send_all(services)
    lab.exit(lab.container_of(runs[0].id))
    lab.deliver_events(services)
    return lambda: services.sessions.launches.start_waiting("live")


def session_has_ended(lab: GroupLab, services: Services) -> Callable[[], object]:
    session = lab.session(services, "chat", "bob")
    lab.send_all(services)
    lab.exit(lab.container_of(session.id))
    ends = lab.events()
    return lambda: [lab.deliver(services, event) for event in ends]


STORIES = (run_waits, run_has_ended, session_is_asked_for, session_waits, session_has_ended)


def repair(lab: GroupLab) -> None:
    """Time passes: containers send their callbacks and end, and the sweep runs."""
    for pause in PAUSES:
        lab.now.move(pause)
        services = lab.process()
        lab.send_all(services)
        for container in lab.jobs:
            if container.running and container.phase is Phase.RUNNING:
                lab.end(container)
        lab.send_all_of_jobs(services)
        lab.events()  # and they are lost
        for counts in (lab.sweep(services), Lab.sweep(lab, services)):
            assert "failed" not in counts
        check_groups(lab)
        if is_over(lab):
            return
    for left in lab.containers:
        lab.exit(left)
    services = lab.process()
    lab.deliver_events(services)
    Lab.sweep(lab, services)


def is_over(lab: GroupLab) -> bool:
    jobs, sessions = lab.invocations().values(), lab.sessions().values()
    return all(j.has_ended for j in jobs) and all(s.state is State.ENDED for s in sessions)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_counts_are_exact_after_repair(
    group_lab: GroupLab, story: Callable[[GroupLab, Services], Callable[[], object]]
) -> None:
    group_lab.begin_groups(GROUPS, APPS, {"crunch": "batch"})
    calls = act(group_lab, story(group_lab, group_lab.process()), None).calls
    points = [Point(n, fate) for n, call in enumerate(calls, 1) for fate in fates_of(n, call)]
    assert points, calls
    for point in points:
        group_lab.begin_groups(GROUPS, APPS, {"crunch": "batch"})
        act(group_lab, story(group_lab, group_lab.process()), point)
        check_groups(group_lab)
        repair(group_lab)
        check_groups(group_lab)
        assert is_over(group_lab), f"{point} of {calls}"
        taken = {name: standing.taken for name, standing in group_lab.standings().items()}
        assert taken == {"live": Amount(), "batch": Amount()}, f"{point} of {calls}"
