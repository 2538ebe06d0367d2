"""Kinesis records in the client's format: JSON if the bytes are JSON, else base64.

The common case must be cheap: text that is valid JSON is copied into the message and only
serialized again if a session app changes it. The direct feed parses it once to validate it; the
fan-out feed's relay has validated it for all sessions, and it is parsed only if an app reads it.
"""

import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chalicelib.contract.fanout import Entry
from chalicelib.contract.json_text import parse
from chalicelib.contract.kpl import MAGIC, take_apart
from session_handler.cursor import After, Position

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""Kinesis accepts up to 10 MiB if a stream allows it. On its way to the client a record is held
about eleven times, so 10 MiB would exceed the memory of a small container, in every session at
once, and again after each resumption.
https://docs.aws.amazon.com/streams/latest/dev/large-records.html"""
_UNREAD = object()
_quote = json.encoder.encode_basestring_ascii


class Record:
    """One record. `data` is a JSON value, `{"base64": …}` for other bytes, or `{"tooLarge": BYTES}`
    for more than MAX_RECORD_BYTES.
    """

    __slots__ = ("_data", "_json", "arrived_at", "partition_key", "sequence_number", "subsequence")

    def __init__(
        self,
        data: Any,
        data_json: str | None,
        *,
        partition_key: str,
        sequence_number: str,
        subsequence: int,
        arrived_at: int,
    ) -> None:
        self._data = data
        self._json = data_json
        self.partition_key = partition_key
        self.sequence_number = sequence_number
        """Kinesis's own, decimal digits: too large for a number in JavaScript."""
        self.subsequence = subsequence
        """Which part of an aggregated record this was, from 1; 0 for an ordinary record."""
        self.arrived_at = arrived_at
        """When Kinesis took it: epoch milliseconds, as in JavaScript's Date."""

    @property
    def data(self) -> Any:
        if self._data is _UNREAD:
            self._data = decode_data((self._json or "").encode())[0]
        return self._data

    def with_data(self, data: Any) -> "Record":
        """The same record with other data, which must be a JSON value."""
        return Record(
            data,
            None,
            partition_key=self.partition_key,
            sequence_number=self.sequence_number,
            subsequence=self.subsequence,
            arrived_at=self.arrived_at,
        )

    @property
    def position(self) -> After:
        return After(int(self.sequence_number), self.subsequence)

    def to_json(self) -> str:
        """The member of a `records` message. Raises ValueError or TypeError for an app's data that
        is not JSON.
        """
        data = self._json
        if data is None:
            data = json.dumps(self.data, separators=(",", ":"), allow_nan=False)
        return (
            f'{{"data":{data},"partitionKey":{_quote(self.partition_key)},'
            f'"sequenceNumber":"{self.sequence_number}","arrivedAt":{self.arrived_at}}}'
        )


def decode_data(raw: bytes) -> tuple[Any, str]:
    """The value of a record's bytes, and its JSON."""
    if len(raw) > MAX_RECORD_BYTES:
        return {"tooLarge": len(raw)}, f'{{"tooLarge":{len(raw)}}}'
    try:
        text = raw.decode()
        return parse(text), text
    except (ValueError, RecursionError):
        encoded = binascii.b2a_base64(raw, newline=False).decode()
        return {"base64": encoded}, f'{{"base64":"{encoded}"}}'


def decode_records(
    raw_records: Iterable[Mapping[str, Any]], position: Position
) -> Iterator[Record]:
    """The records of a GetRecords answer after `position`, one by one.

    Aggregated records are split; their parts share a sequence number and are counted from 1.
    Records at or before the position are skipped, because reading resumes at an aggregated record
    to get its rest, and services may repeat some.
    """
    last = position if isinstance(position, After) else After(-1)
    for raw in raw_records:
        sequence_number = raw["SequenceNumber"]
        sequence = int(sequence_number)
        if sequence < last.sequence:
            continue
        arrived_at = round(raw.get("ApproximateArrivalTimestamp", 0) * 1000)
        data = binascii.a2b_base64(raw["Data"])
        parts = take_apart(data) if data.startswith(MAGIC) else None
        if parts is None:
            if sequence > last.sequence:
                yield _decode(raw["PartitionKey"], data, sequence_number, 0, arrived_at)
            continue
        for number, part in enumerate(parts, 1):
            if (sequence, number) > last:
                yield _decode(part.partition_key, part.data, sequence_number, number, arrived_at)


def decode_record(entry: Entry) -> Record:
    """The record of a fan-out feed's entry."""
    data: Any
    data, text = _UNREAD, ""
    if entry.is_json and len(entry.data) <= MAX_RECORD_BYTES:
        text = entry.data.decode("utf-8", "replace")  # JSON is valid UTF-8, so nothing is replaced
    else:
        data, text = decode_data(entry.data)
    return Record(
        data,
        text,
        partition_key=entry.partition_key,
        sequence_number=str(entry.sequence),
        subsequence=entry.subsequence,
        arrived_at=entry.arrived_at,
    )


def _decode(
    partition_key: str, raw: bytes, sequence_number: str, subsequence: int, arrived_at: int
) -> Record:
    data, text = decode_data(raw)
    return Record(
        data,
        text,
        partition_key=partition_key,
        sequence_number=sequence_number,
        subsequence=subsequence,
        arrived_at=arrived_at,
    )
