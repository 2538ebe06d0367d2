"""Sessions in the very table that infra/template.yaml describes, on moto."""

from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.config import load_config
from chalicelib.sessions import lifecycle
from chalicelib.sessions.items import APP_STATES, from_item, request_key, to_item
from chalicelib.sessions.limits import Limit, counters_of
from chalicelib.sessions.model import Change, Reason, Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.sessions.table import Answered, Full, Lost, SessionsTable
from chalicelib.tasks.revisions import Failing
from chalicelib.tasks.store import Store
from local.aws.provision import read_plan
from tests.expressions import ExpressionWatch
from tests.live_records import all_live
from tests.unit.chalicelib.test_lifecycle import START, asked_to_stop, launched, queued, until


class Transitions(list):
    """An observer that records the transitions."""

    def on_transition(self, before, after):
        self.append((before, after))


CONFIG = load_config({"STAGE": "test"})
TEMPLATE = Path(__file__).parents[3] / "infra" / "template.yaml"
CALLS = read_plan(TEMPLATE, {"Stage": "test"}, "us-east-1", "test")


@pytest.fixture
def table(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        for call in CALLS:
            if call.service == "dynamodb":
                getattr(client, call.operation)(**call.arguments)
        ExpressionWatch().attach(client)
        yield SessionsTable(client, CONFIG.sessions_table)


def test_config_and_template_mean_the_same_names():
    named = str([call.arguments for call in CALLS])
    for name in (CONFIG.sessions_table, CONFIG.launches_queue, CONFIG.stream, CONFIG.cluster):
        assert f"'{name}'" in named


instants = st.floats(min_value=0, max_value=4e9).map(lambda at: round(at, 6))
sessions = st.builds(
    Session,
    id=st.uuids(version=4).map(str),
    uuid=st.uuids(version=4).map(str),
    key=st.text(min_size=1),
    app=st.text(min_size=1),
    owner=st.none() | st.text(min_size=1),
    callback_url=st.text(min_size=1),
    created_at=instants,
    not_after=instants,
    state=st.sampled_from(State),
    version=st.integers(1, 2**31),
    attempt=st.integers(1, 1000),
    task_definition=st.none() | st.just("arn:task-definition/usher:7"),
    task_arn=st.none() | st.text(min_size=1),
    task_version=st.integers(0, 2**31),
    ip=st.none() | st.just("192.0.2.1"),
    port=st.none() | st.integers(1, 65_535),
    ready_at=st.none() | instants,
    ended_at=st.none() | instants,
    reason=st.none() | st.sampled_from(Reason),
    detail=st.none() | st.text(),
    history=st.lists(
        st.builds(Change, at=instants, state=st.sampled_from(State), cause=st.text()), max_size=5
    ).map(tuple),
)


@given(sessions)
def test_an_item_reads_back_as_the_record_it_was(session):
    assert from_item(to_item(session)) == session


def test_the_state_of_an_app_reads_back_as_it_was():
    state = AppState(
        name="chat", version=3, proven="arn:1", failing={"arn:2": Failing(2, "no such image", 7.5)}
    )
    assert APP_STATES.from_item(APP_STATES.to_item(state)) == state


def test_a_record_is_put_once(table):
    assert table.insert(queued()) == queued()
    assert table.insert(queued()) is Lost.SESSION
    assert table.get(queued().id) == queued()
    assert table.get("another") is None


def test_a_write_expects_the_record_it_read(table):
    table.insert(queued())
    quicker = table.replace(queued(), launched(queued(), 1001.0))
    assert quicker is not None
    assert quicker.version == 2
    assert table.replace(queued(), asked_to_stop(queued(), 1001.0)) is None
    assert table.get(queued().id) == quicker


def test_a_change_is_decided_again_when_somebody_was_quicker(table):
    table.insert(queued())
    seen = []

    def stop(before):
        if not seen:
            table.replace(before, launched(before, 1001.0))
        seen.append(before.state)
        return lifecycle.fold_stop(before, Reason.STOPPED, "asked", 1002.0)

    transitions = Transitions()
    Store(table, transitions).change(queued().id, stop)
    ((before, after),) = transitions
    assert seen == [State.QUEUED, State.STARTING]
    assert (before.state, after.state) == (State.STARTING, State.STOPPING)


def test_what_changes_nothing_writes_nothing(table):
    table.insert(queued())
    seen = Transitions()
    store = Store(table, seen)
    assert store.change(queued().id, lambda session: session) == queued()
    assert store.change("another", lambda session: session) is None
    assert seen == [], "nothing was written"


def test_only_what_has_not_ended_is_live(table):
    ended = replace(asked_to_stop(queued(), 1001.0), id="00000000-0000-4000-8000-000000000000")
    other = replace(until(*START), id="ffffffff-0000-4000-8000-000000000000")
    for session in (queued(), ended, other):
        table.insert(session)
    assert {session.id for session in all_live(table)} == {queued().id, other.id}


def test_a_request_is_answered_once(table):
    key = request_key("somebody", "abc")
    first, second = queued(), replace(queued(), id="11111111-2222-4333-8444-555555555555")
    assert table.answered(key) is None
    assert table.insert(first, answers=Answered(key)) == first
    assert table.insert(second, answers=Answered(key)) is Lost.REQUEST
    assert table.answered(key) == first.id
    assert table.get(second.id) is None
    assert table.insert(second, answers=Answered(key, replaces=first.id)) == second
    assert table.answered(key) == second.id


def test_owners_do_not_share_keys():
    assert request_key("a", "key") != request_key("b", "key")


def warm(number: int) -> Session:
    session = replace(queued(owner=None), id=f"{number:08x}-0000-4000-8000-000000000000")
    for fold in START:
        session = fold(session, 1001.0)
    return replace(session, created_at=1000.0 + number)


def test_a_look_shows_the_app_and_what_waits_ready_ones_first(table):
    starting = replace(queued(owner=None), created_at=1.0, app="chat")
    for session in (warm(2), starting, warm(1), until(*START)):
        table.insert(session)
    state, members = table.read_pool("chat")
    assert state == AppState("chat")
    assert [session.id for session in members] == [warm(1).id, warm(2).id, starting.id]
    table.apps.change("chat", lambda s: replace(s, proven="arn:1"))
    assert table.read_pool("chat")[0].proven == "arn:1"
    assert table.query_all("chat")[1] == members
    assert table.read_pool("other") == (AppState("other"), [])


def test_a_warm_session_is_claimed_once(table):
    table.insert(warm(1))
    mine, yours = (replace(warm(1), owner=name) for name in ("me", "you"))
    won = table.insert(mine, before=warm(1))
    assert isinstance(won, Session)
    assert table.insert(yours, before=warm(1)) is Lost.SESSION
    assert table.get(won.id).owner == "me"
    assert table.read_pool("chat")[1] == []


def test_counters_rise_with_the_session_and_fall_with_its_end(table):
    (counter,) = counters_of(Limit("total", 1, 9))
    other = replace(queued(), id="11111111-2222-4333-8444-555555555555")
    held = replace(queued(), counters=(counter.key,))
    assert table.insert(held, counters=[counter]) == held
    assert table.insert(other, counters=[counter]) == Full((counter,))
    assert table.get(other.id) is None
    assert table.items.counted(counter.key) == 1
    ended = table.replace(held, asked_to_stop(held, 1001.0))
    assert ended is not None
    assert table.replace(held, asked_to_stop(held, 1001.0)) is None
    assert table.items.counted(counter.key) == 0
    assert table.insert(other, counters=[counter]) == other


def test_a_counter_that_somebody_deleted_keeps_no_session_from_its_end(table):
    counters = [counters_of(Limit(scope, 1, 9))[0] for scope in ("total", "owner/me")]
    held = replace(queued(), counters=tuple(counter.key for counter in counters))
    table.insert(held, counters=counters)
    table.items._dynamodb.delete_item(
        TableName=CONFIG.sessions_table, Key={"id": {"S": counters[1].key}}
    )
    ended = table.replace(held, asked_to_stop(held, 1001.0))
    assert ended.state is State.ENDED
    assert [table.items.counted(counter.key) for counter in counters] == [0, 0]


def test_a_lone_counter_stops_at_its_maximum(table):
    assert [table.items.count("rate#1", 2, 9) for _ in range(3)] == [True, True, False]
    assert table.items.counted("rate#1") == 2
    assert table.items.count("free", None, 9)
