"""Records of jobs go to DynamoDB and come back as they were."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.jobs import MAX_PARAMETERS_BYTES, MAX_RESULT_BYTES
from chalicelib.jobs.answers import show_invocation
from chalicelib.jobs.items import (
    JOB_STATES,
    KEPT_SECONDS,
    day_of,
    from_item,
    to_item,
)
from chalicelib.jobs.model import (
    KEPT_CHANGES,
    Change,
    Invocation,
    Priority,
    Progress,
    Reason,
    StartPermit,
    State,
    Usage,
)
from chalicelib.tasks.revisions import Failing, RevisionState
from tests.unit.chalicelib.jobs.examples import accepted, queued, scheduled, started

MOST_BYTES = 400 * 1024
"""The size limit of an item in DynamoDB."""

instants = st.floats(min_value=0, max_value=4e9).map(lambda at: round(at, 6))
amounts = st.floats(min_value=0, max_value=1e6).map(lambda amount: round(amount, 6))
words = st.text(max_size=20)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
maybe = st.none().__or__
invocations = st.builds(
    Invocation,
    id=st.uuids().map(str),
    job=words,
    owner=words,
    key=words,
    priority=st.sampled_from(Priority),
    created_at=instants,
    not_after=instants,
    parameters=documents,
    at=maybe(instants),
    callback_base_url=words,
    schedule_id=maybe(words),
    planned_at=maybe(instants),
    rerun_of=maybe(words),
    state=st.sampled_from(State),
    version=st.integers(1, 2**31),
    attempt=st.integers(1, 1000),
    queued_at=maybe(instants),
    task_definition=maybe(words),
    timeout_seconds=maybe(st.integers(1, 604_800)),
    request=maybe(st.dictionaries(words, documents, max_size=3)),
    claimed_at=maybe(instants),
    task_arn=maybe(words),
    task_version=st.integers(0, 99),
    permit=maybe(st.builds(StartPermit, words, words, instants)),
    progress=maybe(st.builds(Progress, instants, maybe(amounts), words)),
    result=documents,
    usage=maybe(st.builds(Usage, amounts, amounts, amounts)),
    exit_code=maybe(st.integers(0, 255)),
    started_at=maybe(instants),
    finished_at=maybe(instants),
    reason=maybe(st.sampled_from(Reason)),
    detail=maybe(words),
    start_failures=st.integers(0, 5),
    refusals=st.integers(0, 99),
    next_try_at=maybe(instants),
    attempt_counters=st.lists(words, max_size=2).map(tuple),
    history=st.lists(st.builds(Change, instants, st.sampled_from(State), words), max_size=3).map(
        tuple
    ),
)


@given(invocations)
def test_an_invocation_comes_back_as_it_was(invocation):
    assert from_item(to_item(invocation)) == invocation


@given(documents)
def test_parameters_and_results_come_back_in_their_types(document):
    back = from_item(to_item(accepted(parameters=document, result=document)))
    for value in (back.parameters, back.result):
        assert json.dumps(value) == json.dumps(document)


@given(st.sampled_from(State))
def test_indexes_have_what_they_are_for_and_nothing_else(state):
    item = to_item(replace(queued(), state=state, finished_at=2_000.0))
    ended = state in {State.FINISHED, State.EXPIRED, State.SKIPPED}
    assert ("live_bucket" in item) == (not ended)
    assert ("expire_at" in item) == ended
    assert ("waiting" in item) == ("waiting_order" in item) == (state in {"ACCEPTED", "QUEUED"})
    assert {"job", "day", "created_at"} <= set(item)
    if ended:
        assert item["expire_at"]["N"] == str(2_000 + KEPT_SECONDS)


def test_a_deferred_one_takes_its_place_from_the_time_it_comes_due():
    due = replace(scheduled(at=2_000.0), state=State.ACCEPTED)
    assert to_item(due)["waiting_order"] == {"N": "2000000"}


def test_the_largest_record_there_may_be_fits_into_an_item():
    """In characters of two, three and four bytes, of which JSON could make six and twelve."""
    for character in ("x", "é", "中", "𝄞"):
        wide = len(character.encode())
        invocation = replace(
            started(),
            parameters=character * ((MAX_PARAMETERS_BYTES - 2) // wide),
            result=character * ((MAX_RESULT_BYTES - 2) // wide),
            history=(Change(1.0, State.QUEUED, character * 500),) * (KEPT_CHANGES + 1),
        )
        size = len(json.dumps(to_item(invocation), ensure_ascii=False).encode())
        assert size < MOST_BYTES, f"{size} bytes of {character}"
        assert from_item(to_item(invocation)) == invocation


def test_what_is_remembered_of_revisions_comes_back():
    state = RevisionState("report", 3, "arn:7", {"arn:8": Failing(2, "why", 5.5)})
    assert JOB_STATES.from_item(JOB_STATES.to_item(state)) == state


def test_days_are_those_of_utc():
    assert day_of(1_700_006_399.9) == "2023-11-14"
    assert day_of(1_700_006_400.0) == "2023-11-15"


@pytest.mark.parametrize("depth", [201, 960, 5_000])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_stored_json_that_is_nested_too_deeply_harms_nobody(opens, closes, depth):
    """The item was written before bodies had a bound: it is kept unchanged, and shown as a note."""
    text = opens * depth + "1" + closes * depth
    item = to_item(queued()) | {"parameters": {"S": text}, "result": {"S": text}}
    read = from_item(item)
    assert to_item(read)["parameters"] == {"S": text}
    shown = show_invocation(read, None)
    assert "nested too deeply" in json.dumps([shown["parameters"], shown["result"]])


@pytest.mark.parametrize("depth", [0, 1, 100, 200])
def test_stored_json_of_fewer_levels_comes_back(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    assert from_item(to_item(replace(queued(), parameters=value))).parameters == value
