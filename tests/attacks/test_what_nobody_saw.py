"""A caller changes something without an audit record.

Attacker: a caller with a key, or an operator. Goal: change something without a record of it; see
others' records; hide an attempt behind many; find secrets in the records. Reach: the API.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.conftest import start_cloud  # noqa: F401 - a fixture
from usher.cli.main import main

SECRET = "correct-horse-battery-staple"
KEYS = {"ann": "ann's key", "opal": "opal's key"}


def headers(name):
    return {"X-Api-Key": KEYS[name]}


@pytest.fixture
def cloud(start_cloud):  # noqa: F811
    hashed = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    return start_cloud(
        environment={"AUTH_MODE": "api_key", "API_KEYS": hashed, "OPERATORS": "opal"}
    )


def call(cloud, name, method, path, body=None, expected=(200, 201, 202)):
    status, answer = cloud.http(method, path, body, headers=headers(name))
    assert status in expected, answer
    return answer


def records(cloud, query=""):
    return call(cloud, "opal", "GET", f"/audit?limit=100{query}")["records"]


def test_every_change_is_one_record_and_no_record_has_a_secret(cloud):
    job = {
        "image": "any",
        "description": {"name": "tally", "parameters": {}, "environment": {"PASSWORD": SECRET}},
    }
    call(cloud, "opal", "PUT", "/jobs/tally", job)
    call(cloud, "opal", "PUT", "/jobs/tally", job)  # the same again
    run = {"parameters": {"token": SECRET}, "at": later()}
    made = call(cloud, "ann", "POST", "/jobs/tally/invocations", run)
    call(cloud, "ann", "POST", f"/invocations/{made['id']}/kill")
    call(cloud, "ann", "POST", f"/invocations/{made['id']}/kill")  # changes nothing
    again = call(cloud, "ann", "POST", f"/invocations/{made['id']}/rerun")
    call(cloud, "opal", "POST", f"/invocations/{again['id']}/kill")
    schedule = {"job": "tally", "expression": "rate(7 days)", "parameters": {"token": SECRET}}
    call(cloud, "opal", "PUT", "/schedules/weekly", schedule)
    call(cloud, "opal", "POST", "/schedules/weekly/pause")
    call(cloud, "opal", "POST", "/schedules/weekly/resume")
    call(cloud, "opal", "DELETE", "/schedules/weekly")
    session = call(cloud, "ann", "GET", "/session?wait=0")
    call(cloud, "ann", "DELETE", f"/sessions/{session['id']}")
    call(cloud, "opal", "DELETE", "/jobs/tally")

    found = records(cloud)
    invocation, session_id = f"invocations/{made['id']}", f"sessions/{session['id']}"
    shown = [(r["who"], r["action"], r["resource"], r["outcome"]) for r in reversed(found)]
    assert shown == [
        ("api_key:opal", "job.register", "jobs/tally", "done"),
        ("api_key:opal", "job.register", "jobs/tally", "unchanged"),
        ("api_key:ann", "invocation.invoke", invocation, "done"),
        ("api_key:ann", "invocation.kill", invocation, "done"),
        ("api_key:ann", "invocation.rerun", f"invocations/{again['id']}", "done"),
        ("api_key:opal", "invocation.kill", f"invocations/{again['id']}", "done"),
        ("api_key:opal", "schedule.put", "schedules/weekly", "done"),
        ("api_key:opal", "schedule.pause", "schedules/weekly", "done"),
        ("api_key:opal", "schedule.resume", "schedules/weekly", "done"),
        ("api_key:opal", "schedule.delete", "schedules/weekly", "done"),
        ("api_key:ann", "session.stop", session_id, "done"),
        ("api_key:opal", "job.deregister", "jobs/tally", "done"),
    ]
    assert SECRET not in json.dumps(found)
    assert all(r["address"] == "127.0.0.1" and r["requestId"] and r["at"] for r in found)
    registered = found[-1]["after"]
    assert (registered["revision"], registered["environment"]) == (1, ["PASSWORD"])
    assert found[-4]["before"]["state"] == "SCHEDULED"
    assert found[-4]["after"]["state"] == "FINISHED"

    killed = records(cloud, "&who=api_key:ann&action=invocation.kill")
    assert [r["resource"] for r in killed] == [invocation]
    assert [r["action"] for r in records(cloud, f"&resource={session_id}")] == ["session.stop"]
    assert_pages_lead_through_all(cloud, [r["id"] for r in found])


def assert_pages_lead_through_all(cloud, ids):
    seen, query = [], "/audit?limit=5"
    while query:
        page = call(cloud, "opal", "GET", query)
        assert len(page["records"]) <= 5
        seen += [r["id"] for r in page["records"]]
        query = page["next"] and f"/audit?limit=5&next={page['next']}"
        if page["next"]:
            other = f"/audit?limit=5&who=api_key:ann&next={page['next']}"
            call(cloud, "opal", "GET", other, expected=(400,))
    assert seen == ids


def test_the_command_lists_them_for_operators_alone(cloud, monkeypatch, capsys):
    for name in ("one", "two", "three"):
        job = {"image": "any", "description": {"name": name, "parameters": {}}}
        call(cloud, "opal", "PUT", f"/jobs/{name}", job)
    url = ["--url", cloud.ready["dispatcher"]]
    monkeypatch.setenv("USHER_API_KEY", KEYS["opal"])
    assert main(["audit", "--limit", "2", *url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["AT", "WHO", "ADDRESS", "ACTION", "RESOURCE", "OUTCOME", "CHANGES"]
    assert [line.split()[5] for line in lines[1:]] == ["jobs/three", "jobs/two"]
    assert main(["audit", "--json", "--resource", "jobs/one", *url]) == 0
    (document,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (document["who"], document["after"]["revision"]) == ("api_key:opal", 1)
    monkeypatch.setenv("USHER_API_KEY", KEYS["ann"])
    assert main(["audit", *url]) == 1
    assert "only operators" in capsys.readouterr().err


def later():
    return (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="hours")


def test_refused_attempts_are_recorded_and_many_of_them_do_not_fill_the_table(cloud):
    call(cloud, "ann", "GET", "/audit", expected=(403,))

    def attempt(number):
        call(cloud, "ann", "PUT", f"/jobs/job{number}", {"image": "any"}, expected=(403,))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(60)))
    call(cloud, "ann", "DELETE", "/schedules/weekly", expected=(403,))
    found = records(cloud, "&action=refused")
    assert {(r["who"], r["outcome"], r["reason"]) for r in found} == {
        ("api_key:ann", "refused", "forbidden")
    }
    verbs = [r["resource"].partition(" ")[0] for r in found]
    assert {"GET", "PUT", "DELETE"} >= set(verbs)
    assert "PUT" in verbs
    assert len(found) <= 6, "one for each kind of request a minute, and the minute may change"
    assert "/audit" in [r["resource"].partition(" ")[2] for r in found]


def test_nobody_without_a_key_is_recorded_or_told(cloud):
    assert cloud.http("GET", "/audit")[0] == 401
    assert cloud.http("PUT", "/jobs/tally", {"image": "any"})[0] == 401
    assert records(cloud) == []
