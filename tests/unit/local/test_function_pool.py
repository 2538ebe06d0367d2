"""Which execution environment takes a call, and what is answered when a function gives nothing."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions.payloads import (
    MAX_SYNCHRONOUS_BYTES,
    Outcome,
    RequestTooLargeError,
    check_request,
    limited,
    proxy_response,
)
from local.functions.pool import Refuse, Reuse, Start, decide_environment, plan_retirement
from local.functions.settings import logical_id, read_settings


@dataclass(frozen=True)
class Idle:
    last_used: float


idles = st.lists(st.builds(Idle, st.floats(0, 1000)), max_size=8)


@given(idles, st.integers(0, 10), st.integers(1, 10))
def test_a_call_is_refused_only_at_the_limit_and_cold_only_without_an_idle_one(idle, busy, limit):
    decision = decide_environment(idle, busy, limit)
    assert isinstance(decision, Refuse) == (busy >= limit)
    assert isinstance(decision, Start) == (busy < limit and not idle)
    if isinstance(decision, Reuse):
        assert idle[decision.index].last_used == max(one.last_used for one in idle)


@given(idles, st.floats(0, 2000))
def test_what_is_retired_was_idle_for_long_enough_and_nothing_else(idle, now):
    over = plan_retirement(idle, now, 300.0)
    assert all((now - one.last_used >= 300.0) == (one in over) for one in idle)


def test_a_request_has_six_mebibytes():
    check_request(b"x" * MAX_SYNCHRONOUS_BYTES)
    with pytest.raises(RequestTooLargeError, match="6291456 bytes"):
        check_request(b"x" * (MAX_SYNCHRONOUS_BYTES + 1))


def test_a_response_has_six_mebibytes():
    fits = Outcome(b"x" * MAX_SYNCHRONOUS_BYTES)
    assert limited(fits) is fits
    refused = limited(Outcome(b"x" * (MAX_SYNCHRONOUS_BYTES + 1)))
    assert refused.error == "Unhandled"
    assert json.loads(refused.payload)["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"{}", b'{"statusCode": "200"}'])
def test_what_is_no_proxy_response_is_a_bad_gateway(payload):
    assert proxy_response(Outcome(payload))["statusCode"] == 502
    assert proxy_response(Outcome(b'{"statusCode": 200}', "Unhandled"))["statusCode"] == 502


def test_a_proxy_response_may_leave_out_all_but_its_status():
    empty = {"headers": {}, "multiValueHeaders": {}, "body": ""}
    assert proxy_response(Outcome(b'{"statusCode": 204}')) == {"statusCode": 204, **empty}
    assert proxy_response(Outcome(b'{"statusCode": 204, "headers": null}'))["headers"] == {}


def test_settings_are_those_of_the_deployed_stage(tmp_path):
    folder = tmp_path / ".chalice"
    folder.mkdir()
    stage = {"lambda_memory_size": 512, "lambda_functions": {"sweep": {"lambda_timeout": 120}}}
    config = {"lambda_timeout": 29, "stages": {"dev": stage, "local": {"lambda_timeout": 1}}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    resources = {"TaskChanged": {"Properties": {"ReservedConcurrentExecutions": 7}}}
    handlers = {"sweep": "a.sweep", "task_changed": "a.task_changed"}
    sweep, task_changed = read_settings(tmp_path, handlers, resources, concurrency=3)
    assert (sweep.timeout_seconds, sweep.memory_mib, sweep.concurrency) == (120, 512, 3)
    assert (task_changed.timeout_seconds, task_changed.concurrency) == (29, 7)


def test_logical_ids_are_those_of_chalice():
    from chalice.utils import to_cfn_resource_name

    assert logical_id("api_handler") == "APIHandler"
    for name in ("sweep", "run_critical_jobs", "keep_feed_whole"):
        assert logical_id(name) == to_cfn_resource_name(name)
