"""The counts of what waits for hosts, while launches, crashes and parts of a sweep interleave.

`count` is DynamoDB's item, simulated by what its conditional updates mean; the table of records
too. The sweep's two repairs are taken apart into their reads and writes, so that everything may
happen in between.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chalicelib.dynamodb.table import FAILED, Refusal
from chalicelib.ecs.launcher import Launcher
from chalicelib.tasks.hosts_wanted import JOBS, HostsWanted, item_id, member_of
from chalicelib.tasks.kinds import Kind
from chalicelib.tasks.pages import Pages


@dataclass
class Record:
    """An attempt is QUEUED, then waits for a host, then never again."""

    id: str
    attempt: int = 1
    version: int = 1
    waits: bool = False
    over: bool = False
    """This attempt no longer waits."""


@dataclass
class StoredTable:
    """The methods of a table that `HostsWanted` calls."""

    records: dict[str, Record] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    number: int = 0
    name: str = "jobs"

    def counted(self, _):
        return self.number

    def get(self, item):
        assert item == item_id(JOBS)
        return {"members": {"SS": sorted(self.members)}} if self.members else {}

    def update_number(self, write):
        (member,) = [v["S"] for v in write["ExpressionAttributeValues"].values() if "S" in v]
        removes = write["UpdateExpression"].find("DELETE") >= 0
        assert ("NOT contains" in write["ConditionExpression"]) is not removes
        if (member in self.members) is not removes:
            return None
        self.members ^= {member}
        self.number += -1 if removes else 1
        return self.number

    def transact(self, writes):
        check, update = writes[0]["ConditionCheck"], writes[1]["Update"]
        (version,) = [int(v["N"]) for v in check["ExpressionAttributeValues"].values()]
        record = self.records.get(check["Key"]["id"]["S"])
        if record is None or record.version != version or self.update_number(update) is None:
            return Refusal([FAILED, FAILED], was_repeated=False)
        return None


class Waits(Kind[Record]):
    name, counted_as = "job", JOBS

    def __init__(self, table):
        self.table, self.hosts_wanted = table, HostsWanted(table)

    def page(self, partition, after):
        raise AssertionError("pages are not read here")

    plan = steps = log_fields = page

    def find(self, ids):
        return {i: copy_of(self.table.records[i]) for i in ids if i in self.table.records}

    def waiting(self, record):
        return (record.id, record.attempt, record.version) if record.waits else None

    def may_wait(self, record, attempt):
        return record.attempt == attempt and not record.over


def copy_of(record: Record) -> Record:
    return Record(**vars(record))


class Interleaved(RuleBasedStateMachine):
    """Launchers, events and sweeps, each of which may stop after any of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.table = StoredTable()
        self.kind = Waits(self.table)
        self.counts = HostsWanted(self.table)
        self.pending: list[Any] = []
        """Steps that a sweep has decided on and not yet taken."""
        self.launching: set[str] = set()
        """Added to the count, not yet written."""
        self.ending: list[tuple[str, int]] = []
        """Written, not yet taken off the count."""

    ids = st.sampled_from("ab")

    def right(self) -> set[str]:
        return {member_of(r.id, r.attempt) for r in self.table.records.values() if r.waits}

    @rule(record=ids)
    def is_recorded(self, record):
        self.table.records.setdefault(record, Record(record))

    @rule(record=ids)
    def asks_for_a_task(self, record):
        found = self.table.records.get(record)
        if found is not None and not found.waits and not found.over:
            self.counts.add(JOBS, record, found.attempt)
            self.launching.add(record)

    @rule(record=ids)
    def is_written_as_waiting(self, record):
        found = self.table.records.get(record)
        if record in self.launching and found is not None and not found.over and not found.waits:
            self.launching.discard(record)
            found.waits, found.version = True, found.version + 1

    @rule(record=ids)
    def launcher_crashes(self, record):
        self.launching.discard(record)

    @rule(record=ids)
    def was_never_counted(self, record):
        """Another version launched it, or the count was deleted."""
        found = self.table.records.get(record)
        if found is not None and found.waits:
            self.counts.remove(JOBS, record, found.attempt)

    @rule(record=ids)
    def waits_uncounted(self, record):
        """All of that in one step, so that what follows is searched more often."""
        self.is_recorded(record)
        self.asks_for_a_task(record)
        self.is_written_as_waiting(record)
        self.was_never_counted(record)

    @rule(record=ids)
    def finds_a_host(self, record):
        found = self.table.records.get(record)
        if found is not None and found.waits:
            found.waits, found.over, found.version = False, True, found.version + 1
            self.ending.append((record, found.attempt))

    @rule(record=ids)
    def is_tried_again(self, record):
        found = self.table.records.get(record)
        if found is not None and found.over:
            found.attempt, found.over, found.version = found.attempt + 1, False, found.version + 1

    @precondition(lambda self: self.ending)
    @rule(crashes=st.booleans())
    def is_taken_off(self, crashes):
        record, attempt = self.ending.pop()
        if not crashes:
            self.counts.remove(JOBS, record, attempt)

    @rule()
    def a_sweep_reads_records(self):
        taken = Pages(Launcher(None, "c"), {}, self.pending.extend, lambda: None, lambda: 0.0)
        taken._take(taken._uncounted(self.kind, self.kind.find("abcde").values()))

    @rule()
    def a_sweep_reads_the_count(self):
        taken = Pages(Launcher(None, "c"), {}, self.pending.extend, lambda: None, lambda: 0.0)
        taken._take(taken._counted_wrongly(self.kind))

    @precondition(lambda self: self.pending)
    @rule(place=st.integers(0, 10), loses=st.booleans())
    def a_sweep_takes_a_step(self, place, loses):
        """Late, in any order, or never."""
        _, step = self.pending.pop(place % len(self.pending))
        error = self.error()
        if not loses:
            step()
        assert self.error() <= error, "a step of the sweep made the count worse"

    def error(self) -> int:
        """Returns how many members are missing or surplus, without those just being launched."""
        coming = {member_of(r, self.table.records[r].attempt) for r in self.launching}
        return len((self.table.members ^ self.right()) - coming)

    @invariant()
    def the_number_is_that_of_the_members(self):
        assert self.table.number == len(self.table.members)

    def teardown(self) -> None:
        """Steps that come last make nothing worse; at rest one pass makes it right."""
        while self.pending:
            self.a_sweep_takes_a_step(0, loses=False)
        for record in tuple(self.launching):
            self.is_written_as_waiting(record)
        for read in (self.a_sweep_reads_records, self.a_sweep_reads_the_count):
            read()
            for _, step in self.pending:
                step()
            self.pending.clear()
        crashed = {m for m in self.table.members - self.right() if self.may_still_wait(m)}
        assert self.table.members == self.right() | crashed

    def may_still_wait(self, member: str) -> bool:
        record = self.table.records[member[0]]
        return member == member_of(record.id, record.attempt) and not record.over


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.booleans())))
def test_adding_and_removing_again_changes_nothing(steps):
    counts = HostsWanted(StoredTable())
    expected: Counter[tuple[str, int]] = Counter()
    for record, attempt, adds in steps:
        for _ in range(2):
            (counts.add if adds else counts.remove)(JOBS, record, attempt)
        expected[record, attempt] = int(adds)
        assert counts.count(JOBS) == expected.total()
    assert counts.members(JOBS) == sorted(key for key, held in expected.items() if held)


def test_one_that_found_a_host_behind_the_sweeps_look_is_not_counted():
    table = StoredTable({"a": Record("a", version=2, waits=True)})
    steps: list[Any] = []
    pages = Pages(Launcher(None, "c"), {}, steps.extend, lambda: None, lambda: 0.0)
    pages._take(pages._uncounted(Waits(table), table.records.values()))
    table.records["a"] = Record("a", version=3, over=True)
    for _, step in steps:
        step()
    assert (len(steps), table.members) == (1, set())
