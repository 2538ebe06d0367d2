"""Counts of tasks that wait for hosts in ECS's PROVISIONING state, of sessions and of jobs.

ECS refuses more than 500 of them in a cluster. A limited number therefore waits there, and the
others in the table, in order. Each count is an item with a set of members: a record's id and
attempt. Adding and removing a member is idempotent, so lost answers and repeated events do no harm.
A member is added after RunTask's answer, before the record is written, and removed after the record
has changed. A crash in between leaves a member too many or too few. The sweep repairs both, record
by record, on conditions that still hold at the time of the write (see `add_if_unchanged`); it needs
no data of other records, so that changes during a long sweep do no harm.
"""

from collections.abc import Iterable

from chalicelib.dynamodb.expressions import Attr, expressions
from chalicelib.dynamodb.table import Table
from chalicelib.dynamodb.writes import Write, unchanged

SESSIONS, JOBS = "sessions", "jobs"


class HostsWanted:
    """The counts, one item each. An item has about 45 bytes for each member."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def count(self, kind: str) -> int:
        """The number of waiting tasks."""
        return self._table.counted(item_id(kind))

    def add(self, kind: str, record_id: str, attempt: int) -> int:
        """Add a waiting attempt; returns the number with it."""
        write = _added(self._table.name, kind, member_of(record_id, attempt))
        number = self._table.update_number(write)
        return self.count(kind) if number is None else number

    def remove(self, kind: str, record_id: str, attempt: int) -> None:
        """Remove an attempt that will not wait again."""
        self._table.update_number(_removed(self._table.name, kind, member_of(record_id, attempt)))

    def add_if_unchanged(self, kind: str, record_id: str, attempt: int, version: int) -> None:
        """Add a missing member, if its record still has the version in which it waits."""
        member = member_of(record_id, attempt)
        checked = {"ConditionCheck": unchanged(self._table.name, record_id, version)}
        added = {"Update": _added(self._table.name, kind, member)}
        self._table.transact([checked, added])  # if it fails, the next sweep tries again

    def members(self, kind: str) -> list[tuple[str, int]]:
        """The record ids and attempts that are counted."""
        item = self._table.get(item_id(kind)) or {}
        return sorted(_parts_of(item.get("members", {}).get("SS", ())))


def item_id(kind: str) -> str:
    """The id of the item of a count."""
    return f"hosts-wanted#{kind}"


def member_of(record_id: str, attempt: int) -> str:
    """The member for an attempt of a record."""
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
