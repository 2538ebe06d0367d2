"""A client that reads bytes at any speed stays connected; one that reads nothing is
disconnected.
"""

from hypothesis import given
from hypothesis import strategies as st

from session_handler.outflow import Outflow
from session_handler.slowness import (
    FALL_BEHIND_SECONDS,
    FALLING_WINDOWS,
    LONGEST_ALLOWANCE_SECONDS,
    STALL_SECONDS,
    WINDOW_SECONDS,
    FallingBehind,
    Slowness,
)


def stalls(slowness, outflows):
    """The seconds at which the client is stalled; one measurement a second, from 1."""
    found = []
    for second, outflow in enumerate(outflows, 1):
        slowness.observe(float(second), outflow)
        if slowness.is_stalled(float(second)):
            found.append(second)
    return found


def test_an_idle_client_is_fine():
    assert stalls(Slowness(0.0), [Outflow(500, 0)] * 100) == []


def test_one_that_takes_nothing_is_stalled_in_the_end():
    outflows = [Outflow(0, 0)] * 3 + [Outflow(0, 900)] * 20
    first = stalls(Slowness(0.0), outflows)[0]
    assert first == 3 + STALL_SECONDS


def test_what_is_written_meanwhile_is_no_progress():
    outflows = [Outflow(7, 1_000 + second) for second in range(20)]
    assert stalls(Slowness(0.0), outflows)


def test_where_nobody_knows_what_was_taken_a_shrinking_buffer_is_progress():
    assert stalls(Slowness(0.0), [Outflow(0, 1_000 - second) for second in range(100)]) == []


@given(st.lists(st.integers(1, int(STALL_SECONDS) - 1), min_size=1, max_size=30))
def test_any_byte_in_time_is_enough(pauses):
    outflows = []
    for taken, pause in enumerate(pauses):
        outflows += [Outflow(taken, 1_000_000)] * pause
    assert stalls(Slowness(0.0), outflows) == []


def test_a_slow_reader_may_take_longer_to_answer_until_it_has_answered():
    slowness = Slowness(0.0)
    assert slowness.allowance_seconds == 0
    for second in range(1, 10):
        slowness.observe(float(second), Outflow(second * 16_384, 500_000))
    assert slowness.bytes_per_second == 16_384
    assert slowness.allowance_seconds == 16
    slowness.caught_up()
    assert slowness.allowance_seconds == 0
    slowness.observe(10.0, Outflow(147_456, 1))
    slowness.observe(20.0, Outflow(147_457, 1))
    assert slowness.allowance_seconds <= LONGEST_ALLOWANCE_SECONDS


def hopeless_at(age, seconds_per_message=1.0, held_up=1.0, until=7_200):
    """Returns the second at which a client is disconnected, with one message per interval and the
    age of its data at each time.
    """
    falling, now = FallingBehind(0.0), 0.0
    while now < until:
        began, now = now, now + seconds_per_message
        if falling.sent(now - (now - began) * held_up, now, age(now)):
            return now
    return None


def test_one_that_falls_ever_further_behind_is_hopeless_in_the_end():
    at = hopeless_at(lambda now: now * 0.5)
    assert at is not None
    assert at * 0.5 >= FALL_BEHIND_SECONDS


def test_one_that_catches_up_with_history_is_not():
    assert hopeless_at(lambda now: 10_000 - now) is None


def test_a_feed_that_falls_behind_by_itself_is_not_the_clients_fault():
    assert hopeless_at(lambda now: now * 2.0, held_up=0.1) is None


def test_a_burst_of_large_records_is_survived():
    # Five minutes for one record, then little comes.
    assert hopeless_at(lambda now: now if now <= 900 else 1.0, seconds_per_message=300) is None


def test_however_slow_it_is_it_gets_several_messages_before():
    at = hopeless_at(lambda now: now, seconds_per_message=1_000)
    assert at >= FALLING_WINDOWS * max(1_000, WINDOW_SECONDS)
