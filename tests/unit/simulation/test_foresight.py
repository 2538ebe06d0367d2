"""The planner that has the future arrivals."""

import math

from hypothesis import given
from hypothesis import strategies as st

from simulation.foresight import host_hours

SESSIONS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(1, 50)).map(lambda one: (one[0], one[0] + one[1])),
    max_size=40,
)


def fewest(sessions, slots):
    """Returns the hosts needed each second if sessions could be moved: the lower bound of any
    plan.
    """
    return sum(
        math.ceil(sum(start <= at < end for start, end in sessions) / slots) for at in range(151)
    )


@given(SESSIONS, st.integers(1, 6))
def test_it_needs_no_less_than_moving_would_and_no_more_than_a_host_for_each(sessions, slots):
    seconds = host_hours(sessions, slots) * 3_600
    assert seconds >= fewest(sessions, slots) - 1e-6
    assert seconds <= sum(end - start for start, end in sessions) + 1e-6


def test_a_long_session_is_put_beside_a_long_one():
    # Two hosts are open when the third comes: one for a long time.
    sessions = [(0, 100), (1, 10), (1, 10), (2, 100)]
    assert host_hours(sessions, 2) * 3_600 == 100 + 99
