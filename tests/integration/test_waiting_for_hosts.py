"""A full cluster whose capacity provider brings hosts late, or never: sessions wait, as told."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib.sessions import service
from chalicelib.sessions.model import Reason, Session, State
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.service import WAITS_OF_AN_OWNER, WAITS_SECONDS
from chalicelib.wiring import Services
from tests.integration.lab import Lab, check_at_rest

APPS = """
[apps.chat]
image = "chat"
cpu = 256
memory = 256
queue_seconds = 300
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """No host at all, and a provider that brings none by itself."""
    lab = Lab()
    lab.fresh(APPS)
    lab.use_provider()
    lab.config = replace(lab.config, waiting_sessions=3)
    yield lab
    lab.close()


def ask(lab: Lab, services: Services, count: int) -> list[Session]:
    """Six people come, and nobody waits for the answer."""
    return [
        services.sessions.dispatch(lab.request("chat", f"user-{number}")) for number in range(count)
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
        lab.all_speak(services)
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
    assert services.table.read_pool("chat")[0].failing == {}
    assert ask(lab, services, 1)[0].state is State.QUEUED, "the breaker is closed"


def test_an_owner_who_leaves_while_waiting_leaves_nothing(lab: Lab) -> None:
    services = lab.process()
    (session,) = ask(lab, services, 1)
    services.sessions.stop(session.id, Reason.STOPPED, "asked to")
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
    lab.all_speak(services)
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
    record = services.table.get(session.id)
    assert record is not None
    services.table.replace(record, replace(record, not_after=lab.now() + 5_000))
    lab.now.move(1_300)
    lab.tasks()
    lab.deliver_events(services)
    again = lab.sessions()[session.id]
    assert (again.state, again.attempt, again.task_arn) == (State.QUEUED, 2, None)
    lab.take_messages(services)
    assert lab.sessions()[session.id].waits_for_host
    lab.add_host()
    lab.deliver_events(services)
    lab.all_speak(services)
    assert lab.sessions()[session.id].state is State.RESERVED


def test_a_repeated_key_asks_ecs_once(lab: Lab) -> None:
    services = lab.process()
    request = replace(lab.request("chat", "user", "key"), wait_seconds=0)
    first = services.sessions.dispatch(request)
    with_calls = [services.sessions.dispatch(request).id for _ in range(50)]
    assert set(with_calls) == {first.id}
    assert lab.serialize.calls.count("ecs.RunTask") == 1


def waited(lab: Lab, services: Services, request: DispatchRequest) -> float:
    """For how long a request was held, by the clock of the lab."""
    before = lab.now()
    assert services.sessions.dispatch(request).state is State.QUEUED
    return lab.now() - before


@pytest.fixture
def at_a_period(lab: Lab) -> Lab:
    """Waiting requests are counted for each period; a new one has just begun."""
    lab.now.move(WAITS_SECONDS - lab.now() % WAITS_SECONDS)
    return lab


def test_so_many_repeated_requests_of_an_owner_wait_and_the_rest_is_answered_at_once(
    at_a_period: Lab,
) -> None:
    lab, services = at_a_period, at_a_period.process()
    request = replace(lab.request("chat", "user", "key"), wait_seconds=2)
    held = [round(waited(lab, services, request), 3) for _ in range(WAITS_OF_AN_OWNER + 3)]
    assert held == [2.0] * (1 + WAITS_OF_AN_OWNER) + [0.0] * 2, "its creator waits as well"
    lab.now.move(WAITS_SECONDS)
    assert round(waited(lab, services, request), 3) == 2.0, "counted anew in the next period"


def test_so_many_repeated_requests_wait_in_total(
    at_a_period: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, services = at_a_period, at_a_period.process()
    monkeypatch.setattr(service, "WAITS_IN_TOTAL", 4)
    requests = [replace(lab.request("chat", f"user-{n}", "key"), wait_seconds=0) for n in range(6)]
    for request in requests:
        waited(lab, services, request)
    held = [
        round(waited(lab, services, replace(request, wait_seconds=1)), 3) for request in requests
    ]
    assert held == [1.0] * 4 + [0.0] * 2


def test_one_that_does_not_wait_uses_up_no_place(at_a_period: Lab) -> None:
    lab, services = at_a_period, at_a_period.process()
    request = replace(lab.request("chat", "user", "key"), wait_seconds=0)
    for _ in range(20):
        waited(lab, services, request)
    assert round(waited(lab, services, replace(request, wait_seconds=2)), 3) == 2.0


def test_who_repeats_a_key_and_waits_does_not_launch(at_a_period: Lab) -> None:
    """Without a provider a full cluster refuses; only the queue and the sweep try again."""
    lab = at_a_period
    lab.config = replace(lab.config, capacity_provider=None)
    services = lab.process()
    request = replace(lab.request("chat", "user", "key"), wait_seconds=2)
    with lab.without_room():
        for _ in range(WAITS_OF_AN_OWNER + 1):
            assert round(waited(lab, services, request), 3) == 2.0
    assert lab.serialize.calls.count("ecs.RunTask") == 1
