"""Requests of callers and containers: valid ones are parsed, all others are a 400."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.jobs import (
    MAX_MESSAGE_CHARACTERS,
    MAX_PARAMETERS_BYTES,
    MAX_RESULT_BYTES,
    Outcome,
)
from chalicelib.errors import BadRequestError, NotFoundError
from chalicelib.jobs.model import Priority, Usage, mark_of, planned_id, repeated_id
from chalicelib.jobs.queues import WakeUp, message_of, read_wake_up
from chalicelib.jobs.requests import (
    Invoke,
    check_instants,
    parse_finish,
    parse_invoke,
    parse_progress,
    parse_start,
)
from chalicelib.tasks.requests import parse_record_id
from tests.unit.chalicelib.jobs.examples import ID

NOW = 1_800_000_000.0
PROCESS = "0123456789abcdef"
FINISH = {"process": PROCESS, "outcome": "succeeded", "exitCode": 0}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats(allow_nan=True)
    | st.text(max_size=10)
    | st.sampled_from(
        [
            "9999-12-31T23:59:59-01:00",
            "0001-01-01T00:00:00+01:00",
            "2027-01-01",
            "critical",
            "\ud800",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
names = st.sampled_from(
    ["parameters", "at", "priority", "notAfter", "attempt", "taskArn", "process", "fraction",
     "message", "outcome", "exitCode", "detail", "result", "usage", "cpuSeconds"]
)  # fmt: skip


# Accepted requests.


def test_an_empty_request_asks_for_a_run_at_once():
    assert parse_invoke({}, {}) == Invoke(None, None, None, None, None)


def test_a_full_request_is_read():
    body = {
        "parameters": {"rows": 3},
        "at": "2027-01-15T10:00:00+02:00",
        "priority": "critical",
        "notAfter": "2027-01-15T09:00:00Z",
    }
    wanted = parse_invoke(body, {"idempotency-key": "a-key"})
    eight = 1_800_000_000.0
    assert wanted == Invoke({"rows": 3}, eight, Priority.CRITICAL, eight + 3_600, "a-key")


def test_reports_of_containers_are_read():
    assert parse_start({"attempt": 2, "taskArn": None, "process": PROCESS}) == (2, None, PROCESS)
    told = {"process": PROCESS, "fraction": 0, "message": "m" * 900}
    assert parse_progress(told) == (PROCESS, 0.0, "m" * MAX_MESSAGE_CHARACTERS)
    assert parse_progress({"process": PROCESS}) == (PROCESS, None, "")
    usage = {"cpuSeconds": 1, "maxMemoryMib": 2.5, "wallSeconds": 3}
    finish = parse_finish(FINISH | {"result": [1], "usage": usage, "detail": "d" * 900})
    assert finish.usage == Usage(1.0, 2.5, 3.0)
    assert (finish.result, len(finish.detail)) == ([1], MAX_MESSAGE_CHARACTERS)


@given(st.booleans(), st.booleans(), st.none() | st.just(ID))
def test_wake_up_messages_come_as_they_were_sent(due, room, invocation_id):
    wake_up = WakeUp(invocation_id, comes_due=due, capacity_freed=room)
    assert read_wake_up(json.dumps(message_of(wake_up))) == wake_up


# Refused requests.


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"unknown": 1},
        {"at": "tomorrow"},
        {"at": 1_800_000_000},
        {"at": "2027-01-15T10:00:00"},
        {"at": "2029-01-15T10:00:00Z"},
        {"at": "9999-12-31T23:59:59-01:00"},
        {"at": "0001-01-01T00:00:00+01:00"},
        {"notAfter": "2027-01-15T07:59:59Z"},
        {"at": "2027-01-15T10:00:00Z", "notAfter": "2027-01-15T09:59:59Z"},
        {"priority": "urgent"},
        {"priority": ["low"]},
        {"parameters": "x" * MAX_PARAMETERS_BYTES},
        {"parameters": float("nan")},
        {"parameters": "\ud800"},
    ],
)
def test_requests_that_are_refused(body):
    with pytest.raises(BadRequestError):
        check_instants(parse_invoke(body, {}), NOW)


@pytest.mark.parametrize("key", ["", "two words", "é", "k" * 129, "tab\t"])
def test_keys_that_are_refused(key):
    with pytest.raises(BadRequestError):
        parse_invoke({}, {"idempotency-key": key})


@pytest.mark.parametrize("text", ["", "x", ID.upper(), f"{{{ID}}}", ID.replace("-", ""), f"{ID} "])
def test_what_can_be_no_id_is_not_looked_up(text):
    with pytest.raises(NotFoundError):
        parse_record_id(text, "invocation")


@pytest.mark.parametrize(
    "changes",
    [
        {"process": "short"},
        {"process": None},
        {"outcome": "won"},
        {"outcome": []},
        {"exitCode": 1},
        {"exitCode": True},
        {"exitCode": 256},
        {"outcome": "failed", "exitCode": 0},
        {"usage": []},
        {"usage": {"cpuSeconds": -1}},
        {"usage": {"cpuSeconds": 10**400}},
        {"usage": {"cpuSeconds": float("inf")}},
        {"result": "é" * MAX_RESULT_BYTES},
        {"detail": 7},
    ],
)
def test_reports_that_are_refused(changes):
    with pytest.raises(BadRequestError):
        parse_finish(FINISH | changes)


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.SUCCEEDED}))
def test_what_did_not_succeed_has_no_exit_code_zero(outcome):
    with pytest.raises(BadRequestError):
        parse_finish(FINISH | {"outcome": outcome.value})
    assert parse_finish(FINISH | {"outcome": outcome.value, "exitCode": 1}).outcome is outcome


@given(json_values | st.dictionaries(names, json_values, max_size=5))
def test_garbage_in_a_body_is_a_bad_request(body):
    for parse in (parse_start, parse_progress, parse_finish):
        with suppress(BadRequestError):
            parse(body)
    with suppress(BadRequestError):
        check_instants(parse_invoke(body, {}), NOW)


@given(st.text() | json_values.map(json.dumps))
def test_a_message_that_is_not_ours_is_a_value_error(body):
    with suppress(ValueError):
        read_wake_up(body)


# Names.


def test_ids_that_follow_from_their_parts():
    assert planned_id("daily", 100.9) == planned_id("daily", 100.0) != planned_id("daily", 101.0)
    assert repeated_id("ann", "a", "b") == repeated_id("ann", "a", "b")
    others = {
        repeated_id("ann", "ab", ""),
        repeated_id("ann", "a", "b"),
        repeated_id("ann", "", "ab"),
    }
    assert len(others | {planned_id("daily", 100)}) == 4
    assert parse_record_id(planned_id("daily", 100), "invocation") == planned_id("daily", 100)


@pytest.mark.parametrize(
    ("started_by", "mark"),
    [
        (f"job/{ID}/3", (ID, 3)),
        (f"session/{ID}", None),
        (f"job/{ID}", None),
        (f"job/{ID}/x", None),
        ("", None),
        (None, None),
    ],
)
def test_whose_a_task_is(started_by, mark):
    assert mark_of(started_by) == mark


# Requests that are repeated.


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"parameters": {"a": 1, "b": 2}}, {"parameters": {"b": 2, "a": 1}}, True),
        ({"parameters": {"a": 1}}, {"parameters": {"a": 1.0}}, True),
        ({"parameters": {"a": 1}}, {"parameters": {"a": True}}, False),
        ({"parameters": [0]}, {"parameters": [False]}, False),
        ({"parameters": {"a": None}}, {"parameters": {}}, False),
        ({"priority": "low"}, {}, False),
        ({"at": "2027-01-15T10:00:00+02:00"}, {"at": "2027-01-15T08:00:00Z"}, True),
        ({"at": "2027-01-15T10:00:00Z"}, {"at": "2027-01-15T10:00:01Z"}, False),
    ],
)
def test_requests_are_the_same_when_they_ask_for_the_same(one, other, same):
    assert (parse_invoke(one, {}).digest == parse_invoke(other, {}).digest) is same


@given(json_values)
def test_what_is_accepted_has_a_digest(parameters):
    with suppress(BadRequestError):
        body = {"parameters": parameters}
        assert parse_invoke(body, {}).digest == parse_invoke(body, {}).digest
