"""The steps that request a container and follow a feed, without any I/O."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.filters import FilterError
from usher.errors import AnswerError, SessionEndedError, UnreachableError, WaitTimeoutError
from usher.session_steps import (
    Ask,
    Batch,
    Deliver,
    Feed,
    Hang,
    LostError,
    Open,
    Pause,
    Receive,
    Send,
    State,
    Wish,
    World,
    dispatch_steps,
    pause_before,
    read_session,
)

HERE = {"id": "a", "state": "RESERVED", "app": "x", "url": "ws://h:1/secret"}


class Clock:
    """A clock that only the pauses advance."""

    def __init__(self):
        self.now = 0.0
        keys = itertools.count()
        self.world = World(lambda: self.now, lambda: 0.5, lambda: f"key-{next(keys)}")


def feed(clock, **options):
    told = {"cursor": None, "wanted": None, "again": (), "rejoin_seconds": None, **options}
    return Feed(Wish("x"), clock.world, **told)


def run(steps, clock, answers, received=(), most=200):
    """Answer asks and receives one after the other; returns all steps, and what was raised."""
    answers, received = iter(answers), iter(received)
    done, answer, error = [], None, None
    for _ in range(most):
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            return done, stop.value
        except Exception as raised:  # noqa: BLE001 - looked at by the test
            return done, raised
        answer, error = None, None
        done.append(step)
        try:
            match step:
                case Ask():
                    answer = next(answers)
                case Receive():
                    answer = next(received)
                case Pause():
                    clock.now += step.seconds
        except StopIteration:
            return done, None
        if isinstance(answer, Exception):
            answer, error = None, answer
        elif isinstance(answer, dict) and isinstance(step, Receive):
            answer = json.dumps(answer)
    return done, None


def refused(status, retry_after=None):
    error = AnswerError(status, "code", "message")
    error.retry_after_seconds = retry_after
    return error


def test_dispatch_waits_as_long_as_it_is_told_and_keeps_its_key():
    clock = Clock()
    pending = {"id": "a/b", "state": "QUEUED", "retryAfter": 7}
    answers = [refused(503, 4.0), refused(429, 9.0), UnreachableError("no"), pending, HERE]
    done, session = run(dispatch_steps(Wish("x"), "k", 60, clock.world), clock, answers)
    assert session.url == HERE["url"]
    asks = [step for step in done if isinstance(step, Ask)]
    assert [ask.path for ask in asks] == ["/session?app=x"] * 4 + ["/sessions/a%2Fb"]
    assert [ask.headers for ask in asks] == [{"Idempotency-Key": "k"}] * 4 + [{}]
    pauses = [step.seconds for step in done if isinstance(step, Pause)]
    assert pauses[:2] == [4.0, 9.0]
    assert 0 < pauses[2] < 4
    assert pauses[3] == 7


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([refused(400)], AnswerError),
        ([refused(429, 61.0)], AnswerError),
        ([{"id": "a", "state": "ENDED", "reason": "lost"}], SessionEndedError),
        ([{"id": "a", "state": "QUEUED", "retryAfter": 25}] * 4, WaitTimeoutError),
        ([{"what": "else"}], UnreachableError),
        ([refused(503)] * 99, AnswerError),
    ],
)
def test_dispatch_raises_what_waiting_cannot_change(answers, expected):
    clock = Clock()
    _, raised = run(dispatch_steps(Wish("x"), "k", 60, clock.world), clock, answers)
    assert isinstance(raised, expected)
    assert clock.now <= 60


def test_records_are_delivered_before_the_cursor_moves():
    clock = Clock()
    followed = feed(clock)
    seen = []
    records = [{"data": 1, "partitionKey": "k", "sequenceNumber": "2", "arrivedAt": 3000}]
    received = [
        {"type": "hello", "cursor": "c0", "graceSeconds": 0},
        {"type": "records", "records": records, "cursor": "c1"},
        LostError("cut"),
    ]
    steps = followed.steps()
    received, answer = iter(received), None
    while (step := steps.send(answer)) is not None:
        answer = HERE if isinstance(step, Ask) else None
        if isinstance(step, Receive):
            message = next(received)
            if isinstance(message, LostError):
                assert isinstance(steps.throw(message), Hang)
                break
            answer = json.dumps(message)
        if isinstance(step, Deliver) and isinstance(step.item, Batch):
            seen.append((step.item.cursor, followed.cursor))
    assert seen == [("c1", "c0")]
    assert followed.cursor == "c1"


def test_a_dropped_connection_is_tried_again_at_once_with_the_cursor_then_another_container():
    clock = Clock()
    hello = {"type": "hello", "cursor": "c&1", "graceSeconds": 2}
    received = [hello, *[LostError("cut")] * 8]
    done, _ = run(feed(clock).steps(), clock, [HERE, HERE], received)
    opened = [step.url for step in done if isinstance(step, Open)]
    assert opened[:2] == [HERE["url"], HERE["url"] + "?cursor=c%261"]
    asks = [step.headers["Idempotency-Key"] for step in done if isinstance(step, Ask)]
    assert len(set(asks)) == len(asks) >= 2
    between = done[done.index(Hang()) : done.index(Open(opened[1]))]
    assert not [step for step in between if isinstance(step, Pause)]


def test_a_final_bye_ends_it_and_another_one_asks_anew():
    for reason, again, ends in (
        ("stopped", (), True),
        ("stopped", ("stopped",), False),
        ("slow_client", (), False),
        ("expired", ("stopped",), True),
    ):
        clock = Clock()
        received = [{"type": "hello", "cursor": "c"}, {"type": "bye", "reason": reason}]
        received.append(LostError("closed"))
        done, raised = run(feed(clock, again=again).steps(), clock, [HERE, HERE], received)
        assert isinstance(raised, SessionEndedError) == ends, reason
        assert len([step for step in done if isinstance(step, Ask)]) == (1 if ends else 2)


def test_a_filter_is_told_after_each_hello_and_holds_before_the_container_knows_it():
    clock = Clock()
    records = [
        {"data": data, "partitionKey": "k", "sequenceNumber": "1", "arrivedAt": 1}
        for data in ({"n": 1}, {"n": 2}, "text")
    ]
    received = [
        {"type": "hello", "cursor": "c"},
        {"type": "records", "records": records, "cursor": "d"},
    ]
    done, _ = run(feed(clock, wanted={"n": 2}).steps(), clock, [HERE], received)
    sent = [json.loads(step.text) for step in done if isinstance(step, Send)]
    assert sent == [{"type": "app", "filter": {"n": 2}}]
    (batch,) = (s.item for s in done if isinstance(s, Deliver) and isinstance(s.item, Batch))
    assert [record.data for record in batch.records] == [{"n": 2}]
    with pytest.raises(FilterError):
        feed(clock, wanted={"n": {"less": 1}})


def test_a_refusal_that_is_none_of_the_moment_ends_it():
    clock = Clock()
    done, raised = run(feed(clock).steps(), clock, [refused(503, 3.0), refused(403)])
    assert isinstance(raised, AnswerError)
    assert [step.seconds for step in done if isinstance(step, Pause)] == [3.0]


ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
MESSAGES = st.one_of(
    st.text(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "records", "cursor", "shards", "reason", "data"]), inner
            )
        ),
        max_leaves=8,
    ).map(json.dumps),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["hello", "records", "gap", "bye", "app"]),
            "cursor": ODD,
            "graceSeconds": ODD,
            "shards": ODD | st.lists(ODD, max_size=2),
            "records": ODD
            | st.lists(ODD | st.fixed_dictionaries({"data": ODD, "arrivedAt": ODD}), max_size=2),
        }
    ).map(json.dumps),
)


@given(st.lists(MESSAGES, max_size=20), st.lists(st.sampled_from([HERE, {"id": "a"}]), max_size=3))
def test_no_message_breaks_it(received, answers):
    clock = Clock()
    done, raised = run(feed(clock).steps(), clock, [HERE, *answers], [*received, LostError("end")])
    assert raised is None or isinstance(raised, SessionEndedError)
    assert State("joining", 0) in [step.item for step in done if isinstance(step, Deliver)]


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 600))
def test_a_pause_is_bounded_and_never_less_than_told(attempt, random, told):
    pause = pause_before(attempt, random, told)
    assert max(0.15, told or 0) <= pause <= max(30, told or 0)


@pytest.mark.parametrize("url", [None, 1, "http://h/", "file:///etc/passwd", ""])
def test_an_address_is_a_websockets(url):
    assert read_session({**HERE, "url": url}) is None
