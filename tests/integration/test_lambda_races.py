"""Many at once where no two calls share a process: limits and at-most-once rest on the table."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.conftest import finish, launch, wait_until
from tests.integration.light_job import DESCRIPTION, Runs, make_light_job

pytestmark = pytest.mark.alone

APPS = """
default = "limited"

[apps.limited]
image = "usher-session"
cpu = 64
max_sessions = 3
"""
AT_ONCE = 8


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("races")
    apps = folder / "apps.toml"
    apps.write_text(APPS, encoding="utf-8")
    running = launch(folder, functions="lambda", apps=apps)
    body = {"image": make_light_job(folder / "light"), "description": DESCRIPTION}
    assert running.http("PUT", "/jobs/light", body)[0] == 200
    yield running
    finish(running)


@pytest.fixture
def runs():
    made = Runs()
    yield made
    made.close()


def at_once(call):
    with ThreadPoolExecutor(AT_ONCE) as callers:
        return list(callers.map(call, range(AT_ONCE)))


def test_a_limit_of_three_lets_three_in(cloud):
    answers = at_once(lambda _: cloud.http("POST", "/session?wait=0"))
    statuses = Counter(status for status, _ in answers)
    assert statuses == {202: 3, 429: AT_ONCE - 3}, answers
    for status, body in answers:
        if status == 202:
            cloud.http("DELETE", f"/sessions/{body['id']}")
    wait_until(lambda: not cloud.tasks(), 60, "the end of all tasks")
    # The dispatcher receives an end a moment after the engine.
    wait_until(lambda: cloud.http("POST", "/session?wait=0")[0] == 202, 20, "a free place")


def test_one_key_has_one_invocation_and_it_runs_once(cloud, runs):
    body = {"parameters": {"port": runs.port, "seconds": 0.1}}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = at_once(lambda _: cloud.http("POST", "/jobs/light/invocations", body, key))
    ids = {told["id"] for status, told in answers if status in {200, 201}}
    assert len(ids) == 1, answers
    assert {status for status, _ in answers} <= {200, 201, 429}, answers
    (one,) = ids
    end_of(cloud, one)
    assert sum(runs.of.values()) == 1


def test_rounds_and_sweeps_of_many_processes_launch_nothing_twice(cloud, runs):
    body = {"parameters": {"port": runs.port, "seconds": 0.2}}
    made = at_once(lambda _: cloud.http("POST", "/jobs/light/invocations", body))
    assert {status for status, _ in made} == {201}
    functions = ["sweep", "run_normal_jobs", "sweep", "run_critical_jobs"] * 2
    at_once(lambda n: cloud.fire(functions[n], {"Records": []} if n % 2 else None))
    for _, told in made:
        assert end_of(cloud, told["id"])["reason"] == "succeeded"
    assert sum(runs.of.values()) == AT_ONCE
    assert set(runs.of.values()) == {1}


def end_of(cloud, invocation_id):
    def ended():
        _, found = cloud.http("GET", f"/invocations/{invocation_id}")
        return found if found["finishedAt"] else None

    return wait_until(ended, 90, "the end of the invocation", every=0.2)
