"""Parents before children, nothing twice and nothing missed, through any history of resharding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_handler.cursor import After, Cursor, Ended, Horizon, Since
from session_handler.feeds.shards import Lineage, Shard, resume, start_at_latest


def shard(name, *parents, closed=False):
    return Shard(name, parents, closed)


def test_latest_begins_at_the_open_shards():
    shards = [shard("a", closed=True), shard("b", "a"), shard("c", "a", closed=True)]
    assert start_at_latest(shards, 7) == {"b": Since(7)}


def test_the_children_of_a_split_begin_when_the_parent_has_ended():
    lineage = Lineage({"a": After(5)})
    assert lineage.readable() == ["a"]
    assert lineage.end("a", [shard("b", "a"), shard("c", "a")]) == ["b", "c"]
    assert Cursor.parse(lineage.cursor).positions == {"b": Horizon(), "c": Horizon()}


def test_the_child_of_a_merge_waits_for_both_parents():
    lineage = Lineage({"a": After(5), "b": After(6)})
    assert lineage.end("a", [shard("m", "a", "b")]) == []
    assert lineage.cursor == "1~e.a~6-0.b~w.m"
    assert lineage.readable() == ["b"]
    assert lineage.end("b", [shard("m", "a", "b")]) == ["m"]
    assert Cursor.parse(lineage.cursor).positions == {"m": Horizon()}


def test_a_resume_in_the_middle_of_a_merge_does_not_read_the_ended_parent_again():
    shards = [shard("a", closed=True), shard("b", closed=True), shard("m", "a", "b")]
    positions, gone = resume(shards, Cursor({"a": Ended(), "b": After(6)}))
    assert gone == ()
    lineage = Lineage(positions, shards)
    assert lineage.begin_children() == []
    assert lineage.readable() == ["b"]
    assert lineage.end("b") == ["m"]


def test_a_merge_with_a_shard_that_was_never_ours_waits_for_ours_alone():
    lineage = Lineage({"b": After(1)})
    assert lineage.end("b", [shard("m", "a", "b")]) == ["m"]


def test_generations_begin_one_by_one():
    shards = [shard("a", closed=True), shard("b", "a", closed=True), shard("c", "b"), shard("z")]
    lineage = Lineage({"a": After(1)}, shards)
    assert lineage.begin_children() == []
    assert lineage.end("a") == ["b"]
    assert lineage.end("b") == ["c"]


def test_an_expired_shard_is_a_gap_and_its_descendants_are_read_from_the_beginning():
    shards = [shard("b", "a"), shard("c", "a"), shard("old", closed=True)]
    positions, gone = resume(shards, Cursor({"a": After(9)}))
    assert gone == ("a",)
    assert positions["b"] == positions["c"] == Horizon()


def test_a_gap_in_one_shard_leaves_the_others_where_they_were():
    shards = [shard("b", "a"), shard("x"), shard("old", closed=True)]
    positions, gone = resume(shards, Cursor({"a": After(9), "x": After(3)}))
    assert gone == ("a",)
    assert positions == {"b": Horizon(), "x": After(3)}


def test_a_cursor_of_another_stream_still_finds_something_to_read():
    positions, gone = resume([shard("a")], Cursor({"other": After(1)}))
    assert (positions, gone) == ({"a": Horizon()}, ("other",))


def test_ancestors_of_what_was_delivered_are_past_even_where_they_are_named():
    # As the fan-out feed has it: b held nothing, c nothing yet, and a is not known to have ended.
    shards = [
        *(shard("a", closed=True), shard("b", "a", closed=True)),
        *(shard("c", "a"), shard("d", "b", closed=True), shard("e", "d")),
    ]
    positions, gone = resume(shards, Cursor({"a": After(5), "d": After(9)}, Since(0)))
    assert gone == ()
    lineage = Lineage(positions, shards)
    assert lineage.begin_children() == ["c"]
    assert lineage.readable() == ["d", "c"]
    assert lineage.end("d", [shard("e", "d")]) == ["e"]
    assert lineage.cursor == "1~h.c~h.e"


def test_shards_that_a_fanout_cursor_does_not_know_are_read_from_its_instant():
    shards = [
        shard("a", closed=True),
        shard("b", "a"),
        shard("c", "a"),
        shard("x"),
        shard("y", "x"),
    ]
    positions, gone = resume(shards, Cursor({"b": After(5)}, Since(7)))
    assert gone == ()
    assert sorted(Lineage(positions, shards).readable()) == ["b", "c", "x"]
    assert positions["c"] == positions["x"] == Since(7)


class Stream:
    """A model of a stream: shards with numbered records, split and merged at will."""

    def __init__(self):
        self.records = {"s0": []}
        self.parents = {"s0": ()}
        self.closed = set()
        self.count = 0

    @property
    def open(self):
        return [name for name in self.records if name not in self.closed]

    def put(self, choice):
        self.count += 1
        self.records[self.open[choice % len(self.open)]].append(self.count)

    def add(self, *parents):
        name = f"s{len(self.records)}"
        self.records[name] = []
        self.parents[name] = parents
        return name

    def split(self, choice):
        parent = self.open[choice % len(self.open)]
        self.add(parent)
        self.add(parent)
        self.closed.add(parent)

    def merge(self, choice):
        if len(self.open) > 1:
            first = self.open[choice % len(self.open)]
            second = self.open[(choice + 1) % len(self.open)]
            self.add(first, second)
            self.closed |= {first, second}

    def shards(self):
        return [Shard(n, self.parents[n], n in self.closed) for n in self.records]

    def children(self, name):
        return [s for s in self.shards() if name in s.parents]

    def ancestors(self, name):
        found = set(self.parents[name])
        for parent in self.parents[name]:
            found |= self.ancestors(parent)
        return found


class Reader:
    def __init__(self, stream):
        self.stream = stream
        self.seen = []
        self.lineage = Lineage(start_at_latest(stream.shards(), 0), stream.shards())

    def read(self, choice):
        """Read one record of one shard, or find its end."""
        readable = self.lineage.readable()
        name = readable[choice % len(readable)]
        position = self.lineage[name]
        last = position.sequence if isinstance(position, After) else 0
        rest = [n for n in self.stream.records[name] if n > last]
        if rest:
            self.seen.append((name, rest[0]))
            self.lineage.advance(name, After(rest[0]))
        elif name in self.stream.closed:
            self.lineage.add(self.stream.shards())
            self.lineage.end(name, self.stream.children(name))

    def drop(self):
        positions, gone = resume(self.stream.shards(), Cursor.parse(self.lineage.cursor))
        assert gone == ()
        self.lineage = Lineage(positions, self.stream.shards())
        self.lineage.begin_children()

    def read_all(self):
        for _ in range(2 * (self.stream.count + len(self.stream.records))):
            for choice in range(len(self.lineage.readable())):
                self.read(choice)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "read", "read", "split", "merge", "drop"]),
        st.integers(0, 7),
    ),
    max_size=80,
)


@given(STEPS)
def test_every_record_is_read_once_and_in_order_whatever_happens(steps):
    stream = Stream()
    reader = Reader(stream)
    for step, choice in steps:
        match step:
            case "read":
                reader.read(choice)
            case "drop":
                reader.drop()
            case _:
                getattr(stream, step)(choice)
    reader.drop()
    reader.read_all()
    assert sorted(n for _, n in reader.seen) == list(range(1, stream.count + 1))
    for at, (name, number) in enumerate(reader.seen):
        family = stream.ancestors(name) | {name}
        later = [n for other, n in reader.seen[at + 1 :] if other in family]
        assert all(n > number for n in later), "a parent was read after its child"
    assert len(reader.lineage.cursor) < 7_000


@pytest.mark.parametrize("api", [{"ShardId": "a"}, {"ShardId": "a", "SequenceNumberRange": {}}])
def test_shards_as_kinesis_describes_them(api):
    assert Shard.from_api(api) == Shard("a", (), is_closed=False)
    described = {
        "ShardId": "m",
        "ParentShardId": "a",
        "AdjacentParentShardId": "b",
        "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"},
    }
    assert Shard.from_api(described) == Shard("m", ("a", "b"), is_closed=True)
