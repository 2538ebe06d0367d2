"""Who may ask, and whose sessions they may touch, on the real dispatcher."""

import hashlib

import pytest

from tests.integration.sessions import look_as

KEYS = {"ann": "ann's key", "bob": "bob's key", "opal": "opal's key"}


@pytest.fixture
def keyed_cloud(start_cloud):
    hashed = ",".join(f"{n}:{hashlib.sha256(k.encode()).hexdigest()}" for n, k in KEYS.items())
    return start_cloud(
        environment={"AUTH_MODE": "api_key", "API_KEYS": hashed, "OPERATORS": "opal"}
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
    assert keyed_cloud.http("DELETE", path, headers=opal)[0] == 200
    assert keyed_cloud.http("GET", "/health")[0] == 200
