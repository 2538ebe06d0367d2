"""The placement of sessions, and reasons for waiting, on the embedded ECS."""

from collections.abc import Iterator

import pytest

from chalicelib.capacity.answers import task_and_rules
from chalicelib.capacity.cluster_state import TaskKind
from chalicelib.capacity.placement import Cause, explain, simulate
from chalicelib.ecs.hosts import host_id_of
from chalicelib.ecs.task_definitions import family_of
from chalicelib.wiring import Services
from tests.integration.lab import Lab

APPS = """
[apps.chat]
image = "chat"
cpu = 1024
memory = 256

[apps.chat.pool]
minimum = 1

[apps.apart]
image = "chat"
cpu = 64
memory = 64

[apps.apart.placement]
anti_affinity = ["app:chat"]
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    lab.fresh(APPS)
    yield lab
    lab.close()


def quiet(lab: Lab, services: Services) -> None:
    """Deliver and run until all requested sessions run."""
    for _ in range(4):
        lab.deliver_events(services)
        lab.take_messages(services)
        lab.send_all(services)
        lab.now.move(2)


def question(lab: Lab, name: str):
    app = lab.config.apps.by_name[name]
    return task_and_rules(
        name=name,
        family=family_of(name, "local"),
        cpu=app.cpu,
        memory=app.memory,
        placement=app.placement,
        stage="local",
        provider=None,
    )


def test_the_view_says_what_each_host_has_and_whose_it_is(lab: Lab) -> None:
    services = lab.process()
    session = services.sessions.service.dispatch(lab.request("chat", "somebody"))
    quiet(lab, services)
    hosts = services.cluster_view.hosts()
    tasks = {task.id: task for host in hosts for task in host.tasks}
    kinds = sorted(task.kind for task in tasks.values())
    assert kinds == [TaskKind.SESSION, TaskKind.WARM]
    mine = tasks[lab.sessions()[session.id].task_arn]
    assert (mine.kind, mine.group) == (TaskKind.SESSION, "family:usher-local-chat")
    assert mine.ends_by is not None
    assert mine.ends_by > lab.now() + 14_000


def test_it_is_on_the_host_that_the_explanation_named(lab: Lab) -> None:
    services = lab.process()
    services.sessions.service.dispatch(lab.request("chat", "somebody"))
    quiet(lab, services)
    task, rules = question(lab, "apart")
    before = explain(task, rules, services.cluster_view.hosts())
    session = services.sessions.service.dispatch(lab.request("apart", "somebody"))
    arn = lab.sessions()[session.id].container_instance
    if before.best:
        assert arn is not None
        assert host_id_of(arn) in before.best
    else:
        assert arn is None
        assert before.causes[Cause.CONSTRAINT] == len(before.considered)


def test_a_dry_run_agrees_with_what_then_happens(lab: Lab) -> None:
    services = lab.process()
    task, rules = question(lab, "chat")
    hosts = services.cluster_view.hosts()
    dry = simulate(task, rules, hosts, 100)
    started = 0
    for number in range(100):
        asked = services.sessions.service.dispatch(lab.request("chat", f"user-{number}"))
        if lab.sessions()[asked.id].task_arn is None:
            break
        started += 1
    assert started == sum(dry.placed.values())
    assert dry.missing_causes[Cause.CPU] == len(hosts)
