"""A viewer, which may only read, changes things.

Attacker: a caller that `VIEWERS` names. Goal: start, stop, change or delete anything, connect to
another owner's session. Reach: every route of the real app, with its own key.
"""

import hashlib
import os
import subprocess
import sys

import pytest

from tests.attacks.test_anonymous_on_the_internet import WITH_A_KEY_OF_THEIR_OWN
from tests.integration.conftest import ROOT, start_cloud  # noqa: F401 - a fixture

KEYS = {"vic": "vic's key", "opal": "opal's key"}
CALLBACKS = {path for _, path in WITH_A_KEY_OF_THEIR_OWN}


@pytest.fixture
def cloud(start_cloud):  # noqa: F811
    hashed = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    return start_cloud(
        environment={
            "AUTH_MODE": "api_key",
            "API_KEYS": hashed,
            "OPERATORS": "opal",
            "VIEWERS": "vic",
        }
    )


def changing_routes():
    program = "import app\nfor p, ms in app.app.routes.items():\n  for m in ms: print(m, p)"
    shown = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    routes = [line.split() for line in shown.stdout.splitlines()]
    found = [(m, p) for m, p in routes if m != "GET" and p not in CALLBACKS]
    assert len(found) > 10
    return [*found, ("GET", "/session")]


def test_a_viewer_sees_everything_and_changes_nothing(cloud):
    viewer, operator = ({"X-Api-Key": KEYS[name]} for name in ("vic", "opal"))
    job = {"image": "any", "description": {"name": "tally", "parameters": {}}}
    weekly = {"job": "tally", "expression": "rate(7 days)"}
    later = {"at": "2027-11-01T00:00:00Z"}
    assert cloud.http("PUT", "/jobs/tally", job, operator)[0] == 200
    assert cloud.http("PUT", "/schedules/weekly", weekly, operator)[0] == 201
    run = cloud.http("POST", "/jobs/tally/invocations", later, operator)[1]["id"]
    session = cloud.http("GET", "/session", None, operator)[1]["id"]
    names = {"{job}": "tally", "{schedule_id}": "weekly", "{app}": "listings"}
    names |= {"{invocation_id}": run, "{session_id}": session}
    for method, route in changing_routes():
        path = route
        for placeholder, name in names.items():
            path = path.replace(placeholder, name)
        status, answer = cloud.http(method, path, {}, viewer)
        assert (route, status, answer["error"]["code"]) == (route, 403, "forbidden")
    for path in ("/jobs/tally", "/schedules/weekly", f"/invocations/{run}", "/audit"):
        assert cloud.http("GET", path, None, viewer)[0] == 200
    listed = cloud.http("GET", "/invocations?owner=api_key:opal", None, viewer)[1]["invocations"]
    assert [(one["id"], one["state"]) for one in listed] == [(run, "SCHEDULED")]
    assert cloud.http("GET", "/whoami", None, viewer)[1]["role"] == "viewer"
    seen, own = (
        cloud.http("GET", f"/sessions/{session}", None, who)[1] for who in (viewer, operator)
    )
    assert own.keys() - seen.keys() >= {"ip", "port", "path", "url"}
    refused = cloud.http("GET", "/audit?action=refused", None, operator)[1]["records"]
    assert {(one["who"], one["kind"]) for one in refused} == {("api_key:vic", "owner")}
