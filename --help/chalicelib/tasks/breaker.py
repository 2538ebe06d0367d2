"""The stored states of revisions: which one is proven, which fail. One item for each app or job."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic

from chalicelib.dynamodb.records import Item, Unreadable, build, extra_attributes, read_record
from chalicelib.dynamodb.serialization import deserialize, serialize
from chalicelib.dynamodb.table import Table, change
from chalicelib.errors import StartFailedError, UnavailableError
from chalicelib.tasks.deployed import Revisions
from chalicelib.tasks.revisions import S, fold_failure, fold_success

UNREADABLE = -1
"""The version of a state that cannot be read."""
SUCCESS_SECONDS = 1.0
"""A process folds one success of a revision in so long: where many start, one says it for all."""

_log = logging.getLogger("usher.tasks")


@dataclass(frozen=True)
class StateCodec(Generic[S]):
    """Serializes the states of one kind."""

    kind: str
    """`app` or `job`: prefix of the item's id, and name of its log field."""
    make: type[S]
    indexed: Callable[[str], Mapping[str, Any]] = lambda _: {}
    """The keys of indexes, for a name."""

    def item_id(self, name: str) -> str:
        """The id of a state's item."""
        return f"{self.kind}#{name}"

    def to_item(self, state: S) -> dict[str, Any]:
        """The DynamoDB item of a state."""
        item = asdict(replace(state, extra={})) | {"id": self.item_id(state.name)}
        del item["extra"]
        return {**state.extra, **serialize({**item, **self.indexed(state.name)})}

    def from_item(self, item: Item) -> S:
        """The inverse of `to_item`. Raises ValueError."""
        known = frozenset({"id", *self.indexed(""), *(each.name for each in fields(self.make))})
        extra = extra_attributes(item, known)
        return build(self.make, deserialize(item) | {"extra": extra}, always=("version",))


class RevisionStates(Generic[S]):
    """The states of all apps, or of all jobs."""

    def __init__(self, items: Table, codec: StateCodec[S]) -> None:
        self._items = items
        self._codec = codec

    def get(self, name: str) -> S:
        """The present state (consistent read)."""
        codec = self._codec
        item = self._items.get(codec.item_id(name))
        state = read_record(item, codec.from_item) if item else codec.make(name)
        if isinstance(state, Unreadable):  # it has no data that must be kept
            fields = {codec.kind: name}
            _log.error("what is remembered of it is forgotten: %s", state.why, extra=fields)
            return codec.make(name, version=UNREADABLE)
        return state

    def change(self, name: str, decide: Callable[[S], S]) -> S:
        """Load, decide, write conditionally; a missing state is created."""
        changed = change(lambda: self.get(name), decide, self._put)
        return changed[1] if changed else self._codec.make(name)

    def _put(self, before: S, after: S) -> S | None:
        written = replace(after, version=max(0, before.version) + 1)
        item = self._codec.to_item(written)
        if before.version == UNREADABLE:
            self._items.overwrite(item)
            return written
        return written if self._items.put(item, before.version or None) else None


class Breaker(Generic[S]):
    """Updates the states of revisions with results of starts."""

    def __init__(
        self, states: RevisionStates[S], revisions: Revisions, now: Callable[[], float]
    ) -> None:
        self._states = states
        self._revisions = revisions
        self._now = now
        self._succeeded: dict[str, tuple[str, float]] = {}
        """The revision of each name that came up last, and when that was folded in."""

    def succeeded(
        self, name: str, family: str, revision: str, log_fields: Mapping[str, Any]
    ) -> int | None:
        """A task of `revision` became ready; new tasks start on `family`.

        Returns its number of successive failures, 0; None if ECS does not report the newest
        revision, and then the state is unchanged.
        """
        now = self._now()
        last, folded_at = self._succeeded.get(name, ("", now))
        if last == revision and 0 <= now - folded_at < SUCCESS_SECONDS:
            return 0
        try:
            newest = self._revisions.newest(family)
        except (StartFailedError, UnavailableError) as error:
            _log.warning(
                "it is not known whether %s is the newest: %s", revision, error, extra=log_fields
            )
            return None
        self._states.change(name, lambda state: fold_success(state, revision, newest))
        self._succeeded[name] = (revision, now)
        return 0

    def failed(self, name: str, revision: str, reason: str, log_fields: Mapping[str, Any]) -> int:
        """A task of `revision` failed to start, for a reason of its own.

        Returns the number of successive failures.
        """
        now = self._now()
        self._succeeded.pop(name, None)
        state = self._states.change(name, lambda s: fold_failure(s, revision, reason, now))
        in_a_row = state.failing[revision].count
        _log.warning(
            "%s failed to start, %s in a row: %s", revision, in_a_row, reason, extra=log_fields
        )
        return in_a_row
