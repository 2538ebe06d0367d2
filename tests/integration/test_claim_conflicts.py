"""Many claims at once: DynamoDB cancels transactions that meet at the one count of what runs."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.apps import App, Limits, PoolSize
from chalicelib.callers import Caller
from chalicelib.capacity.groups import parse_groups
from chalicelib.capacity.ledger import Ledger
from chalicelib.capacity.turns import Turns
from chalicelib.dynamodb.table import BUSY_TRIES
from chalicelib.environment import SystemIds
from chalicelib.errors import LimitError
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.table import InvocationsTable, NotClaimed
from chalicelib.sessions.claims import Claims
from chalicelib.sessions.items import to_item
from chalicelib.sessions.limits import Limit, counters_of
from chalicelib.sessions.requests import DispatchRequest
from chalicelib.sessions.table import SessionsTable
from tests.embedded_tables import EmbeddedTables
from tests.integration.test_tables_contract import CONFIG, PLAN, claimed, waiting, warm

CLAIMS = 64
PLACES = 20


@pytest.fixture
def tables() -> EmbeddedTables:
    tables = EmbeddedTables()
    tables.reset()
    client = tables.client()
    for call in PLAN:
        getattr(client, call.operation)(**call.arguments)
    return tables


def test_claims_at_once_are_repeated_and_take_each_place_once(tables: EmbeddedTables) -> None:
    client = tables.client(max_pool_connections=CLAIMS)
    table = InvocationsTable(client, CONFIG.jobs_table)
    started = threading.Barrier(CLAIMS)
    sent: Counter[str] = Counter()
    client.meta.events.register(
        "before-call.dynamodb.TransactWriteItems", lambda **_: sent.update(["transactions"])
    )

    def claim(invocation: Invocation) -> Invocation | NotClaimed:
        started.wait()
        place = (NotClaimed.CAPACITY, table.place(PLACES, 1_000.0))
        while True:  # as messages and the sweep have it tried again
            found = table.claim(invocation, claimed(invocation), place)
            if found is not NotClaimed.RECORD:
                return found

    invocations = [waiting(number) for number in range(CLAIMS)]
    for invocation in invocations:
        table.put_if_absent(invocation)
    with ThreadPoolExecutor(CLAIMS) as threads:
        found = list(threads.map(claim, invocations))
    won = [each for each in found if isinstance(each, Invocation)]
    assert len(won) == table.running() == PLACES
    assert [each for each in found if each not in won] == [NotClaimed.CAPACITY] * (CLAIMS - PLACES)
    assert CLAIMS < sent["transactions"] <= 2 * CLAIMS * BUSY_TRIES


def test_what_a_transaction_holds_is_refused_to_others(tables: EmbeddedTables) -> None:
    client: Any = tables.client()
    table = InvocationsTable(client, CONFIG.jobs_table)
    pauses: list[float] = []
    table.items._sleep = pauses.append
    held = tables.hold(CONFIG.jobs_table, waiting(1).id)
    with held, pytest.raises(client.exceptions.TransactionConflictException):
        client.put_item(TableName=CONFIG.jobs_table, Item={"id": {"S": waiting(1).id}})
    table.put_if_absent(waiting(1))
    place = (NotClaimed.CAPACITY, table.place(PLACES, 1_000.0))
    with tables.hold(CONFIG.jobs_table, "capacity#jobs"):
        assert table.claim(waiting(1), claimed(waiting(1)), place) is NotClaimed.RECORD
    assert len(pauses) == BUSY_TRIES
    assert (table.running(), table.get(waiting(1).id)) == (0, waiting(1))


# Sessions: a request counts against the limits in the transaction of its claim.

POOL, AT_ONCE = 40, 12
APP = App(name="chat", image="chat", pool=PoolSize(POOL, POOL, max_age_seconds=10**9))
ASKED_AT = 2_000.0


def sessions_table(tables: EmbeddedTables, **settings: Any) -> SessionsTable:
    table = SessionsTable(tables.client(**settings), CONFIG.sessions_table)
    for number in range(POOL):
        table.items.put(to_item(warm(number)), None)
    return table


def claims_of(table: SessionsTable, per_second: int) -> Claims:
    """The claims of one dispatcher; they use no capacity group and no ECS."""
    limits = Limits(total=10_000, per_second=per_second)
    ids, now = SystemIds(), lambda: ASKED_AT
    return Claims(
        table=table,
        queue=SimpleNamespace(reconcile_pool=lambda *_, **__: None),
        revisions=SimpleNamespace(newest=lambda _: warm(0).task_definition),
        ledger=Ledger(table.items, parse_groups(CONFIG.capacity), now),
        turns=Turns(table.items),
        config=replace(CONFIG, apps=replace(CONFIG.apps, limits=limits)),
        ids=ids,
        now=now,
        sleep=time.sleep,
        beside=lambda call: call,
    )


def request_of(number: int) -> DispatchRequest:
    owner = f"owner-{number}"
    return DispatchRequest(APP, 0, None, Caller(owner, key_scope=owner), "http://dispatcher")


def test_requests_of_one_second_take_each_container_once_in_few_transactions(
    tables: EmbeddedTables,
) -> None:
    table = sessions_table(tables, max_pool_connections=AT_ONCE)
    claims = claims_of(table, per_second=160)
    sent: Counter[str] = Counter()
    table.items._dynamodb.meta.events.register(
        "before-call.dynamodb.TransactWriteItems", lambda **_: sent.update(["transactions"])
    )

    def claim(number: int) -> str:
        return claims.insert(request_of(number)).session.id

    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(threads.map(claim, range(POOL)))
    assert sorted(found) == sorted(warm(number).id for number in range(POOL))
    counters = counters_of(Limit(f"second/{int(ASKED_AT)}", 160, 9, is_rate=True))
    assert sum(table.counted_all([counter.key for counter in counters]).values()) == POOL
    assert sent["transactions"] <= 5 * POOL, "with counters of 50 requests each most end with 503"


def test_a_request_over_a_limit_costs_the_same_however_many_counters_that_has(
    tables: EmbeddedTables,
) -> None:
    table = sessions_table(tables)
    claims = claims_of(table, per_second=30)
    counters = counters_of(Limit(f"second/{int(ASKED_AT)}", 30, 9, is_rate=True))
    for number in range(30):
        claims.insert(request_of(number))
    assert table.counted_all([each.key for each in counters]) == {
        each.key: each.maximum for each in counters
    }
    calls: list[str] = []
    table.items._dynamodb.meta.events.register(
        "before-call.dynamodb", lambda model, **_: calls.append(model.name)
    )
    with pytest.raises(LimitError):
        claims.insert(request_of(30))
    assert calls == ["Query", "TransactWriteItems", "TransactWriteItems", "BatchGetItem"]
