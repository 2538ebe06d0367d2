"""Keys of tables and indexes, as requests name them. Pure.

Source: GetItem, PutItem, Query and Scan, API reference of DynamoDB.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws.dynamodb.refusal import RuleError

Keys = Mapping[str, str]
"""The key attributes of a table or an index, the partition key first, with their types."""
MISMATCH = "The provided key element does not match the schema"
_NOT_VALID = "One or more parameter values are not valid. "
_EMPTY = "The AttributeValue for a key attribute cannot contain an empty string value. "


@dataclass(frozen=True)
class TableKeys:
    """The keys of a table and of its indexes."""

    table: Keys
    indexes: Mapping[str, Keys]

    def of(self, index: str | None) -> Keys:
        """Raises RuleError for an index that is not there."""
        if index is None:
            return self.table
        if index not in self.indexes:
            raise RuleError(f"The table does not have the specified index: {index}")
        return self.indexes[index]


Schema = Callable[[str], TableKeys | None]
"""The keys of a table; None if it does not exist."""


def check_key(key: Mapping[str, Any], keys: Keys) -> None:
    """The `Key` of one item: exactly the table's key attributes."""
    if key.keys() != keys.keys() or any(keys[name] not in key[name] for name in keys):
        raise RuleError(MISMATCH)
    _check_not_empty(key, keys)


def check_item(item: Mapping[str, Any], found: TableKeys) -> None:
    """The key attributes of an item in a put; checks that moto makes are left to it."""
    _check_not_empty(item, found.table)
    for index, keys in found.indexes.items():
        for name, kind in keys.items():
            if name in item and name not in found.table:
                check_index_key(name, item[name], kind, index)


def check_index_key(name: str, value: Mapping[str, Any], kind: str, index: str) -> None:
    """An attribute that an index finds items by."""
    if kind not in value:
        raise RuleError(
            f"One or more parameter values were invalid: Type mismatch for Index Key {name} "
            f"Expected: {kind} Actual: {next(iter(value))} IndexName: {index}"
        )


def _check_not_empty(item: Mapping[str, Any], keys: Keys) -> None:
    for name in keys:
        value = item.get(name, {})
        if value.get("S") == "" or value.get("B") == "":
            raise RuleError(f"{_NOT_VALID}{_EMPTY}Key: {name}")


def check_start(start: Mapping[str, Any], keys: Keys, table: Keys, *, is_scan: bool) -> None:
    """ExclusiveStartKey: the keys of what is read and of the table, with their types."""
    wanted = {**keys, **table}
    fits = start.keys() == wanted.keys()
    has_types = fits and all(wanted[name] in start[name] for name in wanted)
    if has_types:
        return
    if is_scan:
        raise RuleError(f"The provided starting key is invalid: {MISMATCH}")
    raise RuleError(MISMATCH if fits else "The provided starting key is invalid")
