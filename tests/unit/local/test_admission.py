"""Requests begin in their order, a few at a time; a long wait does not block other requests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from local.functions.admission import Admission

SECONDS = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    with ExitStack() as stack:

        def start(work: Callable[[], None]) -> threading.Thread:
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            stack.callback(thread.join, 5.0)
            return thread

        yield start


def test_requests_begin_in_the_order_in_which_they_came(clock, start):
    admission, begun = Admission(1, SECONDS, clock), []
    over = threading.Event()

    def request(number: int) -> None:
        with admission.turn():
            begun.append(number)

    with admission.turn():
        threads = []
        for number in range(5):
            threads.append(start(lambda number=number: request(number)))
            while admission.waiting < number + 1:
                over.wait(0.001)
        over.wait(5 * SECONDS)  # by the clock of this test no time passes
        assert begun == []
    for thread in threads:
        thread.join(5.0)
    assert begun == [0, 1, 2, 3, 4]


def test_so_many_are_at_work_at_once(clock):
    admission = Admission(2, SECONDS, clock)
    with admission.turn(), admission.turn():
        assert admission.at_work == 2
    assert admission.at_work == 0


def test_who_waits_for_another_request_lets_it_in(clock, start):
    admission, received = Admission(1, SECONDS, clock), threading.Event()

    def callback() -> None:
        with admission.turn():
            received.set()

    with admission.turn():
        start(callback)
        assert not received.wait(5 * SECONDS)
        clock.now = 2 * SECONDS
        assert received.wait(5.0)


def test_a_request_that_failed_leaves_its_place(clock):
    admission = Admission(1, SECONDS, clock)
    with pytest.raises(RuntimeError, match="failed"), admission.turn():
        raise RuntimeError("failed")
    with admission.turn():
        assert admission.at_work == 1
