"""Callers' rights on sessions and jobs of owners, on the real dispatcher."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.conftest import wait_until
from tests.integration.sessions import look_as

KEYS = {"ann": "ann's key", "bob": "bob's key", "opal": "opal's key"}


@pytest.fixture
def keyed_cloud(start_cloud):
    hashed = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    return start_cloud(
        environment={"AUTH_MODE": "api_key", "API_KEYS": hashed, "OPERATORS": "opal"},
    )


def test_a_key_is_needed_and_sessions_are_their_owners(keyed_cloud):
    ann, bob, opal = ({"X-Api-Key": key} for key in KEYS.values())
    for headers in ({}, {"X-Api-Key": "wrong"}):
        status, body = keyed_cloud.http("GET", "/session", headers=headers)
        assert (status, body["error"]["code"]) == (401, "unauthorized")
    key = {"Idempotency-Key": "the-same-for-both"}
    status, of_ann = keyed_cloud.http("GET", "/session", headers=ann | key)
    assert status == 200
    status, of_bob = keyed_cloud.http("GET", "/session", headers=bob | key)
    assert status == 200
    assert of_ann["id"] != of_bob["id"]
    path = f"/sessions/{of_ann['id']}"
    assert look_as(keyed_cloud, path, {}) == 401
    assert look_as(keyed_cloud, path, bob) == 404
    assert keyed_cloud.http("DELETE", path, headers=bob)[0] == 404
    assert look_as(keyed_cloud, path, ann) == 200
    assert look_as(keyed_cloud, path, opal) == 200
    assert look_as(keyed_cloud, f"{path}/history", bob) == 404
    history = keyed_cloud.http("GET", f"{path}/history", headers=ann)[1]
    assert [step["state"] for step in history["history"]][-1] == history["state"]
    assert look_as(keyed_cloud, "/sessions?owner=api_key:ann", bob) == 403
    mine, theirs = ({"id": one["id"]} for one in (of_ann, of_bob))
    for who, wanted in ((opal, [theirs, mine]), (ann, [mine]), (bob, [theirs])):

        def listing(who=who):
            return keyed_cloud.http("GET", "/sessions", headers=who)[1]

        def is_shown(listing=listing, wanted=wanted):
            return len(listing()["sessions"]) >= len(wanted)

        wait_until(is_shown)  # indexes lag
        listed = listing()
        assert [{"id": one["id"]} for one in listed["sessions"]] == wanted
        assert of_ann["path"].strip("/") not in str(listed)
    assert keyed_cloud.http("DELETE", path, headers=opal)[0] == 200
    assert keyed_cloud.http("GET", "/health")[0] == 200


def test_apps_are_the_operators_to_deploy_and_everybodys_to_see(keyed_cloud):
    ann, _, opal = ({"X-Api-Key": key} for key in KEYS.values())
    ask = keyed_cloud.http
    mine = {"image": "usher-session", "description": {"environment": {"TONE": "blue"}}}
    assert ask("PUT", "/apps/mine", mine)[0] == 401
    for method, path, body in (
        ("PUT", "/apps/mine", mine),
        ("POST", "/apps/mine/rollback", {"revision": 1}),
        ("DELETE", "/apps/mine", None),
    ):
        status, told = ask(method, path, body, headers=ann)
        assert (status, told["error"]["code"]) == (403, "forbidden")
    assert ask("PUT", "/apps/mine", mine, headers=opal)[0] == 200
    seen, whole = (ask("GET", "/apps/mine", headers=who)[1] for who in (ann, opal))
    assert seen["description"]["environment"] == {"TONE": "***"}
    assert whole["description"]["environment"] == {"TONE": "blue"}
    assert whole.keys() - seen.keys() == {"image", "taskDefinition"}
    assert ask("DELETE", "/apps/mine", headers=opal)[0] == 200


def test_jobs_are_the_operators_and_invocations_their_owners(keyed_cloud):
    ann, bob, opal = ({"X-Api-Key": key} for key in KEYS.values())
    ask = keyed_cloud.http
    job = {"image": "any", "description": {"name": "tally", "parameters": None}}
    weekly = {"job": "tally", "expression": "rate(7 days)"}
    assert ask("PUT", "/jobs/tally", job)[0] == 401
    for path, body in (("/jobs/tally", job), ("/schedules/weekly", weekly)):
        status, told = ask("PUT", path, body, headers=ann)
        assert (status, told["error"]["code"]) == (403, "forbidden")
        assert ask("PUT", path, body, headers=opal)[0] in {200, 201}
    assert ask("DELETE", "/jobs/tally", headers=ann)[0] == 403
    assert ask("POST", "/schedules/weekly/run", headers=ann)[0] == 403
    assert look_as(keyed_cloud, "/schedules/weekly", ann) == 404
    wait_until(lambda: ask("GET", "/schedules", headers=opal)[1]["schedules"])  # indexes lag
    assert ask("GET", "/schedules", headers=ann)[1]["schedules"] == []
    assert [s["id"] for s in ask("GET", "/schedules", headers=opal)[1]["schedules"]] == ["weekly"]
    later = {"at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    made = {}
    for name, who in (("ann", ann), ("bob", bob)):
        headers = who | {"Idempotency-Key": "the-same-for-both"}
        status, made[name] = ask("POST", "/jobs/tally/invocations", later, headers=headers)
        assert status == 201
    path = f"/invocations/{made['ann']['id']}"
    for method, of in (("GET", ""), ("GET", "/logs"), ("POST", "/kill"), ("POST", "/rerun")):
        assert ask(method, path + of, headers=bob)[0] == 404
        assert ask(method, path + of)[0] == 401

    def all_are_shown():  # indexes lag
        return len(ask("GET", "/invocations", headers=opal)[1]["invocations"]) >= len(made)

    wait_until(all_are_shown)
    seen = {
        name: {one["id"] for one in ask("GET", "/invocations", headers=who)[1]["invocations"]}
        for name, who in (("ann", ann), ("bob", bob), ("opal", opal))
    }
    assert seen["ann"] == {made["ann"]["id"]}
    assert seen["bob"] == {made["bob"]["id"]}
    assert seen["opal"] >= seen["ann"] | seen["bob"]
    assert ask("POST", path + "/kill", headers=ann)[1]["reason"] == "killed"
