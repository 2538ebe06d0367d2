"""A day of sessions in virtual time: what the planner's hosts cost, and that it ends no session."""

import pytest

from chalicelib.capacity.hosts import HostPolicy
from tests.unit.chalicelib.capacity.host_day import (
    NEED,
    Day,
    Outcome,
    all_knowing_hours,
    arrivals,
    managed_scaling,
    planner,
)

MAXIMUM = 100
POLICY = HostPolicy(place=NEED)
SESSIONS = arrivals(peak_sessions=400, mean_seconds=1_200, seed=1)


def run(policy: HostPolicy = POLICY, *, binpack: bool = True) -> Outcome:
    return Day(SESSIONS, hosts=5, binpack=binpack).run(planner(policy, MAXIMUM))


def managed(target: int, *, binpack: bool = True) -> Outcome:
    return Day(SESSIONS, hosts=5, binpack=binpack).run(managed_scaling(target, MAXIMUM))


@pytest.fixture(scope="module")
def with_places_ahead() -> Outcome:
    return run()


def test_no_session_is_ended_by_it(with_places_ahead: Outcome) -> None:
    assert with_places_ahead.ended_with_sessions == 0
    assert with_places_ahead.started == len(SESSIONS)


def test_host_hours_are_within_15_percent_of_one_that_knows_all(with_places_ahead: Outcome) -> None:
    assert with_places_ahead.host_hours <= 1.15 * all_knowing_hours(SESSIONS)


def test_it_takes_fewer_host_hours_than_managed_scaling_that_keeps_a_tenth_free(
    with_places_ahead: Outcome,
) -> None:
    assert with_places_ahead.host_hours < managed(90).host_hours
    waited = sum(seconds > 0 for seconds in with_places_ahead.waits)
    assert waited < len(SESSIONS) / 100


def test_where_binpack_empties_hosts_and_none_are_kept_ahead_both_take_about_as_many() -> None:
    """Managed scaling has nothing to gain by drains then; it is within 2 percent either way."""
    without_places_ahead = run(HostPolicy(place=NEED, ahead=0))
    assert without_places_ahead.host_hours < 1.02 * managed(100).host_hours
    assert without_places_ahead.ended_with_sessions == 0


def test_with_a_quarter_of_the_room_ahead_it_takes_as_many_as_managed_scaling_and_fewer_wait() -> (
    None
):
    """At target 100, with binpack; docs/hosts.md has four days of it."""
    sparing = run(HostPolicy(place=NEED, ahead=0.25, scale_in_after_seconds=900))
    full = managed(100)
    assert sparing.host_hours < 1.015 * full.host_hours
    waited = [sum(seconds > 0 for seconds in one.waits) for one in (sparing, full)]
    assert waited[0] < 0.75 * waited[1]
    assert sum(sparing.waits) < 0.6 * sum(full.waits)


@pytest.mark.parametrize("target", [90, 100])
def test_with_ecs_default_placement_it_takes_fewer_than_any_managed_scaling(target: int) -> None:
    """ECS places at random by default: then hardly a host is ever empty by itself."""
    drained = run(binpack=False)
    assert drained.host_hours < managed(target, binpack=False).host_hours
    assert drained.host_hours <= 1.15 * all_knowing_hours(SESSIONS)
    assert drained.ended_with_sessions == 0
