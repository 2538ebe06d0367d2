"""A caller with a key reads and uses resources of other owners.

Attacker: a caller with a valid key and no other rights. Goal: read secrets in the parameters of
schedules and in the environment of jobs; be served before all other owners. Reach: the dispatcher's
API.
"""

import hashlib
import json

import pytest

from tests.integration.conftest import (
    start_shared_cloud,  # noqa: F401 - a fixture
    wait_until,
)

SECRET = "correct-horse-battery-staple"
KEYS = {"ann": "ann's key", "vera": "vera's key", "opal": "opal's key"}


@pytest.fixture(scope="module")
def cloud(start_shared_cloud):  # noqa: F811
    hashed = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    cloud = start_shared_cloud(
        environment={
            "AUTH_MODE": "api_key",
            "API_KEYS": hashed,
            "OPERATORS": "opal",
            "CRITICAL_OWNERS": "api_key:vera",
        }
    )
    operator = {"X-Api-Key": KEYS["opal"]}
    description = {"name": "tally", "parameters": {}, "environment": {"PASSWORD": SECRET}}
    job = {"image": "any", "description": description}
    schedule = {"job": "tally", "expression": "rate(7 days)", "parameters": {"token": SECRET}}
    assert cloud.http("PUT", "/jobs/tally", job, headers=operator)[0] == 200
    assert cloud.http("PUT", "/schedules/weekly", schedule, headers=operator)[0] == 201
    app = {
        "environment": {"PASSWORD": SECRET},
        "command": ["serve", f"--token={SECRET}"],
        "feed_url": f"redis://:{SECRET}@feed.example:6379/updates",
        "health_check": ["CMD", "check", SECRET],
    }
    body = {"image": "any", "description": app}
    assert cloud.http("PUT", "/apps/chat", body, headers=operator)[0] == 200
    return cloud


@pytest.mark.parametrize(
    "path", ["/jobs", "/jobs/tally", "/schedules", "/schedules/weekly", "/apps", "/apps/chat"]
)
def test_no_secret_of_a_job_schedule_or_app_is_shown_to_other_callers(cloud, path):
    def seen_by(name):
        _, seen = cloud.http("GET", path, headers={"X-Api-Key": KEYS[name]})
        return json.dumps(seen)

    wait_until(lambda: SECRET in seen_by("opal"))  # indexes lag
    assert SECRET not in seen_by("ann")


def test_nobody_goes_before_others_without_the_right_to(cloud):
    def invoke(name, priority):
        path, body = "/jobs/tally/invocations", {"priority": priority}
        status, answer = cloud.http("POST", path, body, headers={"X-Api-Key": KEYS[name]})
        return status, answer.get("error", {}).get("code")

    assert invoke("ann", "critical") == (403, "forbidden")
    assert [invoke("ann", p) for p in ("normal", "low")] == [(201, None)] * 2
    assert invoke("vera", "critical") == invoke("opal", "critical") == (201, None)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/jobs/tally", "/apps/chat", "/schedules/weekly"])
def test_nobody_but_operators_changes_what_is_deployed(cloud, method, path):
    body = {"image": "any", "description": {"name": "tally", "parameters": {}}, "job": "tally"}
    for name in ("ann", "vera"):
        headers = {"X-Api-Key": KEYS[name]}
        status, answer = cloud.http(method, path, body, headers=headers)
        assert (status, answer["error"]["code"]) == (403, "forbidden")
    headers = {"X-Api-Key": KEYS["ann"]}
    assert cloud.http("POST", "/apps/chat/rollback", {"revision": 1}, headers=headers)[0] == 403
