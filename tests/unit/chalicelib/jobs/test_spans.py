"""Spans of an invocation up to its run: one chain, from its history."""

import itertools
from dataclasses import replace

import pytest

from chalicelib.jobs.model import Reason, State
from chalicelib.jobs.spans import attributes_of, ends_before_the_run, steps_of
from chalicelib.traces import REST_SECONDS, Traces
from tests.collector import Collector, attributes
from tests.unit.chalicelib.jobs.examples import CREATED, accepted

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def moved(*steps):
    """An invocation that came to each state, a second after the other."""
    invocation = replace(accepted(), traceparent=HEADER)
    for number, state in enumerate(steps, 1):
        invocation = invocation.moved(state, CREATED + number, "x")
    return invocation


def test_the_steps_are_one_chain_and_a_second_attempt_has_its_own():
    invocation = moved(
        *(State.QUEUED, State.LAUNCHING, State.QUEUED),
        *(State.LAUNCHING, State.LAUNCHED, State.STARTED),
    )
    steps = steps_of(invocation)
    assert [name for name, _, _ in steps] == ["wait", "launch", "wait", "launch", "ECS start"]
    assert steps[0][1] == CREATED
    assert all(one[2] == after[1] for one, after in itertools.pairwise(steps))
    assert steps[-1][2] == invocation.history[-1].at


@pytest.mark.parametrize(
    ("before", "after", "is_known"),
    [
        (State.QUEUED, State.LAUNCHING, False),
        (State.LAUNCHED, State.STARTED, True),
        (State.QUEUED, State.EXPIRED, True),
        (State.LAUNCHED, State.FINISHED, True),
        (State.STARTED, State.FINISHED, False),
        (State.STARTED, State.STARTED, False),
    ],
)
def test_they_are_sent_once_when_nothing_more_can_come_before_the_run(before, after, is_known):
    began = CREATED if before is State.STARTED else None
    seen = replace(accepted(), state=before, started_at=began)
    assert ends_before_the_run(seen, replace(seen, state=after)) is is_known


def test_the_last_step_of_what_never_began_has_failed():
    ended = replace(moved(State.QUEUED, State.EXPIRED), reason=Reason.EXPIRED)
    with Collector() as collector:
        sender = Traces(collector.url, "test", lambda: 1.0, lambda: "x")
        sender.steps(HEADER, steps_of(ended), attributes_of(ended), failed=True)
        sender.steps("nonsense", steps_of(ended), {})
        (waited,) = collector.spans
    assert waited["status"] == {"code": 2}
    assert waited["parentSpanId"] == HEADER.split("-")[2]
    assert attributes(waited)["usher.reason"] == "expired"
    assert "usher.owner" not in attributes(waited)


def test_a_collector_that_is_away_costs_a_launcher_one_wait_and_no_more(monkeypatch):
    tried, now = [], [0.0]

    class Opener:
        def open(self, *_, **__):
            tried.append(now[0])
            raise OSError("nobody there")

    monkeypatch.setattr("chalicelib.traces._OPENER", Opener())
    sender = Traces("http://127.0.0.1:1", "test", lambda: now[0], lambda: "x")
    for second in range(int(REST_SECONDS) + 2):
        now[0] = float(second)
        sender.steps(HEADER, [("wait", 0.0, 1.0)], {})
    assert tried == [0.0, REST_SECONDS]
