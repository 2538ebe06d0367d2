"""A full cluster whose capacity provider adds hosts late, or never: sessions wait until their
deadline.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from chalicelib.sessions.model import Reason, Session, State
from chalicelib.wiring import Services
from tests.integration.lab import Lab, check_at_rest

APPS = """
[apps.chat]
image = "chat"
cpu = 256
memory = 256
queue_seconds = 300
"""


@contextmanager
def lab_without_hosts() -> Iterator[Lab]:
    """No host at all, and a provider that brings none by itself."""
    lab = Lab()
    lab.fresh(APPS)
    lab.use_provider()
    lab.config = replace(lab.config, waiting_sessions=3)
    yield lab
    lab.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_without_hosts() as lab:
        yield lab


def ask(lab: Lab, services: Services, count: int) -> list[Session]:
    """`count` clients request a session and do not wait for the answer."""
    return [
        services.sessions.service.dispatch(lab.request("chat", f"user-{number}"))
        for number in range(count)
    ]


def test_six_requests_on_a_full_cluster_wait_and_get_their_sessions(lab: Lab) -> None:
    services = lab.process()
    asked = ask(lab, services, 6)
    assert {session.state for session in asked} == {State.QUEUED}
    assert all(session.queue_position for session in asked)
    assert len(lab.running()) == 3, "so many may wait at ECS, the rest waits here"
    lab.now.move(200)
    lab.sweep(services)
    assert {session.state for session in lab.sessions().values()} == {State.QUEUED}
    lab.add_host()
    for _ in range(6):
        lab.now.move(20)
        lab.deliver_events(services)
        lab.send_all(services)
        lab.take_messages(services)
    states = [session.state for session in lab.sessions().values()]
    assert states == [State.RESERVED] * 6


def test_at_the_deadline_it_is_over_and_no_failed_start(lab: Lab) -> None:
    services = lab.process()
    ask(lab, services, 6)
    lab.now.move(301)
    lab.take_messages(services)
    lab.sweep(services)
    lab.deliver_events(services)
    ended = lab.sessions().values()
    assert {(s.state, s.reason) for s in ended} == {(State.ENDED, Reason.QUEUE_TIMEOUT)}
    assert lab.running() == {}
    assert services.sessions.table.read_pool("chat")[0].failing == {}
    assert ask(lab, services, 1)[0].state is State.QUEUED, "the breaker is closed"


def test_an_owner_who_leaves_while_waiting_leaves_nothing(lab: Lab) -> None:
    services = lab.process()
    (session,) = ask(lab, services, 1)
    services.sessions.service.stop(session.id, Reason.STOPPED, "asked to")
    lab.deliver_events(services)
    (ended,) = lab.sessions().values()
    assert (ended.state, ended.reason) == (State.ENDED, Reason.STOPPED)
    lab.add_host()
    assert lab.running() == {}
    check_at_rest(lab)


def test_a_host_that_comes_with_the_deadline_is_one_way_or_the_other(lab: Lab) -> None:
    services = lab.process()
    ask(lab, services, 1)
    lab.now.move(300)
    lab.add_host()
    lab.take_messages(services)
    lab.deliver_events(services)
    lab.send_all(services)
    lab.sweep(services)
    (session,) = lab.sessions().values()
    if session.state is State.RESERVED:
        assert session.task_arn in lab.running()
    else:
        assert (session.state, session.reason) == (State.ENDED, Reason.QUEUE_TIMEOUT)
        assert lab.running() == {}


def test_what_ecs_gives_up_is_asked_for_again(lab: Lab) -> None:
    services = lab.process()
    (session,) = ask(lab, services, 1)
    record = services.sessions.table.get(session.id)
    assert record is not None
    services.sessions.table.replace(record, replace(record, not_after=lab.now() + 5_000))
    lab.now.move(1_300)
    lab.tasks()
    lab.deliver_events(services)
    again = lab.sessions()[session.id]
    assert (again.state, again.attempt, again.task_arn) == (State.QUEUED, 2, None)
    lab.take_messages(services)
    assert lab.sessions()[session.id].waits_for_host
    lab.add_host()
    lab.deliver_events(services)
    lab.send_all(services)
    assert lab.sessions()[session.id].state is State.RESERVED
