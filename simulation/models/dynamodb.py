"""DynamoDB as the dispatcher uses it: latencies, conflicts of transactions, partitions, lag.

`TableModel` replaces `SessionsTable` and keeps its promises: all or nothing, conditions on
versions, counters that never exceed their maximum. Records are objects instead of JSON.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.dynamodb.expressions import Condition, expressions
from chalicelib.dynamodb.records import Unreadable
from chalicelib.dynamodb.table import BUSY_TRIES, FIRST_PAUSE_SECONDS, Item, Table, change
from chalicelib.dynamodb.writes import Write, raised
from chalicelib.errors import BusyError
from chalicelib.sessions.items import APP_STATES, NOT_READY_ORDER, SESSIONS
from chalicelib.sessions.limits import Counter, lists_sessions
from chalicelib.sessions.model import Session, State
from chalicelib.sessions.pool import AppState
from chalicelib.sessions.table import POOL_PAGE, Answered, Full, Lost, SessionsTable
from chalicelib.tasks.breaker import RevisionStates
from chalicelib.tasks.store import LIVE_BUCKETS, next_version
from local.aws.ecs.buckets import Bucket, Rate
from simulation.meter import Meter
from simulation.models.expressions import PlainItem, holds, updated
from simulation.models.latencies import Latencies
from simulation.models.token_bucket import shared_rate
from simulation.virtual_time import VirtualTime

PARTITION = Rate(burst=1_000, per_second=1_000)
"""Write units of one partition: partition key design, developer guide of DynamoDB. The burst of
unused seconds that DynamoDB may allow is left out, as it is not promised."""
RECORD_UNITS = 2
"""A record has some 1.5 KB, one unit is 1 KB."""
KEPT_SECONDS = 120
"""Ended sessions are looked at for this long at most: the last event of their task."""
STARTS = "rate#starts#"
"""The counter of starts a second, whose maximum is in whole sessions."""
SHARED_COUNTERS = ("limit#total", "limit#app", "limit#second")


class Partitions:
    """The write units of each partition key, and how long who gets none waits."""

    def __init__(
        self,
        time: VirtualTime,
        meter: Meter,
        chance: random.Random,
        latencies: Latencies,
        batch: int,
    ) -> None:
        self.time = time
        self.meter = meter
        self.latencies = latencies
        self.batch = batch
        self._chance = chance
        self._rate = shared_rate(PARTITION, batch)
        self._buckets: dict[str, Bucket] = {}
        self.held: set[str] = set()
        """Items that a transaction has in hand."""

    def read(self, units: float = 1) -> None:
        """A consistent read."""
        self.meter.add("read units", units)
        self.time.sleep(self.latencies.read)

    def write(self, units: Mapping[str, float], seconds: float, items: Sequence[str] = ()) -> bool:
        """Writes by partition key, again while one is throttled. Raises BusyError.

        `items` are those of a transaction; False where another has one of them in hand.
        """
        for tries in range(BUSY_TRIES):
            if not self.held.isdisjoint(items):
                self.meter.add("conflicts of transactions")
                self.time.sleep(self.latencies.write)
                return False
            if all(self._take(key, amount) for key, amount in units.items()):
                for key, amount in units.items():
                    self.meter.add(f"partition {key}" if key else "records", amount)
                self.meter.add("write units", sum(units.values()))
                self._hold(items, seconds)
                return True
            self.meter.add("throttled writes")
            self.time.sleep(seconds + FIRST_PAUSE_SECONDS * 2**tries * self._chance.random())
        raise BusyError("too many writes at once", retry_after_seconds=1)

    def _hold(self, items: Sequence[str], seconds: float) -> None:
        held = items if len(items) > 1 else ()
        self.held.update(held)
        try:
            self.time.sleep(seconds)
        finally:
            self.held.difference_update(held)

    def _take(self, key: str, units: float) -> bool:
        if not key:  # the table's own partitions: a key for each record
            return True
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._rate, self.time.now())
        return bucket.take(self.time.now(), units)


class ItemsModel(Table):
    """Leases, counters and rates: items with conditional updates."""

    def __init__(self, partitions: Partitions) -> None:
        super().__init__(None, "sessions")
        self._partitions = partitions
        self.items: dict[str, PlainItem] = {}

    def get(self, item_id: str) -> Item | None:
        raise NotImplementedError(f"{item_id}: no item is read whole here")

    def counted(self, key: str) -> int:
        self._partitions.read()
        return int(self.items.get(key, {}).get("n", 0))

    def count(self, key: str, maximum: int | None, expire_at: int) -> bool:
        if maximum is not None and key.startswith(STARTS):
            maximum = max(1, maximum // self._partitions.batch)
        return self._apply(raised(self.name, key, maximum, expire_at)) is not None

    def update_number(self, write: Write) -> int | None:
        applied = self._apply(write)
        return None if applied is None else int(applied[1]["n"])

    def update(self, item_id: str, values: Mapping[str, Any], condition: Condition) -> Item | None:
        key = {"Key": {"id": {"S": item_id}}}
        applied = self._apply(key | expressions(condition=condition, set_values=values))
        return None if applied is None else _texts(applied[0], values)

    def update_or_see(
        self, item_id: str, values: Mapping[str, Any], condition: Condition
    ) -> tuple[bool, Item | None]:
        if self.update(item_id, values, condition) is not None:
            return True, None
        return False, _texts(self.items.get(item_id, {}), values)

    def _apply(self, write: Write) -> tuple[PlainItem, PlainItem] | None:
        """The item before and after; None where the condition does not hold."""
        key = write["Key"]["id"]["S"]
        self._partitions.write(
            {f"item {key.partition('#')[0]}": 1}, self._partitions.latencies.write
        )
        before = self.items.get(key)
        if not holds(write, before):
            return None
        after = self.items[key] = updated(write, before)
        return before or {}, after


def _texts(item: PlainItem, names: Iterable[str]) -> Item:
    """These attributes, as texts: nothing else is read of what an update answers."""
    return {name: {"S": str(item[name])} for name in names if name in item}


class AppStatesModel(RevisionStates[AppState]):
    """The stored state of apps' revisions."""

    def __init__(self, items: Table, partitions: Partitions) -> None:
        super().__init__(items, APP_STATES)
        self._partitions = partitions
        self.states: dict[str, AppState] = {}

    def get(self, name: str) -> AppState:
        self._partitions.read()
        return self.states.get(name, AppState(name))

    def change(self, name: str, decide: Callable[[AppState], AppState]) -> AppState:
        changed = change(lambda: self.get(name), decide, self._replace)
        return changed[1] if changed else AppState(name)

    def _replace(self, before: AppState, after: AppState) -> AppState | None:
        seconds = self._partitions.latencies.write
        self._partitions.write({f"pool {before.name}": 1}, seconds)
        if self.states.get(before.name, before).version != before.version:
            return None
        self.states[before.name] = written = replace(after, version=before.version + 1)
        return written


class PoolIndex:
    """One partition of the index of what waits for an owner, in its order."""

    def __init__(self) -> None:
        self._keys: list[tuple[float, str]] = []
        self._entries: dict[str, tuple[float, Session]] = {}

    def apply(self, session: Session) -> None:
        """Show a record as it is now."""
        if session.id in self._entries:
            order, _ = self._entries.pop(session.id)
            del self._keys[bisect_left(self._keys, (order, session.id))]
        if session.is_unowned:
            ready = session.state is State.WARM
            order = session.created_at + (0 if ready else NOT_READY_ORDER)
            self._entries[session.id] = order, session
            insort(self._keys, (order, session.id))

    def first(self, most: int | None = None) -> list[Session]:
        """The first ones, ready ones before the others."""
        return [self._entries[session_id][1] for _, session_id in self._keys[:most]]


class TableModel(SessionsTable):
    """The table of sessions, in memory and in virtual time."""

    def __init__(self, partitions: Partitions) -> None:
        self._partitions = partitions
        self._codec = SESSIONS
        self.items: ItemsModel = ItemsModel(partitions)
        self.apps: AppStatesModel = AppStatesModel(self.items, partitions)
        self.sessions: dict[str, Session] = {}
        self._pools: dict[str, PoolIndex] = {}

    def find(self, record_id: str) -> Session | Unreadable | None:
        self._partitions.read(RECORD_UNITS / 4)
        return self.sessions.get(record_id)

    def get_all(
        self, ids: Sequence[str], projection: Sequence[str] = ()
    ) -> list[Session | Unreadable]:
        del projection
        if ids:
            self._partitions.read(len(ids) * RECORD_UNITS / 4)
        return [self.sessions[one] for one in ids if one in self.sessions]

    def answered(self, key: str) -> str | None:
        self._partitions.read()
        item = self.items.items.get(key)
        return None if item is None else str(item["session_id"])

    def live(
        self,
        bucket: int,
        after: str | None,
        limit: int,
        *,
        only: Condition | None = None,
        created_until: float | None = None,
    ) -> tuple[list[Session | Unreadable], str | None]:
        if only is not None or created_until is not None:
            raise NotImplementedError("a filter")
        ids = sorted(
            session.id
            for session in self.sessions.values()
            if session.state is not State.ENDED
            and int(session.id[:8], 16) % LIVE_BUCKETS == bucket
            and session.id > (after or "")
        )
        page = ids[:limit]
        self._partitions.read(len(page) * RECORD_UNITS / 8)
        return [self.sessions[one] for one in page], page[-1] if len(ids) > limit else None

    def read_pool(self, app: str) -> tuple[AppState, list[Session]]:
        state, members = self._pool(app, POOL_PAGE - 1)
        return state, members

    def query_all(self, app: str) -> tuple[AppState, list[Session | Unreadable]]:
        state, members = self._pool(app, None)
        return state, list(members)

    def insert(
        self,
        session: Session,
        *,
        before: Session | None = None,
        answers: Answered | None = None,
        counters: Sequence[Counter] = (),
        takes: Sequence[Write] = (),
    ) -> Session | Lost | Full:
        if takes:
            raise NotImplementedError("capacity groups are not modelled")
        written = session if before is None else next_version(before, session)
        items = [written.id, *(counter.key for counter in counters)]
        if answers is not None:
            items.append(answers.key)
        if not self._transact(before, written, items):
            return Lost.CONFLICT
        if answers is not None and self._is_answered(answers):
            return Lost.REQUEST
        if before is not None and self._version(before.id) != before.version:
            return Lost.SESSION
        full = tuple(counter for counter in counters if self._is_full(counter))
        if full:
            return Full(full)
        for counter in counters:
            self._raise(counter, written)
        if answers is not None:
            self.items.items[answers.key] = {"session_id": written.id}
        self._store(written)
        return written

    def replace(self, before: Session, after: Session, *more: Write) -> Session | None:
        if more:
            raise NotImplementedError("a write of another record in the same transaction")
        written = next_version(before, after)
        kept = SESSIONS.counters(after)
        released = [key for key in SESSIONS.counters(before) if key not in kept]
        if not self._transact(before, written, [before.id, *released]):
            return None
        if self._version(before.id) != before.version:
            return None
        for key in released:
            item = self.items.items[key]
            self.items.items[key] = item | {
                "n": item["n"] - 1,
                "members": item.get("members", frozenset()) - {before.id},
            }
        self._store(written)
        return written

    def add(self, session: Session, counters: Sequence[Counter]) -> None:
        """A record that was there before the beginning."""
        for counter in counters:
            self._raise(counter, session)
        self._store(session)

    def counted_by(self, keys: Sequence[str]) -> list[Session]:
        items = [self.items.items.get(key, {}) for key in keys if lists_sessions(key)]
        ids = sorted(one for item in items for one in item.get("members", ()))
        found = [one for one in self.get_all(ids) if isinstance(one, Session)]
        return sorted(found, key=lambda session: session.created_at)

    def _pool(self, app: str, most: int | None) -> tuple[AppState, list[Session]]:
        members = self._pools.setdefault(app, PoolIndex()).first(most)
        self._partitions.read((1 + len(members) * RECORD_UNITS) / 8)
        return self.apps.states.get(app, AppState(app)), members

    def _version(self, session_id: str) -> int | None:
        session = self.sessions.get(session_id)
        return None if session is None else session.version

    def _transact(self, before: Session | None, after: Session, items: Sequence[str]) -> bool:
        """Let the time of a write pass; False where another transaction has one of the items."""
        latencies = self._partitions.latencies
        is_transaction = len(items) > 1
        units: dict[str, float] = {"": RECORD_UNITS * (2 if is_transaction else 1)}
        for key in items[1:]:  # an owner's counter is no hot partition: that owner alone uses it
            name = f"item {key}" if key.startswith(SHARED_COUNTERS) else ""
            units[name] = units.get(name, 0) + 2
        units |= self._index_units(before, after)
        seconds = latencies.transaction if is_transaction else latencies.write
        return self._partitions.write(units, seconds, items)

    def _index_units(self, before: Session | None, after: Session) -> dict[str, float]:
        bucket = f"live {int(after.id[:8], 16) % LIVE_BUCKETS}"
        units: dict[str, float] = {bucket: RECORD_UNITS}
        if after.is_unowned or (before is not None and before.is_unowned):
            units[f"pool {after.app}"] = RECORD_UNITS
        return units

    def _is_answered(self, answers: Answered) -> bool:
        item = self.items.items.get(answers.key)
        return (None if item is None else item["session_id"]) != answers.replaces

    def _is_full(self, counter: Counter) -> bool:
        return int(self.items.items.get(counter.key, {}).get("n", 0)) >= counter.maximum

    def _raise(self, counter: Counter, session: Session) -> None:
        item = self.items.items.get(counter.key, {"n": 0})
        raised_item = item | {"n": item["n"] + 1}
        if lists_sessions(counter.key):
            raised_item["members"] = item.get("members", frozenset()) | {session.id}
        self.items.items[counter.key] = raised_item

    def _store(self, session: Session) -> None:
        self.sessions[session.id] = session
        time = self._partitions.time
        if session.state is State.ENDED:
            time.later(KEPT_SECONDS, lambda: self.sessions.pop(session.id, None))
        if session.pooled or session.owner is None:
            index = self._pools.setdefault(session.app, PoolIndex())
            time.later(self._partitions.latencies.index_lag, lambda: index.apply(session))
