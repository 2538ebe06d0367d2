"""Two transactions at once on one item: DynamoDB cancels the second one.

moto carries out one call at a time, so there it never happens. Here an item is held from the
arrival of a transaction that writes it to its answer. Source: "Amazon DynamoDB transactions: how it
works", transaction conflict handling.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from local.aws.dynamodb.keys import Schema

CONFLICT = "TransactionConflict"
MESSAGE = "Transaction is ongoing for the item"
WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
TRANSACTIONS = frozenset({"TransactWriteItems", "TransactGetItems"})

ItemKey = tuple[str, str]
"""A table, and the key of an item in it."""


class ConflictError(Exception):
    """A call is refused for a transaction: with this code and these further members."""

    def __init__(self, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.members = members


class Transactions:
    """The items that transactions hold. Thread-safe."""

    def __init__(self) -> None:
        self._held: set[ItemKey] = set()
        self._lock = Lock()

    @contextmanager
    def around(self, action: str, parameters: Mapping[str, Any], schema: Schema) -> Iterator[None]:
        """Carry out a call in here. Raises ConflictError where a transaction holds an item."""
        if action in WRITES:
            if _key(parameters, schema) in self._held:
                raise ConflictError(f"{CONFLICT}Exception", MESSAGE)
            yield
            return
        if action not in TRANSACTIONS:
            yield
            return
        operations = [
            operation
            for entry in parameters.get("TransactItems", ())
            for operation in entry.values()
        ]
        keys = [_key(operation, schema) for operation in operations]
        written = set(keys) if action == "TransactWriteItems" else set()
        with self._lock:
            if self._held.intersection(keys):
                raise _canceled([key in self._held for key in keys])
            self._held |= written
        try:
            yield
        finally:
            with self._lock:
                self._held -= written


def _canceled(are_held: Sequence[bool]) -> ConflictError:
    reasons = [
        {"Code": CONFLICT, "Message": MESSAGE} if is_held else {"Code": "None"}
        for is_held in are_held
    ]
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
    return ConflictError(
        "TransactionCanceledException", f"{message} [{codes}]", CancellationReasons=reasons
    )


def _key(operation: Mapping[str, Any], schema: Schema) -> ItemKey:
    table = str(operation.get("TableName"))
    found = schema(table)
    given = operation.get("Key") or operation.get("Item") or {}
    names = sorted(given if found is None else found.table)
    return table, repr([given.get(name) for name in names])
