"""The fan-out feed's stream in Redis or Valkey, as the relay sees it: a few atomic steps."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.contract.fanout import Entry, Position, keys_of

_SCRIPTS = Path(__file__).with_name("scripts")


class Filling(StrEnum):
    """Whether the entries are whole, and who sees to it if not."""

    WHOLE = "whole"
    YOURS = "yours"
    ANOTHER = "another"


class Begun(NamedTuple):
    """What `begin` found."""

    state: Filling
    origin: str
    since: int
    """Epoch milliseconds: from here on shards without a position are to be filled."""


class RedisStream:
    """One stream. All methods raise redis-py's RedisError when the server does not do its part;
    each may be repeated then, whether it was carried out or not.
    """

    def __init__(self, client: Any, stream: str, max_records: int) -> None:
        """`client` is redis-py's; about `max_records` entries are kept."""
        self._client = client
        self._keys = keys_of(stream)
        self._max_records = max_records
        server = (_SCRIPTS / "server.lua").read_text(encoding="utf-8")
        self._append, self._begin, self._end = (
            client.register_script(server + (_SCRIPTS / name).read_text(encoding="utf-8"))
            for name in ("append.lua", "begin.lua", "end.lua")
        )

    def append(self, entries: Sequence[Entry], origin: str = "") -> int | None:
        """Append those that are newer than their shard's last, all or none; how many these were.

        None: entries may be missing before these, so none was appended. With `origin`, which is
        being filled, None says that it has been replaced meanwhile.
        """
        arguments: list[str | int | bytes] = [origin, self._max_records]
        for entry in entries:
            arguments += (entry.shard_id, entry.sequence, entry.subsequence)
            arguments += (entry.partition_key, entry.arrived_at, entry.data_field, entry.data)
        appended = int(self._append(keys=self._keys, args=arguments))
        return None if appended < 0 else appended

    def begin(self, origin: str, since: int, holder: str, hold_seconds: float) -> Begun:
        """Find out whether the entries are whole. If not, and nobody does so, `holder` is to
        fill them, and has `hold_seconds` for it. Without an origin, or with one that another
        server wrote, `origin` becomes the new one, to be filled from `since` on.
        """
        found = self._begin(
            keys=self._keys, args=[origin, since, holder, round(hold_seconds * 1000)]
        )
        state, current, start = (word.decode() for word in found)
        return Begun(Filling(state), current, int(start))

    def end(self, origin: str, holder: str, *, is_whole: bool) -> bool:
        """`holder` fills no longer; False when `origin` has been replaced meanwhile."""
        return bool(self._end(keys=self._keys, args=[origin, holder, int(is_whole)]))

    def last(self) -> dict[str, Position]:
        """The position of the newest entry of each shard."""
        found = self._client.hgetall(self._keys.last)
        return {shard.decode(): Position.parse(position) for shard, position in found.items()}
