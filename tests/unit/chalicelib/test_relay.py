"""The relay: each record once and in order, despite failures, repetitions and lost data."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.contract.fanout import Entry, Position
from chalicelib.feed.records import (
    Arrival,
    arrivals_of_event,
    chunks,
    entries_of,
    parents_first,
)
from chalicelib.feed.relay import HOLD_SECONDS, NotRelayedError, Relay
from chalicelib.metrics import ProcessMetrics
from tests.fanout_model import FakeHistory, FakeServer, FakeStream, Reader, ServerLostError
from tests.kpl import aggregate
from tests.machines import machine_settings


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


def relay_for(server, history, clock=None, after_each=lambda: None, backfill_seconds=10**9):
    clock = clock or Clock()
    ids = iter(range(10**9))
    return Relay(
        stream=FakeStream(server, after_each),
        history=history,
        metrics=ProcessMetrics(),
        backfill_seconds=backfill_seconds,
        random_id=lambda: f"{id(clock)}-{server.run}-{next(ids)}",
        now=clock.now,
        sleep=clock.sleep,
    )


class EventSource(RuleBasedStateMachine):
    """Lambda's event source over a stream that splits and merges, a relay whose server fails and
    loses data, and a reader that reads from time to time.
    """

    @initialize(shards=st.integers(1, 3))
    def begin(self, shards):
        self.history = FakeHistory(shards)
        self.server = FakeServer()
        self.reader = Reader()
        self.relay = relay_for(self.server, self.history)
        self.taken = {}  # shard id -> how many records the function took

    def _readable(self):
        return [
            s
            for s in self.history.by_id.values()
            if all(self._is_read(self.history.by_id[parent]) for parent in s.parents)
        ]

    def _is_read(self, shard):
        return (
            shard.is_closed
            and self.taken.get(shard.shard_id, 0) == len(shard.arrivals)
            and all(self._is_read(self.history.by_id[parent]) for parent in shard.parents)
        )

    def _open(self):
        return [s.shard_id for s in self.history.by_id.values() if not s.is_closed]

    @rule(data=st.data(), count=st.integers(1, 5), parts=st.integers(0, 3))
    def put(self, data, count, parts):
        shard_id = data.draw(st.sampled_from(self._open()))
        packed = aggregate([("k", bytes([n])) for n in range(parts)])
        for _ in range(count):
            self.history.put(shard_id, packed if parts else b"\xff")

    @rule(data=st.data())
    def split(self, data):
        self.history.reshard(data.draw(st.sampled_from(self._open())), children=2)

    @precondition(lambda self: len(self._open()) > 1)
    @rule(data=st.data())
    def merge(self, data):
        pair = data.draw(st.permutations(self._open()))[:2]
        self.history.reshard(*pair, children=1)

    @rule(
        data=st.data(),
        count=st.integers(1, 6),
        faults=st.lists(st.sampled_from([None, None, "before", "after"]), max_size=4),
    )
    def deliver(self, data, count, faults):
        """The next batch of a shard; one that fails stays the next one."""
        shard = data.draw(st.sampled_from(self._readable()))
        start = self.taken.get(shard.shard_id, 0)
        batch = shard.arrivals[start : start + count]
        self.server.faults = faults
        try:
            self.relay.relay(batch)
        except (ServerLostError, NotRelayedError):
            self.server.now += HOLD_SECONDS + 1
            return
        finally:
            self.server.faults = []
        self.taken[shard.shard_id] = start + len(batch)

    @rule(data=st.data(), count=st.integers(1, 6))
    def deliver_again(self, data, count):
        """A batch that was taken comes once more."""
        shard = data.draw(st.sampled_from(self._readable()))
        taken = self.taken.get(shard.shard_id, 0)
        start = data.draw(st.integers(0, taken))
        self.relay.relay(shard.arrivals[start : min(start + count, taken)])

    @rule()
    def save(self):
        self.server.save()

    @rule(empty=st.booleans())
    def restart_server(self, empty):
        self.server.restart(empty=empty)

    @rule()
    def keep_whole(self):
        self.relay.keep_whole()

    @rule()
    def read(self):
        self.reader.read(self.server)

    @invariant()
    def entries_are_in_order_and_linked(self):
        last = {}
        for entry in getattr(self, "server", FakeServer()).entries:
            assert entry.previous == last.get(entry.shard_id)
            assert entry.previous is None or entry.position > entry.previous
            last[entry.shard_id] = entry.position

    def teardown(self):
        if not hasattr(self, "history"):
            return
        while pending := [s for s in self._readable() if not self._is_taken(s)]:
            for shard in pending:
                self.relay.relay(shard.arrivals[self.taken.get(shard.shard_id, 0) :])
                self.taken[shard.shard_id] = len(shard.arrivals)
        self.relay.keep_whole()
        self.reader.read(self.server)
        assert self.reader.gaps == []
        for shard in self.history.by_id.values():
            expected = [
                (e.sequence, e.subsequence, e.data) for a in shard.arrivals for e in entries_of(a)
            ]
            received = [
                (e.sequence, e.subsequence, e.data)
                for e in self.reader.received
                if e.shard_id == shard.shard_id
            ]
            assert received == expected
        order = [e.shard_id for e in self.reader.received]
        for shard in self.history.by_id.values():
            for parent in shard.parents:
                if parent in order and shard.shard_id in order:
                    assert len(order) - order[::-1].index(parent) <= order.index(shard.shard_id)

    def _is_taken(self, shard):
        return self.taken.get(shard.shard_id, 0) == len(shard.arrivals)


EventSource.TestCase.settings = machine_settings(examples=150, steps=40)
TestEventSource = EventSource.TestCase


def entries_in(server):
    return [entry.sequence for entry in server.entries]


def test_a_new_feed_begins_with_the_recent_past_of_every_shard():
    history, server = FakeHistory(2), FakeServer()
    first, second = history.by_id
    old, recent = history.put(first, millis=1_000), history.put(second, millis=90_000)
    new = history.put(first, millis=100_000)
    relay_for(server, history, backfill_seconds=60).relay([new])
    assert entries_in(server) == [new.sequence, recent.sequence]
    assert old.sequence not in entries_in(server)


def test_a_feed_that_is_whole_is_not_filled():
    history, server = FakeHistory(), FakeServer()
    [shard_id] = history.by_id
    relay = relay_for(server, history)
    relay.relay([history.put(shard_id)])
    reads = history.reads
    for _ in range(10):
        relay.relay([history.put(shard_id)])
        relay.keep_whole()
    assert history.reads == reads


def test_filling_goes_on_where_an_invocation_ran_out_of_time():
    history, server, clock = FakeHistory(), FakeServer(), Clock()
    [shard_id] = history.by_id
    arrivals = [history.put(shard_id) for _ in range(150)]

    def takes_a_second():
        clock.seconds += 1

    relay = relay_for(server, history, clock, takes_a_second)
    invocations = [0]
    while invocations[-1] < len(arrivals):
        with contextlib.suppress(NotRelayedError):
            relay.relay(arrivals[-1:])
        assert len(server.entries) > invocations[-1]
        invocations.append(len(server.entries))
    assert len(invocations) > 3
    relay.relay(arrivals[-1:])
    assert entries_in(server) == [a.sequence for a in arrivals]


def test_only_one_fills_and_the_others_wait_or_give_up():
    history, server, clock = FakeHistory(), FakeServer(), Clock()
    [shard_id] = history.by_id
    arrival = history.put(shard_id)
    FakeStream(server).begin("origin", 0, "somebody", 30.0)
    with pytest.raises(NotRelayedError):
        relay_for(server, history, clock).relay([arrival])
    assert server.entries == []
    server.now += 31  # the other relay's lock has expired
    relay_for(server, history, clock).relay([arrival])
    assert entries_in(server) == [arrival.sequence]


def test_a_server_that_forgets_while_it_is_filled_is_filled_again():
    history, server = FakeHistory(), FakeServer()
    [shard_id] = history.by_id
    arrivals = [history.put(shard_id) for _ in range(9)]

    def forget_once():
        if len(server.entries) >= 6 and server.run == 0:
            server.restart(empty=True)

    relay = relay_for(server, history, after_each=forget_once)
    with pytest.raises(NotRelayedError):
        relay.relay(arrivals[-1:])
    relay.relay(arrivals[-1:])
    assert entries_in(server) == [a.sequence for a in arrivals]


def test_what_was_relayed_and_what_failed_is_counted():
    history, server, clock = FakeHistory(), FakeServer(), Clock()
    [shard_id] = history.by_id
    relay = relay_for(server, history, clock)
    relay.keep_whole()
    batch = [history.put(shard_id, millis=round(clock.seconds * 1000) - 500) for _ in range(4)]
    relay.relay(batch[:2])
    relay.relay(batch)
    server.faults = ["before"]
    with pytest.raises(ServerLostError):
        relay.relay(batch)
    text = relay.metrics.text()
    assert "usher_feed_records_relayed_total 4" in text
    assert "usher_feed_records_repeated_total 2" in text
    assert "usher_feed_relay_failures_total 1" in text
    assert "usher_feed_relay_lag_seconds_sum 1" in text


def test_the_event_of_lambda_is_understood():
    sequence = 49545115243490985018280067714973144582180062593244200961
    [arrival] = arrivals_of_event(
        [
            {
                "eventID": f"shardId-000000000006:{sequence}",
                "kinesis": {
                    "partitionKey": "key-3",
                    "data": base64.b64encode(b"\x00\xff").decode(),
                    "kinesisSchemaVersion": "1.0",
                    "sequenceNumber": str(sequence),
                    "approximateArrivalTimestamp": 1428537600.123,
                },
            }
        ]
    )
    assert arrival == Arrival(
        "shardId-000000000006",
        sequence,
        "key-3",
        1428537600123,
        b"\x00\xff",
    )


@given(st.lists(st.binary(max_size=40), max_size=40), st.integers(1, 9), st.integers(1, 60))
def test_chunks_are_bounded_and_keep_the_order(datas, max_entries, max_bytes):
    entries = [Entry("s", n, 0, None, "k", 0, data) for n, data in enumerate(datas)]
    pieces = list(chunks(entries, max_entries, max_bytes))
    assert [entry for piece in pieces for entry in piece] == entries
    for piece in pieces:
        assert 1 <= len(piece) <= max_entries
        assert len(piece) == 1 or sum(len(entry.data) for entry in piece) <= max_bytes


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"\xf3\x89\x9a\xc2broken", b"x" * 10**6])
def test_bytes_that_nobody_can_read_are_passed_on(data):
    [entry] = entries_of(Arrival("s", 7, "k", 5, data))
    assert (entry.data, entry.position) == (data, Position(7, 0))


def test_an_aggregated_record_becomes_one_entry_for_each_part():
    data = aggregate([("a", b"1"), ("b", b"2")])
    assert [
        (e.partition_key, e.data, e.position) for e in entries_of(Arrival("s", 7, "k", 5, data))
    ] == [("a", b"1", Position(7, 1)), ("b", b"2", Position(7, 2))]


@given(st.data())
def test_parents_come_before_their_children(data):
    shards = []
    for n in range(data.draw(st.integers(0, 8))):
        parents = data.draw(st.lists(st.sampled_from(range(n)), max_size=2)) if n else []
        names = zip(("ParentShardId", "AdjacentParentShardId"), parents, strict=False)
        shards.append({"ShardId": f"{n}", **{name: f"{parent}" for name, parent in names}})
    ordered = parents_first(data.draw(st.permutations(shards)))
    assert sorted(ordered) == [shard["ShardId"] for shard in shards]
    for shard in shards:
        for name in ("ParentShardId", "AdjacentParentShardId"):
            if name in shard:
                assert ordered.index(shard[name]) < ordered.index(shard["ShardId"])
