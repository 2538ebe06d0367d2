"""Models for the fan-out feed: a server that can lose data, a stream's history, and a reader."""

from dataclasses import dataclass, field

from chalicelib.contract.fanout import Entry, Position
from chalicelib.feed.records import Arrival, parents_first
from chalicelib.feed.stream import Begun, Filling


class ServerLostError(Exception):
    """Redis did not answer; the request may or may not have been carried out."""


@dataclass
class FakeServer:
    """The data that the scripts keep in Redis, and ways to lose it. `faults` are taken one a call:
    "before" loses the request, "after" the reply, None nothing.
    """

    origin: str | None = None
    last: dict[str, Position] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    relay: dict[str, object] = field(default_factory=dict)
    run: int = 0
    now: float = 0.0
    faults: list[str | None] = field(default_factory=list)
    saved: tuple | None = None

    def save(self):
        self.saved = (self.origin, dict(self.last), list(self.entries), dict(self.relay))

    def restart(self, *, empty):
        state = (None, {}, [], {}) if empty or self.saved is None else self.saved
        self.origin, last, entries, relay = state
        self.last, self.entries, self.relay = dict(last), list(entries), dict(relay)
        self.run += 1

    @property
    def is_known(self):
        return self.origin is not None and self.relay.get("server") == self.run


class FakeStream:
    """`RedisStream` on a FakeServer. `after_each` is called after each call."""

    def __init__(self, server, after_each=lambda: None):
        self.server = server
        self._after_each = after_each

    def append(self, entries, origin=""):
        return self._call(self._append, entries, origin)

    def begin(self, origin, since, holder, hold_seconds):
        return self._call(self._begin, origin, since, holder, hold_seconds)

    def end(self, origin, holder, *, is_whole):
        return self._call(self._end, origin, holder, is_whole)

    def last(self):
        return self._call(lambda: dict(self.server.last))

    def _call(self, operation, *arguments):
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "before":
            raise ServerLostError
        result = operation(*arguments)
        self._after_each()
        if fault == "after":
            raise ServerLostError
        return result

    def _append(self, entries, origin):
        server = self.server
        if not server.is_known:
            return None
        if origin != server.origin if origin else not server.relay.get("filled"):
            return None
        appended = 0
        for entry in entries:
            last = server.last.get(entry.shard_id)
            if last is None or entry.position > last:
                server.entries.append(entry._replace(previous=last))
                server.last[entry.shard_id] = entry.position
                appended += 1
        return appended

    def _begin(self, origin, since, holder, hold_seconds):
        server = self.server
        if not server.is_known:
            server.origin = origin
            server.relay = {"server": server.run, "since": since}
        relay = server.relay
        if relay.get("filled"):
            return Begun(Filling.WHOLE, server.origin, relay["since"])
        if relay.get("holder", holder) != holder and relay["held_until"] > server.now:
            return Begun(Filling.ANOTHER, server.origin, relay["since"])
        relay |= {"holder": holder, "held_until": server.now + hold_seconds}
        return Begun(Filling.YOURS, server.origin, relay["since"])

    def _end(self, origin, holder, is_whole):
        server = self.server
        if not server.is_known or server.origin != origin:
            return False
        if is_whole:
            server.relay["filled"] = True
        if server.relay.get("holder") == holder:
            del server.relay["holder"], server.relay["held_until"]
        return True


@dataclass
class FakeShard:
    shard_id: str
    parents: tuple[str, ...] = ()
    arrivals: list[Arrival] = field(default_factory=list)
    is_closed: bool = False


class FakeHistory:
    """A Kinesis stream that keeps everything. Sequence numbers have 56 digits."""

    def __init__(self, shards=1):
        self.by_id = {}
        self.reads = 0
        self._sequence = 10**55
        for _ in range(shards):
            self._add(())

    def put(self, shard_id, data=b"data", millis=0):
        # Across a power of ten now and then: numbers of different lengths.
        self._sequence += 3 * 10**54
        arrival = Arrival(shard_id, self._sequence, "key", millis, data)
        self.by_id[shard_id].arrivals.append(arrival)
        return arrival

    def reshard(self, *parents, children):
        for parent in parents:
            self.by_id[parent].is_closed = True
        return [self._add(parents) for _ in range(children)]

    def _add(self, parents):
        shard_id = f"shardId-{len(self.by_id):012d}"
        self.by_id[shard_id] = FakeShard(shard_id, parents)
        return shard_id

    def shards(self):
        names = ("ParentShardId", "AdjacentParentShardId")
        return parents_first(
            {"ShardId": s.shard_id, **dict(zip(names, s.parents, strict=False))}
            for s in reversed(self.by_id.values())
        )

    def read(self, shard_id, after, since):
        arrivals = self.by_id[shard_id].arrivals
        if after is not None:
            wanted = [a for a in arrivals if a.sequence >= after.sequence]
        else:
            wanted = [a for a in arrivals if a.arrived_at >= since]
        for start in range(0, len(wanted) or 1, 3):
            self.reads += 1
            yield wanted[start : start + 3]


@dataclass
class Reader:
    """A session: keeps to the rules that chalicelib.contract.fanout states for readers."""

    positions: dict[str, Position] = field(default_factory=dict)
    received: list[Entry] = field(default_factory=list)
    gaps: list[Entry] = field(default_factory=list)
    origin: str | None = None
    index: int = 0

    def read(self, server):
        if server.origin != self.origin:
            self.origin, self.index = server.origin, 0
        for entry in server.entries[self.index :]:
            self.index += 1
            delivered = self.positions.get(entry.shard_id)
            if delivered is not None and entry.position <= delivered:
                continue
            if entry.is_gap(delivered):
                self.gaps.append(entry)
            self.positions[entry.shard_id] = entry.position
            self.received.append(entry)
