"""Sessions in the very table that infra/template.yaml describes, on moto."""

from dataclasses import replace

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.config import load_config
from chalicelib.sessions import lifecycle
from chalicelib.sessions.model import Change, Reason, Session, State
from chalicelib.sessions.table import SessionsTable, from_item, request_key, to_item
from local.provision import ACCOUNT, TEMPLATE, plan
from local.template import Place, load_template
from tests.unit.chalicelib.test_lifecycle import START, asked_to_stop, launched, queued, until

CONFIG = load_config({"STAGE": "test"})
CALLS = plan(
    load_template(TEMPLATE.read_text(encoding="utf-8")),
    {"Stage": "test"},
    Place(region="us-east-1", account=ACCOUNT, stack="usher-test"),
)


@pytest.fixture
def table(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        for call in CALLS:
            if call.service == "dynamodb":
                getattr(client, call.operation)(**call.arguments)
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


def test_a_record_is_put_once(table):
    assert table.create(queued()) is True
    assert table.create(queued()) is False
    assert table.get(queued().id) == queued()
    assert table.get("another") is None


def test_a_write_expects_the_record_it_read(table):
    table.create(queued())
    quicker = table.replace(queued(), launched(queued(), 1001.0))
    assert quicker is not None
    assert quicker.version == 2
    assert table.replace(queued(), asked_to_stop(queued(), 1001.0)) is None
    assert table.get(queued().id) == quicker


def test_a_change_is_decided_again_when_somebody_was_quicker(table):
    table.create(queued())
    seen = []

    def stop(before):
        if not seen:
            table.replace(before, launched(before, 1001.0))
        seen.append(before.state)
        return lifecycle.fold_stop(before, Reason.STOPPED, "asked", 1002.0)

    after = table.change(queued().id, stop)
    assert seen == [State.QUEUED, State.STARTING]
    assert after is not None
    assert after.state is State.STOPPING


def test_what_changes_nothing_writes_nothing(table):
    table.create(queued())
    assert table.change(queued().id, lambda session: session) == queued()
    assert table.change("another", lambda session: session) is None


def test_only_what_has_not_ended_is_live(table):
    ended = replace(asked_to_stop(queued(), 1001.0), id="00000000-0000-4000-8000-000000000000")
    other = replace(until(*START), id="ffffffff-0000-4000-8000-000000000000")
    for session in (queued(), ended, other):
        table.create(session)
    assert {session.id for session in table.live()} == {queued().id, other.id}


def test_a_request_is_answered_once(table):
    key = request_key("somebody", "abc")
    first, second = queued(), replace(queued(), id="11111111-2222-4333-8444-555555555555")
    assert table.answered(key) is None
    assert table.create_for_request(first, key, replaces=None) is True
    assert table.create_for_request(second, key, replaces=None) is False
    assert table.answered(key) == first.id
    assert table.get(second.id) is None
    assert table.create_for_request(second, key, replaces=first.id) is True
    assert table.answered(key) == second.id


def test_owners_do_not_share_keys():
    assert request_key("a", "key") != request_key("b", "key")
