"""How many tasks wait in ECS's PROVISIONING for a host: of sessions, and of jobs.

ECS lets 500 wait in a cluster and refuses more, so a bounded number waits there and the rest here,
in order. Each count is an item with the set of what it counts: a record's id and attempt. Adding
and removing a member twice changes nothing, so lost replies and repeated events do no harm. A
member is added when RunTask answers, before the record says so, and removed after the record has
moved on. A crash in between leaves a member too many or too few. The sweep repairs both, one record
at a time and on conditions that still hold when it writes (see `add_if_unchanged`): it needs to
know nothing of the other records, so changes during a long sweep cannot mislead it.
"""

from collections.abc import Iterable

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.table import Table
from chalicelib.dynamodb.writes import Write, unchanged

SESSIONS, JOBS = "sessions", "jobs"


class HostsWanted:
    """The counts, in one item each. Items of some 45 bytes for each that waits."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def count(self, kind: str) -> int:
        """How many wait."""
        return self._table.counted(item_id(kind))

    def add(self, kind: str, record_id: str, attempt: int) -> int:
        """Count an attempt that waits; how many do with it."""
        write = _added(self._table.name, kind, member_of(record_id, attempt))
        number = self._table.update_number(write)
        return self.count(kind) if number is None else number

    def remove(self, kind: str, record_id: str, attempt: int) -> None:
        """Count an attempt no more that will never wait again."""
        self._table.update_number(_removed(self._table.name, kind, member_of(record_id, attempt)))

    def add_if_unchanged(self, kind: str, record_id: str, attempt: int, version: int) -> None:
        """Add one that the count lacks, if the record still has the version that says it waits."""
        member = member_of(record_id, attempt)
        checked = {"ConditionCheck": unchanged(self._table.name, record_id, version)}
        added = {"Update": _added(self._table.name, kind, member)}
        self._table.transact([checked, added])  # lost, the next sweep looks again

    def members(self, kind: str) -> list[tuple[str, int]]:
        """The record ids and attempts that are counted."""
        item = self._table.get(item_id(kind)) or {}
        return sorted(_parts_of(item.get("members", {}).get("SS", ())))


def item_id(kind: str) -> str:
    """The id of the item of a count."""
    return f"hosts-wanted#{kind}"


def member_of(record_id: str, attempt: int) -> str:
    """What stands for one attempt of a record in the set."""
    return f"{record_id}/{attempt}"


def _parts_of(members: Iterable[str]) -> Iterable[tuple[str, int]]:
    for member in members:
        record_id, _, attempt = member.rpartition("/")
        yield record_id, int(attempt)


def _added(table: str, kind: str, member: str) -> Write:
    return _key(table, kind) | expressions(
        condition=~Attr("members").contains(member),
        add_values={"n": 1, "members": frozenset({member})},
    )


def _removed(table: str, kind: str, member: str) -> Write:
    return _key(table, kind) | expressions(
        condition=Attr("members").contains(member),
        add_values={"n": -1},
        delete_values={"members": frozenset({member})},
    )


def _key(table: str, kind: str) -> Write:
    return {"TableName": table, "Key": {"id": {"S": item_id(kind)}}}
