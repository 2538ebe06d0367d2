"""The sweep over many pages and invocations: it continues, ends in time, and nothing stops it."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chalicelib.dynamodb.records import Unreadable
from chalicelib.errors import UnavailableError
from chalicelib.metrics import ProcessMetrics
from chalicelib.tasks.kinds import Kind, Page
from chalicelib.tasks.reconciler import Sweep
from chalicelib.tasks.sweep_state import (
    ITEM_ID,
    LEASE_SECONDS,
    SweepState,
    SweepStates,
    from_item,
    to_item,
)
from chalicelib.tasks.unreadable import UnreadableRecords

PAGE = 64


class KilledError(BaseException):
    """The function's time was over."""


class Table:
    """One item, with conditional puts; each call takes a moment."""

    name = "sessions"

    def __init__(self) -> None:
        self.item: dict[str, Any] | None = None
        self.broken = False

    def get(self, _):
        self._check()
        return self.item

    def put(self, item, expected):
        self._check()
        version = None if self.item is None else from_item(self.item).version
        if version != expected:
            return False
        self.item = dict(item)
        return True

    def overwrite(self, item):
        self._check()
        self.item = dict(item)

    def set_expiry(self, *_):
        self._check()

    def _check(self):
        if self.broken:
            raise UnavailableError("throttled")


class NoTasks:
    """The launcher of a cluster without tasks."""

    def describe(self, arns):
        assert not arns
        return {}

    def page(self, token):
        assert token is None
        return [], None


@dataclass
class World(Kind[int]):
    """Records are numbers; one that is negative has expired. A page read costs seconds."""

    records: list[Any]
    seconds_a_page: float = 1.0
    seconds_a_step: float = 0.0
    name: str = "thing"
    partitions: int = 1
    at: float = 1_000.0
    ended: list[int] = field(default_factory=list)
    read: list[tuple[str, str | None]] = field(default_factory=list)
    poison: str | None = None
    """The page whose actions raise an error that ends the function."""
    closed: int = 0

    def __post_init__(self):
        self.table, self.metrics = Table(), ProcessMetrics()
        self.unreadable = UnreadableRecords(
            self.table, "thing", kept_seconds=1, metrics=self.metrics, now=self.now
        )

    def now(self):
        return self.at

    def sweep(self, seconds=120.0, *, few_records=-1, dies_at=None):
        """`dies_at`: when the process is killed, before its time is up."""
        ends_at = self.at + seconds
        self.killed_at = dies_at or ends_at
        sweep = Sweep(
            NoTasks(),
            [self],
            states=SweepStates(self.table, self.now),
            metrics=self.metrics,
            now=self.now,
            few_records=few_records,
        )
        return sweep.run(lambda: ends_at - self.at)

    def die(self, seconds=120.0):
        with pytest.raises(KilledError):
            self.sweep(seconds)
        self.at += LEASE_SECONDS + 1

    def spend(self, seconds):
        self.at += seconds
        if self.at >= self.killed_at:
            raise KilledError

    # The kind.

    def log_fields(self, record):
        return {"record": record}

    def page(self, partition, after):
        assert partition == 0
        return self._page("records", after, self.records)

    def overdue_page(self, partition, after):
        assert partition == 0
        page = self._page("overdue", after, self.records)
        overdue = [r for r in page.records if isinstance(r, int) and r < 0 and r not in self.ended]
        return Page(overdue, page.after)

    def plan(self, record, tasks):
        if record == 0:
            raise ValueError(record)
        if record < 0 and record not in self.ended:
            yield record

    def steps(self, actions):
        if self.poison is not None and self.read[-1] == ("records", self.poison):
            raise KilledError
        for record in actions:
            yield "End", lambda record=record: self._end(record)

    def closing_steps(self, finished):
        yield "Close", self._close

    def tally(self, records, tally):
        tally.counts["positive"] += sum(record > 0 for record in records)

    def report(self, state):
        self.metrics.gauge("positive", state.counts.get("positive", 0))

    def _page(self, what, after, records):
        self.read.append((what, after))
        self.spend(self.seconds_a_page)
        start = int(after or 0)
        last = start + PAGE
        return Page(records[start:last], str(last) if last < len(records) else None)

    def _end(self, record):
        self.spend(self.seconds_a_step)
        self.ended.append(record)

    def _close(self):
        self.closed += 1

    def state_or_none(self) -> SweepState | None:
        return None if self.table.item is None else self.state

    @property
    def state(self) -> SweepState:
        assert self.table.item is not None
        return from_item(self.table.item)


def test_one_pass_looks_at_everything_and_is_recorded():
    world = World([*range(1, 200), -1])
    taken = world.sweep()
    assert taken == {"End": 1, "Close": 1}
    finished = world.state.finished
    assert finished is not None
    assert (finished.records, finished.skipped, finished.seconds) == (200, 0, 8.0)
    text = world.metrics.text()
    for line in (
        "usher_sweep_pass_records 200",
        "usher_sweep_pass_seconds 8",
        "usher_positive 199",
    ):
        assert line in text


def test_few_records_are_looked_through_once():
    world = World(list(range(1, 200)))
    world.sweep(few_records=1_000)
    world.read.clear()
    world.sweep(few_records=1_000)
    assert {what for what, _ in world.read} == {"records"}


def test_before_the_first_whole_pass_what_is_overdue_comes_first():
    """The number of records is not known yet: there may be 50,000."""
    world = World([*range(1, 64 * 20), -1], seconds_a_page=2.0)
    world.sweep(few_records=1_000_000)
    assert world.read[0] == ("overdue", None)
    assert world.ended == [-1]


def age(world):
    (line,) = [t for t in world.metrics.text().splitlines() if t.startswith("usher_sweep_pass_age")]
    return float(line.split()[1])


def test_the_age_of_the_last_whole_pass_is_told_by_every_sweep_that_ends():
    world = World(list(range(1, 64 * 6)), seconds_a_page=30.0)
    begun_at, sweeps = world.at, 0
    while world.state_or_none() is None or world.state.finished is None:
        world.sweep()
        finished, sweeps = world.state.finished, sweeps + 1
        assert age(world) == world.at - (finished.at if finished else begun_at)
    assert sweeps > 2
    world.at += 600
    world.sweep(seconds=31)
    assert age(world) >= 600


def test_what_expires_in_the_last_page_comes_to_its_turn_while_the_time_ends_in_the_first():
    expired = [-number for number in range(1, 65)]
    world = World([*range(1, 64 * 20 + 1), *expired], seconds_a_page=90.0)
    for invocation in range(1, 40):
        world.sweep()
        assert len(world.read) == invocation, "one page fits into the time"
        if len(world.ended) == 64:
            break
    assert sorted(world.ended) == sorted(expired)
    assert world.read == [("overdue", str(64 * n) if n else None) for n in range(21)]
    assert world.closed == 21, "pools are kept whatever else there was time for"


def test_the_function_is_never_killed_for_its_time():
    world = World([-number for number in range(1, 500)], seconds_a_page=2, seconds_a_step=0.7)
    for _ in range(20):
        world.sweep()
    assert len(world.ended) == 499


def test_a_page_that_takes_longer_than_an_invocation_is_continued():
    world = World([-number for number in range(1, 65)], seconds_a_step=5.0)
    for _ in range(5):
        world.sweep()
    assert len(world.ended) == 64
    assert world.state.skipped == 0


def test_a_page_that_kills_the_function_is_skipped_at_last_and_the_rest_is_done():
    world = World([*range(1, 64 * 5), -1], poison="128")
    for _ in range(3):
        world.die()
    world.sweep()
    assert world.ended == [-1]
    assert world.state.finished is not None
    assert world.state.finished.skipped == 1


def test_a_sweep_that_died_is_followed_when_its_lease_is_over():
    world = World([*range(1, 64 * 40), -1], seconds_a_page=3.0)
    with pytest.raises(KilledError):
        world.sweep(dies_at=world.at + 40)
    reached = world.state.after
    assert reached is not None
    assert world.sweep() == {"busy": 1}
    world.at += LEASE_SECONDS
    world.read.clear()
    world.sweep()
    assert world.read[0] == ("overdue", reached)


def test_who_was_overtaken_ends_and_undoes_nothing():
    world = World([-1, *range(1, 64 * 9)], seconds_a_page=3.0)
    other = replace(SweepState(), version=7, stage="tasks", begun_at=world.at, lease_until=9e9)
    end = world._end

    def overtaken(record):
        world.table.item = to_item(other)
        world.at += 6
        end(record)

    world._end = overtaken  # type: ignore[method-assign]
    world.sweep()
    assert world.state == other
    assert world.closed == 1


@pytest.mark.parametrize(
    "item",
    [
        {"id": {"S": ITEM_ID}},
        {"id": {"S": ITEM_ID}, "version": {"S": "x"}},
        to_item(SweepState(version=3, stage="of/another/version", begun_at=1_000.0)),
        to_item(SweepState(version=3, stage="records/thing/0", after="64", begun_at=9e9)),
        to_item(SweepState(version=3, stage="records/thing/0", after="64", begun_at=-9e9)),
        to_item(SweepState(version=3, lease_until=9e9)),
    ],
)
def test_a_state_that_makes_no_sense_is_begun_anew(item):
    world = World([*range(1, 200), -1])
    world.table.item = item
    assert world.sweep() == {"End": 1, "Close": 1}
    assert world.state.finished is not None
    assert world.state.finished.records == 200


def test_without_its_state_the_sweep_works_too():
    world = World([*range(1, 200), -1])
    world.table.broken = True
    assert world.sweep() == {"End": 1, "Close": 1, "failed": 1}


def test_records_that_make_no_sense_stop_nothing():
    bad = Unreadable("x", None, {"id": {"S": "x"}, "expire_at": {"N": "1"}}, "why")
    world = World([bad, 0, *range(1, 100), -1])
    taken = Counter(world.sweep())
    assert (taken["End"], taken["failed"]) == (1, 1)
    assert 'usher_records_unreadable{kind="thing"} 1' in world.metrics.text()


def test_a_page_that_cannot_be_read_is_left_to_the_next_pass():
    world = World([-1, *range(1, 100)])
    page = world.page

    def throttled(partition, after):
        page(partition, after)
        raise UnavailableError("throttled")

    world.page = throttled  # type: ignore[method-assign]
    assert world.sweep() == {"End": 1, "failed": 1, "Close": 1}
    assert world.state.finished is not None
    assert world.state.finished.skipped == 1


def test_the_rest_of_the_time_after_a_continued_pass_is_for_the_next_one():
    world = World(list(range(1, 64 * 30)), seconds_a_page=4.0)
    world.sweep()
    assert world.state.finished is None
    for _ in range(2):
        world.sweep()
    assert world.state.finished is not None
    assert world.state.stage is not None, "the next pass is under way"
