"""Both feeds against one model: nothing lost, nothing twice, whichever feed a cursor came from."""

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.contract.fanout import Entry
from session_handler.cursor import After, Cursor, Since
from session_handler.feeds.progress import BEGINNING, EntryId, Progress, Snapshot, Verdict
from session_handler.feeds.shards import Lineage, Shard, resume, start_at_latest

STEP_MILLIS = 3_000
"""Between two records: more than clocks may differ, so that the model has no grey zone."""


class Put(NamedTuple):
    shard: str
    sequence: int
    subsequence: int
    millis: int


class Stream:
    """Kinesis: shards that are split and merged, records that stay."""

    def __init__(self):
        self.records = {}
        self.parents = {}
        self.closed = set()
        self.puts = []
        self.now = 1_000_000
        for _ in range(2):
            self.add()

    @property
    def open(self):
        return [name for name in self.records if name not in self.closed]

    def add(self, *parents):
        name = f"shardId-{len(self.records):012d}"
        self.records[name] = []
        self.parents[name] = parents
        self.closed |= set(parents)
        return name

    def put(self, choice):
        self.now += STEP_MILLIS
        shard = self.open[choice % len(self.open)]
        parts = (1, 2, 3) if choice == 7 else (0,)
        for part in parts:
            put = Put(shard, 10**55 + self.now, part, self.now)
            self.records[shard].append(put)
            self.puts.append(put)

    def split(self, choice):
        parent = self.open[choice % len(self.open)]
        self.add(parent)
        self.add(parent)

    def merge(self, choice):
        if len(self.open) > 1:
            self.add(self.open[choice % len(self.open)], self.open[(choice + 1) % len(self.open)])

    def listing(self):
        return [Shard(n, self.parents[n], n in self.closed) for n in self.records]

    def generation(self, shard):
        return max((self.generation(p) + 1 for p in self.parents[shard]), default=0)


@dataclass
class Fanout:
    """The relay's entries for the stream."""

    stream: Stream
    entries: list = field(default_factory=list)
    last: dict = field(default_factory=dict)
    relayed: dict = field(default_factory=dict)
    origin: int = 0
    count: int = 0
    clock_behind: int = 0

    def relay(self, choice, limit=1):
        """Relay up to `limit` records of a shard whose parents were relayed completely."""
        ready = [s for s in self.stream.records if self.rest(s) and not self.blocked(s)]
        if ready:
            shard = ready[choice % len(ready)]
            for put in self.rest(shard)[:limit]:
                self.append(put)

    def rest(self, shard):
        return self.stream.records[shard][self.relayed.get(shard, 0) :]

    def blocked(self, shard):
        return any(self.rest(p) or self.blocked(p) for p in self.stream.parents[shard])

    def append(self, put):
        self.count += 1
        position = After(put.sequence, put.subsequence)
        entry = Entry(
            put.shard,
            put.sequence,
            put.subsequence,
            self.last.get(put.shard),
            "key",
            put.millis,
            b"",
        )
        millis = self.stream.now - self.clock_behind
        self.entries.append((EntryId(millis, self.count), entry))
        self.last[put.shard] = position
        self.relayed[put.shard] = self.relayed.get(put.shard, 0) + 1

    def relay_all(self):
        while any(self.rest(shard) for shard in self.stream.records):
            self.relay(0, limit=10)

    def forget(self, choice):
        """The server lost everything, or its newest entries; the relay begins anew."""
        self.origin += 1
        kept = self.entries[: len(self.entries) * choice // 14] if choice % 2 else []
        self.entries, self.last, self.relayed = kept, {}, {}
        for _, entry in kept:
            self.last[entry.shard_id] = After(*entry.position)
            self.relayed[entry.shard_id] = self.relayed.get(entry.shard_id, 0) + 1

    def replace(self, choice):
        """Another server takes its place, which has nothing, and an earlier clock."""
        self.forget(0)
        self.clock_behind += choice * STEP_MILLIS

    def trim(self, choice):
        del self.entries[: choice + 1]

    def snapshot(self):
        return Snapshot(
            f"origin-{self.origin}",
            dict(self.last),
            self.entries[0][0] if self.entries else None,
            self.entries[-1][0] if self.entries else BEGINNING,
            self.stream.now,
        )


class FanoutReader:
    def __init__(self, fanout, cursor, seen, gaps):
        self.fanout, self.seen, self.gaps = fanout, seen, gaps
        self.origin = fanout.origin
        snapshot = fanout.snapshot()
        if cursor is None:
            self.progress = Progress.from_now(0, snapshot)
        else:
            self.progress = Progress(Cursor.parse(cursor))
        self.observe()

    @property
    def cursor(self):
        return self.progress.cursor

    def observe(self):
        self.origin = self.fanout.origin
        self.progress.observe(self.fanout.snapshot())
        self.gaps.update(self.progress.missed())

    def read(self, choice):
        """A page of one or more entries, of which a drop may confirm only some."""
        if self.fanout.origin != self.origin:
            self.progress.forget_ahead()
            self.observe()
        page = [item for item in self.fanout.entries if item[0] > self.progress.place]
        page = page[: choice + 1]
        self.progress.rewind(self.fanout.snapshot())
        for number, (entry_id, entry) in enumerate(page):
            verdict = self.progress.judge(entry)
            if verdict is Verdict.AFTER_GAP:
                self.gaps.add(entry.shard_id)
            if verdict is not Verdict.DELIVERED:
                self.seen.append((entry.shard_id, entry.sequence, entry.subsequence))
                self.progress.delivered(entry_id, entry)
            if choice == 6 and number == 3:
                self.progress.forget_ahead()  # the connection was lost in the middle
                self.observe()
                return
        if page:
            self.gaps.update(self.progress.passed(page[-1][0]))

    def read_all(self):
        self.observe()  # a reader that was far behind observes the origin when it has caught up
        before = None
        while (self.progress.place, self.origin) != before:
            before = self.progress.place, self.origin
            self.read(5)


class DirectReader:
    def __init__(self, fanout, cursor, seen, gaps):
        self.stream, self.seen = fanout.stream, seen
        if cursor is None:
            positions = start_at_latest(self.stream.listing(), self.stream.now)
        else:
            positions, gone = resume(self.stream.listing(), Cursor.parse(cursor))
            assert gone == ()
        self.lineage = Lineage(positions, self.stream.listing())
        self.lineage.begin_children()

    @property
    def cursor(self):
        return self.lineage.cursor

    def read(self, choice):
        readable = self.lineage.readable()
        if not readable:
            return False
        name = readable[choice % len(readable)]
        rest = [put for put in self.stream.records[name] if self.is_new(put)]
        if rest:
            put = rest[0]
            self.seen.append((name, put.sequence, put.subsequence))
            self.lineage.advance(name, After(put.sequence, put.subsequence))
        elif name in self.stream.closed:
            self.lineage.add(self.stream.listing())
            children = [s for s in self.stream.listing() if name in s.parents]
            self.lineage.end(name, children)
            return True
        return bool(rest)

    def is_new(self, put):
        position = self.lineage[put.shard]
        if isinstance(position, After):
            return (put.sequence, put.subsequence) > position
        return not isinstance(position, Since) or put.millis > position.millis

    def read_all(self):
        while any(self.read(n) for n in range(len(self.lineage.readable()))):
            pass


READERS = {"fanout": FanoutReader, "direct": DirectReader}


def play(steps, first):
    """A history; returns what a client saw that took its cursor from container to container."""
    stream = Stream()
    fanout = Fanout(stream)
    seen, gaps = [], set()
    for choice in range(3):
        stream.put(choice)
    fanout.relay_all()
    stream.now += STEP_MILLIS
    before = len(stream.puts)
    reader = READERS[first](fanout, None, seen, gaps)
    for step, choice in steps:
        match step:
            case "put" | "split" | "merge":
                getattr(stream, step)(choice)
            case "relay" | "forget" | "replace" | "trim":
                getattr(fanout, step)(choice)
            case "read":
                reader.read(choice)
            case "fanout" | "direct":
                cursor = reader.cursor
                assert str(Cursor.parse(cursor)) == cursor
                reader = READERS[step](fanout, cursor, seen, gaps)
    fanout.relay_all()
    reader.read_all()
    wanted = [(p.shard, p.sequence, p.subsequence) for p in stream.puts[before:]]
    return stream, wanted, seen, gaps


def steps_of(*kinds):
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 7)), max_size=70)


CALM = ("put", "put", "put", "relay", "relay", "relay", "read", "read", "split", "merge")


def assert_in_order(stream, seen):
    for at, (shard, sequence, subsequence) in enumerate(seen):
        family = {shard}
        pending = [shard]
        while pending:
            for parent in stream.parents[pending.pop()]:
                family.add(parent)
                pending.append(parent)
        later = [(q, u) for other, q, u in seen[at + 1 :] if other in family]
        assert all(position > (sequence, subsequence) for position in later)


@settings(max_examples=200, deadline=None)
@given(steps_of(*CALM, "fanout", "direct"), st.sampled_from(sorted(READERS)))
def test_cursors_go_on_in_either_feed(steps, first):
    stream, wanted, seen, gaps = play(steps, first)
    assert sorted(seen) == sorted(wanted)
    assert not gaps
    assert_in_order(stream, seen)


@settings(max_examples=200, deadline=None)
@given(steps_of(*CALM, "fanout", "direct", "forget", "replace"), st.sampled_from(sorted(READERS)))
def test_a_server_that_forgot_and_was_filled_again_changes_nothing(steps, first):
    stream, wanted, seen, gaps = play(steps, first)
    assert sorted(seen) == sorted(wanted)
    assert not gaps
    assert_in_order(stream, seen)


@settings(max_examples=200, deadline=None)
@given(steps_of(*CALM, "fanout", "forget", "trim"), st.sampled_from(sorted(READERS)))
def test_what_is_trimmed_is_told_and_nothing_comes_twice(steps, first):
    _, wanted, seen, gaps = play(steps, first)
    assert len(seen) == len(set(seen))
    lost = set(wanted) - set(seen)
    assert {shard for shard, _, _ in lost} <= gaps


def test_what_was_not_confirmed_comes_again():
    fanout = Fanout(Stream())
    reader = FanoutReader(fanout, None, [], set())
    for choice in range(4):
        fanout.stream.put(choice)
    fanout.relay_all()
    for _ in range(2):
        verdicts = [reader.progress.judge(entry) for _, entry in fanout.entries]
        assert verdicts == [Verdict.WANTED] * 4
        reader.progress.forget_ahead()


def test_more_shards_than_fit_are_left_out_oldest_first():
    positions = {f"shardId-{n:012d}": After(2**186 + n) for n in range(90)}
    progress = Progress(Cursor(positions, Since(1)))
    for n in range(90, 200):
        name = f"shardId-{n:012d}"
        progress.delivered(EntryId(n, 0), Entry(name, 2**186, 0, None, "key", 5, b""))
    cursor = Cursor.parse(progress.cursor)
    assert 80 < len(cursor.positions) < 100
    assert min(cursor.positions) > "shardId-000000000100"


@pytest.mark.parametrize("lost", [True, False])
def test_the_end_of_a_stream_that_is_gone_shows_without_a_further_entry(lost):
    fanout = Fanout(Stream())
    reader = FanoutReader(fanout, None, [], gaps := set())
    fanout.stream.put(0)
    fanout.relay_all()
    shard = fanout.entries[0][1].shard_id
    if lost:
        fanout.stream.put(1)
        fanout.relay_all()
        fanout.trim(0)
    FanoutReader(fanout, reader.cursor, [], gaps).read_all()
    assert gaps == ({shard} if lost else set())
