"""Parallel requests: assignments, limits that are never exceeded, and the state after crashes."""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from chalicelib.sessions.items import from_item
from chalicelib.sessions.model import Session, State
from tests.integration.conftest import (
    RunningCloud,
    finish,
    launch,
    wait_until,
)
from tests.integration.light import IMAGE, MEMORY_MIB, make_light_image
from tests.integration.sessions import kill_container, no_tasks

pytestmark = pytest.mark.alone

SMALL, LARGE, TOTAL = 20, 100, 250
POOLS = f"""
[limits]
total = {TOTAL}

[apps.small]
image = "{IMAGE}"
cpu = 8
memory = {MEMORY_MIB}
connect_deadline_seconds = 600
pool = {{minimum = {SMALL}, maximum = {SMALL}}}

[apps.large]
image = "{IMAGE}"
cpu = 8
memory = {MEMORY_MIB}
connect_deadline_seconds = 600
queue_seconds = 600
pool = {{minimum = {LARGE}, maximum = {LARGE}}}
"""
APP_MAXIMUM, OWNER_MAXIMUM, ALL_MAXIMUM, A_SECOND = 6, 14, 24, 10
LIMITED = f"""
[limits]
total = {ALL_MAXIMUM}
per_owner = {OWNER_MAXIMUM}
per_second = {A_SECOND}

[apps.few]
image = "{IMAGE}"
cpu = 8
memory = {MEMORY_MIB}
connect_deadline_seconds = 600
max_sessions = {APP_MAXIMUM}

[apps.many]
image = "{IMAGE}"
cpu = 8
memory = {MEMORY_MIB}
connect_deadline_seconds = 600
"""
OWNERS = ("ann", "bob")
ROOMY = {"hosts": 2, "host_cpu": 16_384, "host_memory": 32_768}


@dataclass(frozen=True)
class Reply:
    """The answer to one of many parallel requests."""

    status: int
    body: dict[str, Any]
    retry_after: str | None


def ask(cloud: RunningCloud, path: str, **headers: str) -> Reply:
    """GET; returns any answer, errors included."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    outgoing = urllib.request.Request(cloud.dispatcher + path, headers=given)
    try:
        with urllib.request.urlopen(outgoing, timeout=90) as answer:
            return Reply(answer.status, json.load(answer), answer.headers["Retry-After"])
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, json.load(error), error.headers["Retry-After"])


def at_once(number: int, act: Callable[[int], Any], seconds: float = 0.0) -> list[Any]:
    """Runs this many threads; none begins before all exist, all begin within `seconds`."""
    barrier, pause = threading.Barrier(number), threading.Event()

    def run(n: int) -> Any:
        barrier.wait(60)
        pause.wait(seconds * n / number)
        return act(n)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(run, range(number)))


def items(cloud: RunningCloud) -> list[dict[str, Any]]:
    """The whole table at one instant."""
    found: list[dict[str, Any]] = []
    table = "usher-local-sessions"
    for page in cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table):
        found += page["Items"]
    return found


def sessions(cloud: RunningCloud) -> list[Session]:
    return [from_item(item) for item in items(cloud) if "uuid" in item]


def counted(table: list[dict[str, Any]]) -> Counter[str]:
    """Returns the limits' counters; the parts of a split one are added up."""
    sums: Counter[str] = Counter()
    for item in table:
        kind, _, rest = item["id"]["S"].partition("#")
        if kind == "limit":
            sums[rest.rpartition("#")[0]] += int(item["n"]["N"])
    return sums


def is_held(session: Session) -> bool:
    return session.owner is not None and session.state is not State.ENDED


def end_all(cloud: RunningCloud, **headers: str) -> None:
    """Stop all live sessions; afterwards all counters are zero."""
    live = [s.id for s in sessions(cloud) if is_held(s)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(
                lambda one: cloud.http("DELETE", f"/sessions/{one}", headers=headers)[0], live
            )
        )
    assert set(answers) <= {200}

    def are_over() -> bool:
        return not any(is_held(s) for s in sessions(cloud))

    wait_until(are_over, 60, "the end of all sessions", every=0.2)
    left = {scope: n for scope, n in counted(items(cloud)).items() if n}
    assert not {scope for scope in left if not scope.startswith("second/")}, left


def told_or_served(replies: list[Reply]) -> Counter[int]:
    """Every client received an address, a location to poll, or a time to retry."""
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) <= {200, 202, 429}, [r for r in replies if r.status >= 500][:3]
    assert all(int(r.retry_after or 0) >= 1 for r in replies if r.status != 200)
    ids = [r.body["id"] for r in replies if r.status != 429]
    assert len(set(ids)) == len(ids), "nobody has somebody else's session"
    return statuses


@pytest.fixture(scope="module")
def filled_pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """A cloud with a pool of 20 and one of 100, filled by several tenders at once."""
    folder = tmp_path_factory.mktemp("pools")
    with running(folder, POOLS) as cloud:
        yield cloud


@pytest.fixture
def pools(filled_pools: RunningCloud) -> Iterator[RunningCloud]:
    """Filled pools, the same cloud for all tests; each test ends its sessions."""
    yield filled_pools
    end_all(filled_pools)


@contextmanager
def running(folder: Path, apps_text: str, **options: Any) -> Iterator[RunningCloud]:
    apps = folder / "apps.toml"
    apps.write_text(apps_text, encoding="utf-8")
    image = make_light_image(folder / "light")
    cloud = launch(folder, apps=apps, image=image, **ROOMY, **options)
    try:
        yield cloud
    finally:
        finish(cloud)


def test_tenders_at_once_fill_the_pools_and_not_more(pools: RunningCloud) -> None:
    def filled() -> bool:
        with ThreadPoolExecutor(2) as tenders:
            outcomes = list(tenders.map(lambda _: pools.fire("sweep"), range(2)))
        assert not [outcome for outcome in outcomes if outcome["error"]]
        warm = Counter(s.app for s in sessions(pools) if s.state is State.WARM)
        return warm == {"small": SMALL, "large": LARGE}

    wait_until(filled, 120, "full pools", every=1.0)
    ever = Counter(s.app for s in sessions(pools))
    assert ever == {"small": SMALL, "large": LARGE}, "nothing was started in vain"
    assert len(pools.tasks()) == SMALL + LARGE


def test_64_threads_race_on_20_warm_sessions(pools: RunningCloud) -> None:
    replies = at_once(64, lambda _: ask(pools, "/session?app=small&wait=0"))
    statuses = told_or_served(replies)
    assert statuses[429] == 0
    warm = [r.body for r in replies if r.status == 200 and r.body["warm"]]
    assert len(warm) == SMALL
    assert len({body["path"] for body in warm}) == len({body["port"] for body in warm}) == SMALL


def test_300_requests_in_about_a_second_against_a_pool_of_100(pools: RunningCloud) -> None:
    def total() -> int:
        return sum(is_held(s) for s in sessions(pools))

    with watching(lambda: total() <= TOTAL) as seen:
        replies = at_once(300, lambda _: ask(pools, "/session?app=large&wait=0"), seconds=1.0)
    statuses = told_or_served(replies)
    warm = [r for r in replies if r.status == 200 and r.body["warm"]]
    assert len(warm) == LARGE
    assert statuses[429] == 300 - TOTAL
    print(f"300 at once: {dict(statuses)}, looked {seen.looks} times")

    def all_have_theirs() -> bool:
        return not [s for s in sessions(pools) if is_held(s) and s.state is not State.RESERVED]

    wait_until(all_have_theirs, 120, "an address for everyone who was promised one", every=0.3)
    held = [s for s in sessions(pools) if is_held(s)]
    assert len({s.task_arn for s in held}) == len(held) == TOTAL


def test_the_dispatcher_and_containers_killed_during_a_burst(pools: RunningCloud) -> None:
    number = 60

    def insists(n: int) -> Reply:
        """Repeat a request with the same key, as a client does after an error."""
        replies: list[Reply] = []

        def answered() -> bool:
            try:
                replies.append(ask(pools, "/session?app=large&wait=0", Idempotency_Key=f"k{n}"))
            except (OSError, ValueError):
                return False  # the connection was closed, or the port does not listen
            return replies[-1].status in {200, 202}

        wait_until(answered, 60, "an answer")
        return replies[-1]

    killer = threading.Timer(0.3, lambda: pools.control("POST", "dispatcher/kill"))
    killer.start()
    replies = at_once(number, insists)
    killer.join()
    assert len({reply.body["id"] for reply in replies}) == number
    again = [insists(n).body["id"] for n in range(0, number, 6)]
    assert again == [reply.body["id"] for reply in replies[::6]]

    def promised() -> list[Session]:
        return [s for s in sessions(pools) if is_held(s)]

    wait_until(lambda: all(s.state is State.RESERVED for s in promised()), 60, "addresses")
    assert len(promised()) == number, "nobody was given two"
    killed = [s.id for s in promised()[:5]]
    for session_id in killed:
        kill_container(session_id)
    wait_until(lambda: len(promised()) == number - 5, 30, "the end of the killed")
    ended = {s.id: s for s in sessions(pools)}
    assert {str(ended[one].reason) for one in killed} == {"lost"}
    end_all(pools)
    pools.fire("sweep")
    live = {s.task_arn for s in sessions(pools) if s.state is not State.ENDED}
    wait_until(lambda: {t["taskArn"] for t in pools.tasks()} <= live, 30, "no orphans")


def test_500_parallel_requests_exceed_no_limit_at_any_instant(tmp_path: Path) -> None:
    keys = ",".join(f"{name}:{sha256(name.encode()).hexdigest()}" for name in OWNERS)
    environment = {"AUTH_MODE": "api_key", "API_KEYS": keys, "OPERATORS": "ann"}
    with running(tmp_path, LIMITED, environment=environment) as cloud:

        def within_limits() -> bool:
            table = items(cloud)
            held = [from_item(item) for item in table if "uuid" in item]
            held = [session for session in held if is_held(session)]
            owners, apps = Counter(s.owner for s in held), Counter(s.app for s in held)
            rates = [n for scope, n in counted(table).items() if scope.startswith("second/")]
            return (
                len(held) <= ALL_MAXIMUM
                and max(owners.values(), default=0) <= OWNER_MAXIMUM
                and apps["few"] <= APP_MAXIMUM
                and max(rates, default=0) <= A_SECOND
            )

        def one(n: int) -> Reply:
            app = "few" if n % 3 else "many"
            return ask(cloud, f"/session?app={app}&wait=0", X_Api_Key=OWNERS[n % 2])

        with watching(within_limits) as seen:
            replies = at_once(500, one, seconds=1.0)
            statuses = told_or_served(replies)
            assert statuses[429] >= 500 - ALL_MAXIMUM
            print(f"500 at once: {dict(statuses)}, looked {seen.looks} times")

            def is_full() -> bool:
                at_once(12, one)
                return sum(is_held(s) for s in sessions(cloud)) == ALL_MAXIMUM

            wait_until(is_full, 60, "as many sessions as there may be")
        end_all(cloud, **{"X-Api-Key": "ann"})
        no_tasks(cloud)


@dataclass
class Watch:
    """Number of checks of a condition during a test."""

    looks: int = 0


@contextmanager
def watching(is_true: Callable[[], bool]) -> Iterator[Watch]:
    """Check the condition again and again during the block; fail if it is false once."""
    over, watch, broken = threading.Event(), Watch(), []

    def look() -> None:
        while not over.is_set():
            watch.looks += 1
            if not is_true():
                broken.append(watch.looks)
                return
            over.wait(0.1)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
    assert watch.looks
    assert not broken, "it did not hold at every instant"
