"""Atomic operations on the fan-out feed's stream in Redis or Valkey."""

import hashlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.contract.fanout import Entry, Position, keys_of

MAX_REDIRECTIONS = 3
_SCRIPTS = Path(__file__).with_name("scripts")


class Filling(StrEnum):
    """Whether the entries are complete, and otherwise who refills them."""

    WHOLE = "whole"
    YOURS = "yours"
    ANOTHER = "another"


class Begun(NamedTuple):
    """The result of `begin`."""

    state: Filling
    origin: str
    since: int
    """Epoch milliseconds: shards without a position are refilled from this time on."""


class RedisStream:
    """One stream. Methods raise redis-py's RedisError if the server fails; all may be repeated,
    whether they were executed or not.
    """

    def __init__(
        self,
        client: Any,
        stream: str,
        max_records: int,
        client_at: Callable[[str, int], Any] | None = None,
    ) -> None:
        """`client` is redis-py's; about `max_records` entries are kept.

        `client_at` creates the client of another cluster node, which a MOVED answer names.
        """
        self._first = client
        self._client_at = client_at
        self._keys = keys_of(stream)
        self._max_records = max_records
        server = (_SCRIPTS / "server.lua").read_text(encoding="utf-8")
        self._texts = {
            name: server + (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
            for name in ("append", "begin", "end")
        }
        self._client = client

    def _call(self, call: Callable[[Any], Any]) -> Any:
        """Execute the call at the node with the keys; https://valkey.io/topics/cluster-spec/

        `call` receives the node's client. While the slot migrates, a script is refused with
        TRYAGAIN if its keys are at two nodes.
        """
        from redis.exceptions import AskError, MovedError
        from redis.exceptions import ConnectionError as Unreachable

        for _ in range(MAX_REDIRECTIONS):
            try:
                return call(self._client)
            except MovedError as moved:
                if self._client_at is None:
                    raise
                self._client = self._client_at(moved.host, moved.port)
            except AskError as ask:
                if self._client_at is None:
                    raise
                return call(_Asking(self._client_at(ask.host, ask.port)))
            except Unreachable:
                if self._client is not self._first:
                    # that node is gone; the first one redirects to its successor
                    self._client = self._first
                raise
        return call(self._client)

    def _run(self, script: str, args: list[str | int | bytes]) -> Any:
        from redis.exceptions import NoScriptError

        text = self._texts[script]
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        arguments = ("EVALSHA", sha, len(self._keys), *self._keys, *args)

        def call(node: Any) -> Any:
            try:
                return node.execute_command(*arguments)
            except NoScriptError:
                node.execute_command("SCRIPT LOAD", text)
                return node.execute_command(*arguments)

        return self._call(call)

    def append(self, entries: Sequence[Entry], origin: str = "") -> int | None:
        """Append the entries that are newer than their shard's last, all or none; returns their
        number.

        None: entries before these may be missing, and none was appended. With `origin`, which is
        being refilled, None means that it was replaced meanwhile.
        """
        arguments: list[str | int | bytes] = [origin, self._max_records]
        for entry in entries:
            arguments += (entry.shard_id, entry.sequence, entry.subsequence)
            arguments += (entry.partition_key, entry.arrived_at, entry.data_field, entry.data)
        appended = int(self._run("append", arguments))
        return None if appended < 0 else appended

    def begin(self, origin: str, since: int, holder: str, hold_seconds: float) -> Begun:
        """Determine whether the entries are complete. If not, and nobody refills them, `holder` has
        to, within `hold_seconds`. If the server has no origin, or one that another server wrote,
        `origin` becomes the new one, to be refilled from `since` on.
        """
        found = self._run("begin", [origin, since, holder, round(hold_seconds * 1000)])
        state, current, start = (word.decode() for word in found)
        return Begun(Filling(state), current, int(start))

    def end(self, origin: str, holder: str, *, is_whole: bool) -> bool:
        """`holder` has stopped refilling; False if `origin` was replaced meanwhile."""
        return bool(self._run("end", [origin, holder, int(is_whole)]))

    def last(self) -> dict[str, Position]:
        """The position of the newest entry of each shard."""
        found = self._call(lambda node: node.execute_command("HGETALL", self._keys.last))
        return {shard.decode(): Position.parse(position) for shard, position in found.items()}


class _Asking:
    """A node that imports the slot, which still belongs to the other one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def execute_command(self, *arguments: Any) -> Any:
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")
            pipeline.execute_command(*arguments)
            return pipeline.execute()[-1]
