"""A caller with a key starts so many runs of jobs that other owners get none.

Goal: all hosts, or a full table. Reach: a key of its own, parallel requests, deferred runs, other
idempotency keys. The quotas are exact under parallel requests and decremented at the end.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.conftest import start_cloud  # noqa: F401 - a fixture

KEYS = {"ann": "ann's key", "bob": "bob's key", "opal": "opal's key"}


@pytest.fixture
def cloud(start_cloud):  # noqa: F811 - that fixture
    hashed = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    cloud = start_cloud(
        environment={
            "AUTH_MODE": "api_key",
            "API_KEYS": hashed,
            "OPERATORS": "opal",
            "JOBS_PER_OWNER": "3",
            "JOBS_PER_OWNER_A_DAY": "5",
        }
    )
    job = {"image": "any", "description": {"name": "tally", "parameters": None}}
    assert cloud.http("PUT", "/jobs/tally", job, headers={"X-Api-Key": KEYS["opal"]})[0] == 200
    return cloud


def invoke(cloud, name, key=None):
    later = {"at": (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="hours")}
    headers = {"X-Api-Key": KEYS[name]} | ({"Idempotency-Key": key} if key else {})
    return cloud.http("POST", "/jobs/tally/invocations", later, headers=headers)


def kill(cloud, invocation):
    path = f"/invocations/{invocation['id']}/kill"
    assert cloud.http("POST", path, headers={"X-Api-Key": KEYS["opal"]})[1]["reason"] == "killed"


def test_an_owner_has_as_many_as_the_quotas_say_and_no_more(cloud):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: invoke(cloud, "ann", f"key-{n}"), range(16)))
    accepted = {n: body for n, (status, body) in enumerate(answers) if status == 201}
    assert len(accepted) == 3
    refused = [body["error"] for status, body in answers if status == 429]
    assert {error["code"] for error in refused} <= {"limit_reached", "busy"}
    assert len(refused) == 13

    number, first = next(iter(accepted.items()))
    status, repeated = invoke(cloud, "ann", f"key-{number}")
    assert (status, repeated["id"]) == (200, first["id"])
    assert invoke(cloud, "bob")[0] == 201
    assert [invoke(cloud, "opal")[0] for _ in range(6)] == [201] * 6

    kill(cloud, first)
    status, fourth = invoke(cloud, "ann")
    assert status == 201
    status, body = invoke(cloud, "ann")
    assert (status, body["error"]["code"]) == (429, "limit_reached")
    assert "wait or run" in body["error"]["message"]

    kill(cloud, fourth)
    status, fifth = invoke(cloud, "ann")
    assert status == 201
    kill(cloud, fifth)
    status, body = invoke(cloud, "ann")
    assert (status, body["error"]["code"]) == (429, "limit_reached")
    assert "a day" in body["error"]["message"]
