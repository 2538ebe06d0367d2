"""Five reads a second and shard, and less when Kinesis throttles."""

from hypothesis import given
from hypothesis import strategies as st

from session_handler.feeds.pacing import (
    IDLE_INTERVAL_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    LONGEST_INTERVAL_SECONDS,
    Pacer,
    pause_seconds,
)


def test_caught_up_it_reads_four_times_a_second():
    pacer = Pacer()
    now = 100.0
    for _ in range(10):
        pacer.answered(now, now + 0.01, caught_up=True)
        assert abs(pacer.next_read_at - now - IDLE_INTERVAL_SECONDS) < 1e-9
        now = pacer.next_read_at


def test_behind_it_reads_on_at_once_but_not_more_than_allowed():
    pacer = Pacer()
    now, reads = 100.0, 0
    while now < 110.0:
        reads += 1
        pacer.answered(now, now + 0.01, caught_up=False)
        now = pacer.next_read_at
    assert 45 <= reads <= 5 + 5 * 10


def test_slow_answers_slow_it_down():
    pacer = Pacer()
    pacer.answered(10.0, 10.5, caught_up=True)
    assert pacer.next_read_at == 11.5


@given(st.lists(st.floats(0, 0.99), min_size=1, max_size=40))
def test_throttled_it_yields_and_recovers(chances):
    pacer = Pacer()
    now = 0.0
    for jitter in chances:
        pacer.throttled(now, jitter)
        assert now < pacer.next_read_at <= now + LONGEST_BACKOFF_SECONDS
        now = pacer.next_read_at
    assert IDLE_INTERVAL_SECONDS < pacer.interval_seconds <= LONGEST_INTERVAL_SECONDS
    for _ in range(80):
        pacer.answered(now, now, caught_up=True)
        assert pacer.next_read_at - now <= LONGEST_INTERVAL_SECONDS + 1e-6
        now = pacer.next_read_at
    assert pacer.interval_seconds == IDLE_INTERVAL_SECONDS


def test_behind_and_throttled_it_leaves_the_others_their_share():
    pacer = Pacer()
    pacer.throttled(0.0, 0.5)
    interval = pacer.interval_seconds
    pacer.answered(10.0, 10.0, caught_up=False)
    assert pacer.next_read_at == 10.0 + interval


def test_the_failures_are_forgotten_after_a_success():
    pacer = Pacer()
    for _ in range(5):
        pacer.failed(0.0, 0.0)
    pacer.answered(1.0, 1.0, caught_up=True)
    pacer.failed(2.0, 0.0)
    assert pacer.next_read_at == 2.0 + pause_seconds(1, 0.0)


@given(st.integers(1, 10_000), st.floats(0, 0.999))
def test_pauses_grow_within_bounds(failures, jitter):
    assert 0 < pause_seconds(failures, jitter) <= LONGEST_BACKOFF_SECONDS
    assert pause_seconds(failures, jitter) <= 2 * pause_seconds(failures + 1, jitter)
