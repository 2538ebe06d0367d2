"""Parallel requests, and crashes during them: no job runs twice, and none is lost."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.jobs.items import from_item
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.table import CAPACITY_KEY
from tests.integration.conftest import RunningCloud, finish, launch, request, wait_until
from tests.integration.light_job import DESCRIPTION, Runs, make_light_job
from tests.integration.test_races import ROOMY, at_once, watching

pytestmark = pytest.mark.alone

CAPACITY, KEPT = 12, 2


@pytest.fixture(scope="module")
def jobs_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """A cloud with twelve places, two of them for critical ones."""
    folder = tmp_path_factory.mktemp("jobs")
    places = {"JOBS_CAPACITY": str(CAPACITY), "JOBS_KEPT_FOR_CRITICAL": str(KEPT)}
    cloud = launch(folder, environment=places, **ROOMY)
    try:
        body = {"image": make_light_job(folder / "light"), "description": DESCRIPTION}
        status, answer = cloud.http("PUT", "/jobs/light", body)
        assert status == 200, answer
        yield cloud
    finally:
        finish(cloud)


@pytest.fixture
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    made.close()


def invoke(
    cloud: RunningCloud, runs: Runs, seconds: float = 0.0, *, key: str = "", **facts: Any
) -> dict[str, Any]:
    """POST, repeated until there is an answer, as a client with an idempotency key does."""
    body = {"parameters": {"port": runs.port, "seconds": seconds}, **facts}
    headers = {"Idempotency-Key": key} if key else {}
    found: list[dict[str, Any]] = []

    def answered() -> bool:
        try:
            path = f"{cloud.dispatcher}/jobs/light/invocations"
            status, answer = request("POST", path, body, headers)
        except OSError:
            return False
        if status in {200, 201}:
            found.append(answer | {"status": status})
        return bool(found)

    wait_until(answered, 60, "an answer", every=0.1)
    return found[0]


def items(cloud: RunningCloud) -> list[dict[str, Any]]:
    """The whole table at one instant."""
    found: list[dict[str, Any]] = []
    pages = cloud.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(TableName="usher-local-jobs"):
        found += page["Items"]
    return found


def invocations(cloud: RunningCloud) -> dict[str, Invocation]:
    found = [from_item(item) for item in items(cloud) if "#" not in item["id"]["S"]]
    return {invocation.id: invocation for invocation in found}


def is_counted_right(cloud: RunningCloud) -> bool:
    """Whether the capacity's counter equals the number of records that hold a place, within its
    bound.
    """
    table = items(cloud)
    counts = [int(i["n"]["N"]) for i in table if i["id"]["S"] == CAPACITY_KEY]
    records = [from_item(item) for item in table if "#" not in item["id"]["S"]]
    held = sum(bool(i.attempt_counters) for i in records)
    return [held] == (counts or [0]) and held <= CAPACITY


def wait_for_all(cloud: RunningCloud, ids: list[str], seconds: float = 120) -> list[Invocation]:
    """Wait until these have ended; the sweep runs every second instead of every minute."""

    def have_ended() -> list[Invocation] | None:
        cloud.fire("sweep")
        found = invocations(cloud)
        ended = [found[one] for one in ids if found[one].has_ended]
        return ended if len(ended) == len(ids) else None

    ended: list[Invocation] = wait_until(have_ended, seconds, "the end of all", every=1.0)
    return ended


def nothing_is_left(cloud: RunningCloud) -> None:
    wait_until(lambda: not cloud.tasks(), 30, "the end of all tasks")
    assert is_counted_right(cloud)


def test_64_threads_with_one_key_have_one_invocation(jobs_cloud: RunningCloud, runs: Runs) -> None:
    answers = at_once(64, lambda _: invoke(jobs_cloud, runs, key="the-same"))
    (only,) = {answer["id"] for answer in answers}
    assert Counter(answer["status"] for answer in answers) == {201: 1, 200: 63}
    (ended,) = wait_for_all(jobs_cloud, [only])
    assert ended.reason == "succeeded"
    assert runs.of == {only: 1}
    nothing_is_left(jobs_cloud)


def test_rounds_and_sweeps_at_once_launch_nothing_twice(
    jobs_cloud: RunningCloud, runs: Runs
) -> None:
    priorities = ("low", "normal", "critical")
    with watching(lambda: is_counted_right(jobs_cloud)) as seen:
        made = at_once(
            36, lambda n: invoke(jobs_cloud, runs, 0.2, priority=priorities[n % 3])["id"]
        )
        with ThreadPoolExecutor(6) as threads:
            fired = list(threads.map(lambda _: jobs_cloud.fire("sweep"), range(12)))
        assert not [outcome for outcome in fired if outcome["error"]]
        ended = wait_for_all(jobs_cloud, made)
    assert {i.reason for i in ended} == {"succeeded"}
    assert {i.attempt for i in ended} == {1}, "nothing was launched in vain"
    assert runs.of == dict.fromkeys(made, 1)
    print(f"36 at once through {CAPACITY} places, looked {seen.looks} times")
    nothing_is_left(jobs_cloud)


def test_a_kill_that_races_the_start_ends_it_once(jobs_cloud: RunningCloud, runs: Runs) -> None:
    pause = threading.Event()

    def one(number: int) -> str:
        made = str(invoke(jobs_cloud, runs, 30.0)["id"])
        pause.wait(number * 0.04)
        status, _ = jobs_cloud.http("POST", f"/invocations/{made}/kill")
        assert status in {200, 202}
        return made

    made = at_once(10, one)
    ended = wait_for_all(jobs_cloud, made)
    assert {i.reason for i in ended} == {"killed"}
    assert set(runs.of.values()) <= {1}
    print(f"killed in: {dict(Counter(i.started_at is not None for i in ended))} (had started)")
    nothing_is_left(jobs_cloud)


def test_the_dispatcher_killed_with_50_under_way_loses_none_and_runs_none_twice(
    jobs_cloud: RunningCloud, runs: Runs
) -> None:
    kills = [
        threading.Timer(seconds, lambda: jobs_cloud.control("POST", "dispatcher/kill"))
        for seconds in (0.4, 3.0)
    ]
    began = time.monotonic()
    for kill in kills:
        kill.start()
    made = at_once(50, lambda n: invoke(jobs_cloud, runs, 0.3, key=f"k{n}")["id"])
    for kill in kills:
        kill.join()
    assert len(set(made)) == 50
    ended = wait_for_all(jobs_cloud, made, 180)
    assert Counter(str(i.reason) for i in ended) == {"succeeded": 50}
    assert runs.of == dict.fromkeys(made, 1)
    again = [invoke(jobs_cloud, runs, 0.3, key=f"k{n}")["id"] for n in range(0, 50, 10)]
    assert again == made[::10]
    attempts = Counter(i.attempt for i in ended)
    print(f"50 with two kills in {time.monotonic() - began:.1f} s, attempts {dict(attempts)}")
    nothing_is_left(jobs_cloud)
