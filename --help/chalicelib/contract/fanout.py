"""The fan-out feed's wire format: the relay writes it into Redis or Valkey, and sessions read it.

    FEED_URL = redis://[USER:PASSWORD@]HOST[:PORT]/STREAM        (rediss:// with TLS)

A stream has four keys. They share a hash tag, so that a cluster keeps them on one node:

    usher:{STREAM}:records   a stream, capped; one entry for each record, oldest first
    usher:{STREAM}:last      a hash: shard id -> position of the newest record that was appended
    usher:{STREAM}:origin    a random string, replaced whenever entries may have been lost: Redis
                             came back empty, or older than it was, or on another server
    usher:{STREAM}:relay     a hash, the relay's own affair

A record is appended once for each origin, in its shard's order, after its parents' records. An
entry has two fields, few because each costs its readers time: `h`, a line of words (see
`Entry.encode`), and the data, as `j` if it is JSON and else as `d`. Every entry has the previous
position in its shard: a reader with an older position has missed entries (`is_gap`). A reader that
finds a new origin reads the stream from its beginning and skips what it has delivered. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

SCHEMES = frozenset({"redis", "rediss"})
DEFAULT_PORT = 6379

JSON_FIELD, DATA_FIELD = b"j", b"d"

_STREAM = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_ZERO = ord("0")
_POSITION = re.compile(rb"(0|[1-9][0-9]{0,127})-(0|[1-9][0-9]{0,9})")


class FanoutError(ValueError):
    """An invalid URL or entry of a fan-out feed."""


@dataclass(frozen=True)
class FanoutUrl:
    """Parsed FEED_URL. No representation contains the password."""

    host: str
    port: int
    stream: str
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> "FanoutUrl":
        """Raises FanoutError, without the URL's password in the message."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise FanoutError("FEED_URL is no URL") from None
        stream = parts.path.removeprefix("/")
        if parts.scheme not in SCHEMES or not parts.hostname or not _STREAM.fullmatch(stream):
            raise FanoutError("FEED_URL must be redis://HOST:PORT/STREAM or rediss://…")
        if parts.query or parts.fragment or port == 0:
            raise FanoutError("FEED_URL has a part that means nothing: ?…, #… or port 0")
        return cls(
            host=parts.hostname,
            port=port or DEFAULT_PORT,
            stream=stream,
            tls=parts.scheme == "rediss",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


def is_fanout(feed_url: str) -> bool:
    """Whether FEED_URL has a fan-out feed's scheme, even if it is invalid."""
    return feed_url.partition(":")[0] in SCHEMES


class Keys(NamedTuple):
    """The keys of one stream."""

    records: str
    last: str
    origin: str
    relay: str


def keys_of(stream: str) -> Keys:
    return Keys(*(f"usher:{{{stream}}}:{name}" for name in Keys._fields))


SESSION_USER = "session"
"""User name of sessions at the server,"""
RELAY_USER = "relay"
"""and of the relay."""


def session_rules(stream: str) -> str:
    """The access string of SESSION_USER: the commands that a session sends, on the keys that it
    reads.

    https://valkey.io/topics/acl/ - the same syntax as in ElastiCache's AccessString.
    """
    records, last, origin, _ = keys_of(stream)
    return (
        f"on ~{records} ~{last} ~{origin} "
        "-@all +get +hgetall +xrange +xrevrange +xread +multi +exec +time +asking"
    )


def relay_rules(stream: str) -> str:
    """The access string of RELAY_USER: its scripts and the commands in them, on the stream's keys.

    The scripts read the server's run id with INFO.
    """
    return (
        f"on ~usher:{{{stream}}}:* "
        "-@all +evalsha +script|load +get +set +del +hget +hmget +hset +hdel +hexists +hgetall "
        "+xadd +time +info +ping +asking"
    )


class Position(NamedTuple):
    """The position of a record in its shard, ordered as records are."""

    sequence: int
    subsequence: int

    def __str__(self) -> str:
        return f"{self.sequence}-{self.subsequence}"

    @classmethod
    def parse(cls, text: bytes) -> "Position":
        """Raises FanoutError."""
        # Twice as fast as the pattern, and sufficient for nearly all positions.
        sequence, _, subsequence = text.partition(b"-")
        is_plain = sequence.isdigit() and len(sequence) <= 128 and sequence[0] != _ZERO
        if is_plain and subsequence == b"0":
            return cls(int(sequence), 0)
        found = _POSITION.fullmatch(text)
        if found is None:
            raise FanoutError("a position that is none")
        return cls(int(found[1]), int(found[2]))


_position = lru_cache(maxsize=32)(Position.parse)
"""An entry's position is parsed again as the previous position of the shard's next entry."""


class Entry(NamedTuple):
    """One record, or one part of an aggregated record, in the stream."""

    shard_id: str
    sequence: int
    subsequence: int
    """Number of a part of an aggregated record, from 1; 0 for an ordinary record."""
    previous: Position | None
    """The record appended before it for this shard; None if unknown."""
    partition_key: str
    arrived_at: int
    """Time of arrival in Kinesis, epoch milliseconds."""
    data: bytes
    is_json: bool = False
    """Whether the data is JSON text; determined once, so that readers need not parse it."""

    @property
    def position(self) -> Position:
        return Position(self.sequence, self.subsequence)

    def is_gap(self, delivered: Position | None) -> bool:
        """Whether records may be missing between `delivered`, the reader's position in this shard,
        and this entry. None = the reader has no position and begins with the first entry.
        """
        if delivered is None or self.position <= delivered:
            return False
        return self.previous is None or self.previous > delivered

    def encode(self) -> list[bytes]:
        """Alternating fields and values, as XADD's arguments."""
        previous = "" if self.previous is None else self.previous
        parts = (self.shard_id, self.position, previous, self.arrived_at, self.partition_key)
        return [b"h", " ".join(map(str, parts)).encode(), self.data_field, self.data]

    @property
    def data_field(self) -> bytes:
        return JSON_FIELD if self.is_json else DATA_FIELD

    @classmethod
    def decode(cls, fields: Sequence[bytes]) -> "Entry":
        """Parse alternating fields and values of XREAD. Unknown fields are ignored. Raises
        FanoutError.
        """
        values = dict(zip(fields[::2], fields[1::2], strict=False))
        json_text = values.get(JSON_FIELD)
        try:
            shard, position, previous, arrived_at, key = values[b"h"].split(b" ", 4)
            sequence, subsequence = _position(position)
            return cls(
                shard.decode(),
                sequence,
                subsequence,
                _position(previous) if previous else None,
                key.decode(),
                int(arrived_at),
                values[DATA_FIELD] if json_text is None else json_text,
                json_text is not None,
            )
        except FanoutError:
            raise
        except (KeyError, ValueError) as error:
            raise FanoutError(f"an entry that is none: {error!r}") from error
