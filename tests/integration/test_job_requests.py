"""Requests of callers about jobs: repeated, large, nested and hostile, on the real dispatcher."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.api.http import MAX_DEPTH
from chalicelib.contract.jobs import MAX_PARAMETERS_BYTES
from tests.integration.conftest import exchange

ANYTHING = {"type": "object"}


def deploy(cloud, name, schema):
    body = {"image": "any", "description": {"name": name, "parameters": schema}}
    return cloud.http("PUT", f"/jobs/{name}", body)


def invoke(cloud, name, parameters, key=None, **more):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    headers = {"Idempotency-Key": key} if key else {}
    body = {"parameters": parameters, "at": tomorrow} | more
    return cloud.http("POST", f"/jobs/{name}/invocations", body, headers=headers)


# Repeated requests.


@pytest.mark.parametrize(
    ("first", "second"), [(1, True), (0, False), (1, "1"), (None, 0), (1, 1.5), ([1], [True])]
)
def test_another_value_under_the_same_key_is_a_conflict(cloud, first, second):
    assert deploy(cloud, "exact", ANYTHING)[0] == 200
    key = f"{first!r}-{second!r}".replace(" ", "")
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    status, made = invoke(cloud, "exact", {"n": first}, key, at=at)
    assert status == 201
    assert invoke(cloud, "exact", {"n": second}, key, at=at)[0] == 409
    status, again = invoke(cloud, "exact", {"n": first}, key, at=at)
    assert (status, again["id"]) == (200, made["id"])


def test_a_location_leads_to_the_record_and_its_tag_says_whether_it_changed(cloud):
    assert deploy(cloud, "located", ANYTHING)[0] == 200
    body = {"parameters": {}, "at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    url = f"{cloud.dispatcher}/jobs/located/invocations"
    status, made, _ = exchange("POST", url, body, {}, 30)
    assert status == 201
    record = f"{cloud.dispatcher}{made['Location']}"
    status, found, _ = exchange("GET", record, None, {}, 30)
    assert status == 200
    known = {"If-None-Match": found["ETag"]}
    assert exchange("GET", f"{record}?wait=0.5", None, known, 30)[0] == 304
    with ThreadPoolExecutor() as others:
        waits = others.submit(exchange, "GET", f"{record}?wait=25", None, known, 40)
        assert cloud.http("POST", f"{made['Location']}/kill", {})[0] == 200
        status, _, content = waits.result()
    assert (status, json.loads(content)["state"]) == (200, "FINISHED")


def test_a_repeated_request_is_answered_whatever_became_of_the_job(cloud):
    assert deploy(cloud, "changing", ANYTHING)[0] == 200
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    status, made = invoke(cloud, "changing", {"n": 1}, "kept", at=at)
    assert status == 201
    _, rerun = cloud.http(
        "POST", f"/invocations/{made['id']}/rerun", headers={"Idempotency-Key": "again"}
    )

    def repeats():
        status, again = invoke(cloud, "changing", {"n": 1}, "kept", at=at)
        assert (status, again["id"]) == (200, made["id"])
        status, again = cloud.http(
            "POST", f"/invocations/{made['id']}/rerun", headers={"Idempotency-Key": "again"}
        )
        assert (status, again["id"]) == (200, rerun["id"])

    assert deploy(cloud, "changing", {"type": "object", "required": ["new"]})[0] == 200
    repeats()
    assert invoke(cloud, "changing", {"n": 1}, "another", at=at)[0] == 400
    assert cloud.http("DELETE", "/jobs/changing")[0] == 200
    repeats()
    assert invoke(cloud, "changing", {"n": 1}, "a-third", at=at)[0] == 400


def test_a_repeated_request_is_answered_when_its_time_is_over(cloud):
    assert deploy(cloud, "brief", ANYTHING)[0] == 200
    until = datetime.now(UTC) + timedelta(seconds=1)
    body = {"parameters": {}, "notAfter": until.isoformat()}
    headers = {"Idempotency-Key": "brief"}
    status, made = cloud.http("POST", "/jobs/brief/invocations", body, headers=headers)
    assert status == 201
    while datetime.now(UTC) <= until:
        cloud.http("GET", f"/invocations/{made['id']}")
    status, again = cloud.http("POST", "/jobs/brief/invocations", body, headers=headers)
    assert (status, again["id"]) == (200, made["id"])
    assert cloud.http("POST", "/jobs/brief/invocations", body)[0] == 400


def test_a_repeated_run_of_a_schedule_is_answered_as_other_repeats_are(cloud):
    assert deploy(cloud, "planned", ANYTHING)[0] == 200
    body = {"job": "planned", "expression": "rate(9 days)", "parameters": {}}
    assert cloud.http("PUT", "/schedules/nine", body)[0] == 201
    headers = {"Idempotency-Key": "run-once"}
    status, made = cloud.http("POST", "/schedules/nine/run", headers=headers)
    assert status == 201
    assert cloud.http("DELETE", "/jobs/planned")[0] == 200
    assert cloud.http("DELETE", "/schedules/nine")[0] == 200
    status, again = cloud.http("POST", "/schedules/nine/run", headers=headers)
    assert (status, again["id"]) == (200, made["id"])


# Sizes and nesting.


@pytest.mark.parametrize("character", ["é", "€", "a", "😀"])
def test_64_kib_are_utf_8_however_they_are_written(cloud, character):
    assert deploy(cloud, "large", ANYTHING)[0] == 200
    room = MAX_PARAMETERS_BYTES - len('{"n":""}')
    text = character * (room // len(character.encode()))
    for ascii_only in (True, False):
        raw = json.dumps({"parameters": {"n": text}}, ensure_ascii=ascii_only).encode()
        assert cloud.http("POST", "/jobs/large/invocations", raw)[0] == 201
        raw = json.dumps({"parameters": {"n": text + "aaaa"}}, ensure_ascii=ascii_only).encode()
        assert cloud.http("POST", "/jobs/large/invocations", raw)[0] == 400
    body = {"job": "large", "expression": "rate(9 days)", "parameters": {"n": text}}
    assert cloud.http("PUT", "/schedules/large", body)[0] in {200, 201}


ROUTES = [
    ("PUT", "/jobs/deep", '{"image": "any", "description": %s}'),
    ("POST", "/jobs/deep/invocations", '{"parameters": %s}'),
    ("PUT", "/schedules/deep", '{"job": "deep", "expression": "rate(1 day)", "parameters": %s}'),
    ("POST", "/invocations/0b2d6b0a-1f5c-4a3e-9d6b-1c2f3a4b5c6d/start", "%s"),
    ("POST", "/invocations/0b2d6b0a-1f5c-4a3e-9d6b-1c2f3a4b5c6d/progress", "%s"),
    ("POST", "/invocations/0b2d6b0a-1f5c-4a3e-9d6b-1c2f3a4b5c6d/finish", '{"result": %s}'),
    ("POST", "/sessions/0b2d6b0a-1f5c-4a3e-9d6b-1c2f3a4b5c6d/events", "%s"),
]


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 960, 7_000])
@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_what_is_nested_too_deeply_is_refused_at_the_door(cloud, method, path, body, depth):
    deploy(cloud, "deep", ANYTHING)
    for opens, closes in (("[", "]"), ('{"a":', "}")):
        raw = (body % (opens * depth + "1" + closes * depth)).encode()
        status, told = cloud.http(method, path, raw, {"Authorization": "Bearer x"})
        assert status == 400, told
        assert "nested" in told["error"]["message"] or "bytes" in told["error"]["message"]
    assert cloud.http("GET", "/invocations")[0] == 200


def test_a_schema_of_many_levels_is_refused(cloud):
    schema = {"type": "object"}
    for _ in range(400):
        schema = {"allOf": [schema]}
    assert deploy(cloud, "levels", schema)[0] == 400


# Schemas whose checks take long.


def test_health_answers_while_patterns_are_checked(cloud):
    pattern = {"properties": {"n": {"type": "string", "pattern": "^(a+)+$"}}}
    assert deploy(cloud, "pattern", pattern)[0] == 200
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(invoke, cloud, "pattern", {"n": "a" * 40 + "!"}) for _ in range(4)]
        began = time.monotonic()
        assert cloud.http("GET", "/health")[0] == 200
        assert [one.result()[0] for one in asked] == [400] * 4
    print(f"{time.monotonic() - began:.2f} s")
