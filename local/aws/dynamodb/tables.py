"""DynamoDB in moto without the work that grows with the table, and with indexes that lag.

The shortcuts change no answer:

- A transaction copies every table it touches, all items of it, to put the copy back if it fails.
  Here moto carries it out on an excerpt: copies of the items it names and nothing else, which
  take the place of the originals if it succeeds.
- A query looks at all items of the table, in order. Here moto gets an excerpt again, with the
  items that have the wanted key. What an index attribute is found by is noted with each write and
  not taken back with a delete: a query checks its candidates anyway, and forgets those that do not
  match; when most notes are of items that were, all are made anew.
- moto measures an item once for each of its attributes while it is made, and remembers all items
  ever made or copied.
- moto keeps the name of each attribute once for each item, and each short value.
- A projection makes the whole item plain, at each level of it by a deep copy, once for each of its
  expressions; of the records of jobs a page took 40 ms. Whole attributes are taken as they are.
- moto compiles seven patterns for each word of a condition, and reads the same conditions again
  and again.

An excerpt has moto's own code and the table's own settings; only its items are others.

Two things are added: reads of an index lag behind writes, see `local.aws.dynamodb.index_lag` (with
a lag of zero no answer is changed), and a page of an index ends after 1 MB of what is projected
into it, where moto counts whole items: more rows fit into a page of keys, as on AWS.
"""

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from sys import intern
from typing import Any

from moto.dynamodb import models
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table

from local.aws.dynamodb.index_lag import LAG, Behind

_KEY_TYPES = frozenset({"S", "N", "B"})
_SURELY_SMALL_BYTES = 400_000
"""moto's own limit for an item is a little above."""

_RESERVED_NAMES = 4096
_SHARED_VALUES = 4096
_SHARED_CHARACTERS = 200
"""Texts up to this length are shared by all items, if they were among the last values."""

NOTES_KEPT = 500
NOTES_PER_ITEM = 20
"""The index by attributes is rebuilt when it has more entries than this for each item."""

_QUERY = inspect.signature(Table.query)

Key = tuple[DynamoType, DynamoType | None]


class QuickTable(Table):  # type: ignore[misc]
    """A table that finds items by the attributes of earlier queries."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._noted: dict[str, defaultdict[DynamoType, dict[Key, None]]] = {}
        self._notes = 0
        self._behind: Behind[Key, Item] = Behind(LAG)

    def put_item(self, item_attrs: dict[str, Any], *arguments: Any, **settings: Any) -> Item:
        self.lag(self.key_of(item_attrs))
        item = super().put_item(item_attrs, *arguments, **settings)
        self.note(item)
        return item

    def delete_item(self, hash_key: DynamoType, range_key: DynamoType | None) -> Item | None:
        self.lag((hash_key, range_key))
        removed: Item | None = super().delete_item(hash_key, range_key)
        return removed

    def lag(self, key: Key | None) -> None:
        """A write of this item may follow: the indexes show its present version for some time."""
        if key is not None and self._behind.is_on:
            self._behind.hold(key, copy.deepcopy(self.find(key)))

    def note(self, item: Item) -> None:
        """Record where a written item is to be found."""
        _share_values(item)
        for attribute, keys_by_value in self._noted.items():
            self._notes += _note(item, attribute, keys_by_value)
        if self._notes > NOTES_KEPT + NOTES_PER_ITEM * len(self.items):
            self._forget_notes()

    def _forget_notes(self) -> None:
        """Most entries are of former items: the next query by an attribute indexes the present
        ones.
        """
        self._noted.clear()
        self._notes = 0

    def find(self, key: Key) -> Item | None:
        """The item, if it exists; does not create one, unlike moto's `get_item`."""
        hash_key, range_key = key
        found = self.items.get(hash_key)
        return found if range_key is None or found is None else found.get(range_key)

    def key_of(self, attributes: Mapping[str, Any]) -> Key | None:
        """The primary key among these attributes; None if moto will refuse it."""
        names = [name for name in (self.hash_key_attr, self.range_key_attr) if name]
        if not all(isinstance(attributes.get(name), dict) for name in names):
            return None
        hash_key, range_key = [*(DynamoType(attributes[name]) for name in names), None][:2]
        return hash_key, range_key

    def replace(self, key: Key, item: Item | None) -> None:
        """Replace the item with the key; None deletes it."""
        hash_key, range_key = key
        if item is None:
            self.delete_item(hash_key, range_key)
            return
        self.lag(key)
        if range_key is None:
            self.items[hash_key] = item
        else:
            self.items[hash_key][range_key] = item
        self.note(item)

    def all_items(self) -> list[Item]:
        """In the order of their keys, as in moto, but each key is read once."""
        if not self.has_range_key:
            return sorted(self.items.values(), key=_primary_key)
        return sorted(
            (item for of in self.items.values() for item in of.values()), key=_primary_key
        )

    def query(self, *arguments: Any, **settings: Any) -> Any:
        asked = _QUERY.bind(self, *arguments, **settings).arguments
        candidates = self._candidates(asked)
        if asked.get("index_name") is not None:
            candidates = self._projected(asked["index_name"], candidates)
        if candidates is None:
            return super().query(*arguments, **settings)
        return Excerpt.of(self, candidates).query(*arguments, **settings)

    def _projected(self, index: str, candidates: list[Item] | None) -> list[Item] | None:
        """The index's projection of the items, because the bytes of a page are those of its
        projection.
        """
        shown = self._as_indexed(index, candidates)
        found = [one for one in self.global_indexes if one.name == index]
        if not found or found[0].projection.get("ProjectionType") == "ALL":
            return shown
        return [found[0].project(item) for item in (self.all_items() if shown is None else shown)]

    def has_idx_items(self, index_name: str) -> list[Item]:
        items = self._as_indexed(index_name, None)
        if items is None:
            return list(super().has_idx_items(index_name))
        names = {key["AttributeName"] for key in self.get_index(index_name).schema}
        return [item for item in items if names <= item.attrs.keys()]

    def clear(self) -> None:
        """Delete all items, from the indexes too."""
        self.items.clear()
        self._forget_notes()
        self._behind = Behind(LAG)

    def _as_indexed(self, index: str, candidates: list[Item] | None) -> list[Item] | None:
        """The items as this index shows them; None = all items, without lag.

        A local secondary index has no lag.
        """
        shown = self._behind.shown()
        if not shown or not any(one.name == index for one in self.global_indexes):
            return candidates
        current = self.all_items() if candidates is None else candidates
        newest = [item for item in current if (item.hash_key, item.range_key) not in shown]
        return newest + [item for item in shown.values() if item is not None]

    def _candidates(self, asked: Mapping[str, Any]) -> list[Item] | None:
        """A superset of the items that match the query; None = unknown."""
        if asked.get("index_name") is None:
            return None if asked["hash_key"] is None else self._with_hash_key(asked["hash_key"])
        wanted = asked.get("hash_key_conditions") or ()
        if not wanted or wanted[0][1].type not in _KEY_TYPES:
            return None
        return self._with_value(*wanted[0])

    def _with_hash_key(self, hash_key: DynamoType) -> list[Item]:
        found = self.items.get(hash_key)
        if found is None:
            return []
        return list(found.values()) if self.has_range_key else [found]

    def _with_value(self, attribute: str, value: DynamoType) -> list[Item]:
        noted = self._noted.get(attribute)
        if noted is None:
            noted = defaultdict(dict)
            for item in self.all_items():
                self._notes += _note(item, attribute, noted)
            self._noted[attribute] = noted  # complete: moto alone queries in several threads
        keys = noted.get(value, {})
        matching = []
        for key in list(keys):
            item = self.find(key)
            has = None if item is None else item.attrs.get(attribute)
            if has is not None and has == value:  # moto's values cannot be compared with None
                matching.append(item)
            else:
                keys.pop(key, None)
        return matching


def _note(item: Item, attribute: str, keys_by_value: dict[DynamoType, dict[Key, None]]) -> int:
    """Record where an item is to be found by the attribute; the number of entries it made."""
    value = item.attrs.get(attribute)
    if value is None or value.type not in _KEY_TYPES:
        return 0
    keys_by_value[value][item.hash_key, item.range_key] = None
    return 1


class Excerpt(Table):  # type: ignore[misc]
    """A table's settings with some of its items. Not to be kept: the table may change."""

    chosen: list[Item]

    @classmethod
    def of(cls, table: Table, chosen: Iterable[Item]) -> "Excerpt":
        excerpt: Excerpt = _blank(cls, table)
        excerpt.chosen = list(chosen)
        return excerpt

    def all_items(self) -> list[Item]:
        return sorted(self.chosen, key=_primary_key)

    def sorted_items(
        self, hash_key_attrs: list[str], range_key_attrs: list[str | None], items: list[Item]
    ) -> list[Item]:
        """In moto's order, but each value is read once and not at each comparison."""
        names = self._generate_attr_to_sort_by(hash_key_attrs, range_key_attrs)
        return sorted(items, key=lambda item: [item.attrs[name].cast_value for name in names])


class Draft(QuickTable):
    """Copies of the items in a transaction, which it changes."""

    @classmethod
    def of(cls, table: QuickTable) -> "Draft":
        draft: Draft = _blank(cls, table)
        draft.items = defaultdict(dict)
        draft._noted = {}
        draft._notes = 0
        return draft

    def lag(self, key: Key | None) -> None:
        """No index reads a draft."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Draft":
        """Moto makes a backup, which is not needed: a draft of a failed transaction is
        discarded.
        """
        return self


class QuickBackend(DynamoDBBackend):  # type: ignore[misc]
    """DynamoDB with transactions and queries whose time does not depend on the table's size."""

    __module__ = DynamoDBBackend.__module__  # moto finds the URLs of a service by it

    def update_item(self, table_name: str, key: dict[str, Any], *rest: Any, **more: Any) -> Item:
        table = self.get_table(table_name)
        primary = table.key_of(key) if isinstance(table, QuickTable) else None
        if primary:
            table.lag(primary)
        try:
            return super().update_item(table_name, key, *rest, **more)
        finally:  # a failed one may have been written partly
            if primary:
                item = table.find(primary)
                if item:
                    table.note(item)

    def transact_write_items(self, transact_items: list[dict[str, Any]]) -> None:
        tables = self._touched(transact_items)
        if any(type(t) is not QuickTable or t.stream_shard is not None for t in tables.values()):
            super().transact_write_items(transact_items)  # streams are put back as well
            return
        drafts = {name: Draft.of(table) for name, table in tables.items()}
        named: list[tuple[str, Key]] = []
        for action in transact_items:
            named += self._named(action)
        for name, key in named:
            drafts[name].replace(key, copy.deepcopy(tables[name].find(key)))
        scratch = _blank(DynamoDBBackend, self)
        scratch.tables = drafts
        scratch.transact_write_items(transact_items)
        for name, key in named:
            tables[name].replace(key, drafts[name].find(key))

    def _touched(self, transact_items: list[dict[str, Any]]) -> dict[str, QuickTable]:
        found = {}
        for action in transact_items:
            for operation in action.values():
                table = self._known(operation.get("TableName"))
                if table is not None:
                    found[table.name] = table
        return found

    def _known(self, name: Any) -> Any:
        by_name = self.tables.get(name)
        return by_name or next((t for t in self.tables.values() if t.table_arn == name), None)

    def _named(self, action: Mapping[str, Any]) -> list[tuple[str, Key]]:
        named = []
        for operation in action.values():
            table = self._known(operation.get("TableName"))
            key = table and table.key_of(operation.get("Item") or operation.get("Key") or {})
            if key:
                named.append((table.name, key))
        return named


def _blank(kind: type, like: Any) -> Any:
    """An object of that class with the attributes of another; moto is not notified."""
    made: Any = object.__new__(kind)
    made.__dict__.update(like.__dict__)
    return made


def _primary_key(item: Item) -> tuple[Any, ...]:
    if item.range_key is None:
        return (item.hash_key.cast_value,)
    return item.hash_key.cast_value, item.range_key.cast_value


def _new_item(cls: type[Item], *_arguments: Any, **_settings: Any) -> Item:
    """Without the list of all items ever made, which moto's own tests of S3 need."""
    return object.__new__(cls)


def _make_item_as(by_moto: Callable[..., None]) -> Callable[..., None]:
    def make_item(
        self: Item, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]
    ) -> None:
        """Measures each attribute once; items that may be too large are left to moto."""
        self.hash_key = hash_key
        self.range_key = range_key
        self.attrs = LimitedSizeDict()
        for name, value in attrs.items():
            dict.__setitem__(self.attrs, intern(name), DynamoType(value))
        if _size_of_item(self) > _SURELY_SMALL_BYTES:
            by_moto(self, hash_key, range_key, attrs)

    return make_item


def _size_of_item(self: Item) -> int:
    return sum(len(name.encode()) + _size(value) for name, value in self.attrs.items())


def _size(typed: DynamoType) -> int:
    """The size of a value as moto measures it, with the most frequent types checked first."""
    value = typed.value
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode())
    if typed.type == "L":
        return sum(map(_size, value))
    if typed.type == "M":
        return sum(len(name.encode()) + _size(inner) for name, inner in value.items())
    return int(typed.size())


def _copy_item(self: Item, memo: dict[int, Any]) -> Item:
    made = object.__new__(type(self))
    memo[id(self)] = made
    made.hash_key, made.range_key = self.hash_key, self.range_key
    made.attrs = LimitedSizeDict()
    for name, value in self.attrs.items():
        dict.__setitem__(made.attrs, name, _copy(value))
    return made


def _copy(typed: DynamoType) -> DynamoType:
    """A copy, but texts and numbers are shared: nothing in moto changes them in place."""
    value = typed.value
    if type(value) is list:
        value = list(map(_copy, value)) if typed.type == "L" else list(value)
    elif type(value) is dict:
        value = {name: _copy(inner) for name, inner in value.items()}
    else:
        return typed
    made = object.__new__(DynamoType)
    made.type, made.value = typed.type, value
    return made


def _share_values(item: Item) -> None:
    """Have one object for all equal values: most of a record's are those of many others."""
    for name, value in item.attrs.items():
        dict.__setitem__(item.attrs, name, _shared(value))


def _shared(typed: DynamoType) -> DynamoType:
    content = typed.value
    if type(content) is str:
        return _value_of(typed.type, content) if len(content) <= _SHARED_CHARACTERS else typed
    if type(content) is bool:
        return _value_of(typed.type, content)
    if typed.type == "L":
        content[:] = map(_shared, content)
    return typed


@lru_cache(_SHARED_VALUES, typed=True)
def _value_of(kind: str, content: Any) -> DynamoType:
    return DynamoType({kind: content})


def _project_as(by_moto: Callable[[Item, list[list[str]]], Item]) -> Callable[..., Item]:
    def project(self: Item, expressions: list[list[str]]) -> Item:
        """An item with these attributes; parts of attributes are left to moto."""
        if any(len(path) > 1 or path[0].endswith("]") for path in expressions):
            return by_moto(self, expressions)
        made: Item = object.__new__(type(self))
        made.hash_key, made.range_key = self.hash_key, self.range_key
        made.attrs = LimitedSizeDict()
        for (name,) in expressions:
            if name in self.attrs:
                dict.__setitem__(made.attrs, name, _copy(self.attrs[name]))
        return made

    return project


def take() -> None:
    """Install these shortcuts in the process, for tables that are created from now on."""
    models.Table = QuickTable
    dynamodb_backends.backend = QuickBackend
    Item.__new__ = _new_item
    Item.__init__ = _make_item_as(Item.__init__)
    Item.__deepcopy__ = _copy_item
    Item.size = _size_of_item
    Item.project = _project_as(Item.project)
    lex_one_node = partial(ConditionExpressionParser._lex_one_node, ConditionExpressionParser)
    ConditionExpressionParser._lex_one_node = staticmethod(lru_cache(_RESERVED_NAMES)(lex_one_node))
