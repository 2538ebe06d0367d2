"""What is remembered of revisions: which is proven, which keep failing. One item an app or job."""

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

_log = logging.getLogger("usher.tasks")


@dataclass(frozen=True)
class StateCodec(Generic[S]):
    """How the states of one kind are stored."""

    kind: str
    """`app` or `job`: in front of the item's id, and the name of its log field."""
    make: type[S]
    indexed: Callable[[str], Mapping[str, Any]] = lambda _: {}
    """The attributes of indexes, for a name."""

    def item_id(self, name: str) -> str:
        """The id of a state's item."""
        return f"{self.kind}#{name}"

    def to_item(self, state: S) -> dict[str, Any]:
        """A state as DynamoDB's JSON."""
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
        """The state as it is now (a consistent read)."""
        codec = self._codec
        item = self._items.get(codec.item_id(name))
        state = read_record(item, codec.from_item) if item else codec.make(name)
        if isinstance(state, Unreadable):  # nothing that has to be kept
            fields = {codec.kind: name}
            _log.error("what is remembered of it is forgotten: %s", state.why, extra=fields)
            return codec.make(name, version=UNREADABLE)
        return state

    def change(self, name: str, decide: Callable[[S], S]) -> S:
        """Load, decide, write on condition; it is made when it is first needed."""
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
    """Folds the starts of tasks into the states of their revisions."""

    def __init__(
        self, states: RevisionStates[S], revisions: Revisions, now: Callable[[], float]
    ) -> None:
        self._states = states
        self._revisions = revisions
        self._now = now

    def succeeded(
        self, name: str, family: str, revision: str, log_fields: Mapping[str, Any]
    ) -> int | None:
        """A task of `revision` came up; new tasks start on `family`.

        Returns its failures in a row, 0; None where ECS does not say which revision is the newest:
        then nothing is learnt from it.
        """
        try:
            newest = self._revisions.newest(family)
        except (StartFailedError, UnavailableError) as error:
            _log.warning(
                "it is not known whether %s is the newest: %s", revision, error, extra=log_fields
            )
            return None
        self._states.change(name, lambda state: fold_success(state, revision, newest))
        return 0

    def failed(self, name: str, revision: str, reason: str, log_fields: Mapping[str, Any]) -> int:
        """A task of `revision` did not come up, for a reason of its own making.

        Returns its failures in a row.
        """
        now = self._now()
        state = self._states.change(name, lambda s: fold_failure(s, revision, reason, now))
        in_a_row = state.failing[revision].count
        _log.warning(
            "%s failed to start, %s in a row: %s", revision, in_a_row, reason, extra=log_fields
        )
        return in_a_row
