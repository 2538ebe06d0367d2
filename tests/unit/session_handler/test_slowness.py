"""A client that takes its time is waited for; one that takes nothing is not."""

from session_handler.slowness import FALL_BEHIND_SECONDS, STALL_SECONDS, Slowness


def watch(slowness, start, end, lag):
    return [t for t in range(start, end) if slowness.is_hopeless(float(t), lag(t))]


def test_an_idle_client_is_fine():
    assert watch(Slowness(0.0), 1, 500, lambda _: 0.0) == []


def test_one_that_takes_nothing_is_hopeless_in_the_end():
    slowness = Slowness(0.0)
    slowness.began(3.0)
    assert watch(slowness, 4, 40, lambda _: 0.0)[0] == 3 + STALL_SECONDS


def test_one_that_catches_up_with_history_is_not():
    slowness = Slowness(0.0)
    for second in range(1, 300):
        slowness.began(second - 0.9)
        slowness.done(second - 0.1)
        assert not slowness.is_hopeless(float(second), 10_000.0 - second)


def test_one_that_falls_ever_further_behind_is():
    slowness = Slowness(0.0)
    hopeless_at = None
    for second in range(1, 300):
        slowness.began(second - 0.9)
        slowness.done(second - 0.1)
        if slowness.is_hopeless(float(second), second * 0.5):
            hopeless_at = second
            break
    assert hopeless_at is not None
    assert hopeless_at * 0.5 >= FALL_BEHIND_SECONDS


def test_a_feed_that_falls_behind_by_itself_is_not_the_clients_fault():
    slowness = Slowness(0.0)
    for second in range(1, 300):
        slowness.began(second - 0.2)
        slowness.done(second - 0.1)
        assert not slowness.is_hopeless(float(second), second * 2.0)
