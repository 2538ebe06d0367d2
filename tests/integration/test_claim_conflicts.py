"""Many claims at once: DynamoDB cancels transactions that meet at the one count of what runs."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.dynamodb.table import BUSY_TRIES
from chalicelib.jobs.model import Invocation
from chalicelib.jobs.table import InvocationsTable, NotClaimed
from tests.embedded_tables import EmbeddedTables
from tests.integration.test_tables_contract import CONFIG, PLAN, claimed, waiting

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
