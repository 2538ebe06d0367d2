from datetime import UTC, datetime

import pytest

from local.functions.triggers.schedules import Schedules
from local.functions.warm import WARM_SECONDS, pools_of, wait_until_warm


class Growing:
    """A pool in which one more is warm at each look; time passes with the pauses."""

    def __init__(self, most):
        self.warm, self.most, self.seconds, self.lines = 0, most, 0.0, []

    def count(self, app):
        self.warm = min(self.warm + 1, self.most)
        return self.warm

    def pause(self, seconds):
        self.seconds += seconds

    def wait(self, pools):
        wait_until_warm(
            pools, self.count, pause=self.pause, say=self.lines.append, now=lambda: self.seconds
        )


def test_the_wait_ends_when_all_are_warm_and_says_how_far_it_is():
    pool = Growing(most=3)
    pool.wait({"listings": 3})
    assert pool.lines == [
        "pool of listings: 1 of 3 are warm",
        "pool of listings: 2 of 3 are warm",
    ]
    assert pool.seconds < 1


def test_the_wait_ends_in_time_even_if_they_do_not_come():
    pool = Growing(most=1)
    pool.wait({"listings": 3, "other": 2})
    assert WARM_SECONDS <= pool.seconds < WARM_SECONDS + 1
    assert pool.lines[-1] == "pool of other: 1 of 2 are warm, the others follow"


def test_the_pause_can_end_the_wait():
    class StopError(Exception):
        pass

    def stop(_):
        raise StopError

    with pytest.raises(StopError):
        wait_until_warm({"listings": 1}, lambda _: 0, pause=stop, say=lambda _: None)


def test_the_pool_that_was_asked_for_is_the_default_apps():
    assert pools_of({"POOL_MIN": "2"}) == {"listings": 2}
    assert pools_of({}) == {}


def test_only_what_has_a_rate_is_fired_at_once():
    fired = []
    schedules = Schedules(lambda function, now: fired.append((function, now)))
    schedules.start({"sweep": "rate(1 hour)", "report": "cron(0 9 ? * MON *)"})
    try:
        schedules.fire_rates()
    finally:
        schedules.close()
    ((function, now),) = fired
    assert function == "sweep"
    assert now <= datetime.now(UTC)
