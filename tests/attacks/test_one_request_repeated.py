"""One request is repeated until nothing else runs.

Goal: as many calls of ECS and as many functions held as there are repetitions; then callbacks and
repair find none. Reach: `GET /session` with one Idempotency-Key and `wait`, on any number of
connections, while its session is queued on a full cluster.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib.sessions import service
from chalicelib.sessions.model import State
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.service import WAITS_OF_AN_OWNER, WAITS_SECONDS
from chalicelib.wiring import Services
from infra.deploy.finish import finish
from tests.integration.lab import Lab
from tests.integration.test_waiting_for_hosts import lab_without_hosts
from tests.unit.infra.conftest import merged, templates  # noqa: F401 - fixtures
from tests.unit.infra.test_template import FUNCTION, of_type


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_without_hosts() as lab:
        yield lab


def test_a_repeated_key_asks_ecs_once(lab: Lab) -> None:
    services = lab.process()
    request = replace(lab.request("chat", "user", "key"), wait_seconds=0)
    first = services.sessions.service.dispatch(request)
    with_calls = [services.sessions.service.dispatch(request).id for _ in range(50)]
    assert set(with_calls) == {first.id}
    assert lab.wire.calls.count("ecs.RunTask") == 1


def waited(lab: Lab, services: Services, request: DispatchRequest) -> float:
    """Returns for how many seconds a request was held, by the clock of the lab."""
    before = lab.now()
    assert services.sessions.service.dispatch(request).state is State.QUEUED
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
    assert lab.wire.calls.count("ecs.RunTask") == 1


def reserved(template, value):
    """The executions that functions reserve where ReservedConcurrency is `value`."""
    assert template["Conditions"]["ReservesConcurrency"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedConcurrency"}, 0]}]
    }
    found = {}
    for name, properties in of_type(template, FUNCTION).items():
        said = properties.get("ReservedConcurrentExecutions")
        if said is None:
            continue
        condition, on, off = said["Fn::If"]
        assert condition == "ReservesConcurrency"
        chosen = on if value else off
        if chosen != {"Ref": "AWS::NoValue"}:
            found[name] = value if chosen == {"Ref": "ReservedConcurrency"} else chosen
    return found


def test_a_flood_of_requests_starves_neither_callbacks_nor_repair(templates):  # noqa: F811
    template = finish(templates["kinesis"], code="s3://bucket/code", architecture="x86_64")
    assert template["Parameters"]["ReservedConcurrency"]["Default"] == 0
    assert reserved(template, 0) == {}
    kept = {"Callbacks": 50, "TaskChanged": 50, "LaunchQueued": 50, "Sweep": 2}
    assert reserved(template, 50) == kept
