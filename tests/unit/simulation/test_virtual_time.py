"""Code that blocks, in virtual time."""

import pytest

from simulation.virtual_time import VirtualTime


def test_time_passes_for_who_sleeps_and_for_nobody_else():
    time, seen = VirtualTime(), []

    def sleeper(name, seconds):
        time.sleep(seconds)
        seen.append((name, time.elapsed))

    time.spawn(lambda: sleeper("slow", 5))
    time.spawn(lambda: sleeper("quick", 2), seconds=1)
    time.run(4)
    assert seen == [("quick", 3.0)]
    time.run(10)
    assert seen == [("quick", 3.0), ("slow", 5.0)]


def test_calls_beside_each_other_take_as_long_as_the_longest():
    time, seen = VirtualTime(), []

    def work():
        wait = time.beside(lambda: time.sleep(3))
        time.sleep(1)
        wait()
        seen.append(time.elapsed)

    time.spawn(work)
    time.run(10)
    assert seen == [3.0]


def test_so_many_calls_at_a_time_and_results_in_order():
    time, seen = VirtualTime(), []

    def call(seconds):
        time.sleep(seconds)
        return seconds * 10

    def work():
        seen.append((time.run_each(call, [4, 1, 1, 1], 2), time.elapsed))

    time.spawn(work)
    time.run(10)
    assert seen == [([40, 10, 10, 10], 4.0)]


def test_what_fails_ends_the_simulation():
    time = VirtualTime()

    def fails():
        time.sleep(1)
        raise LookupError("on purpose")

    time.spawn(fails)
    with pytest.raises(LookupError, match="on purpose"):
        time.run(2)


def test_what_fails_beside_fails_where_it_is_awaited():
    time, seen = VirtualTime(), []

    def fails(number):
        time.sleep(number)
        raise LookupError(str(number))

    def work():
        try:
            time.run_each(fails, [1, 2], 2)
        except LookupError as failure:
            seen.append((str(failure), time.elapsed))

    time.spawn(work)
    time.run(5)
    assert seen == [("1", 1.0)]


def test_only_what_was_spawned_sleeps():
    with pytest.raises(RuntimeError):
        VirtualTime().sleep(1)


def test_at_the_end_everything_that_blocks_cleans_up():
    time, seen = VirtualTime(), []

    def work():
        try:
            time.sleep(100)
        finally:
            time.sleep(1)  # as a lease is released: another call
            seen.append("cleaned up")

    time.spawn(work)
    time.run(1)
    time.close()
    assert seen == ["cleaned up"]
