"""Writes a container's output into files of limited size, with the times of its arrival.

The output is split into segments of SEGMENT_BYTES, NAME.0, NAME.1 and so on: plain text, readable
by people. The first one and the newest KEPT_NEWEST are kept, those between are deleted: the output
takes at most 12 MiB of the disk, and its beginning and end can be read. NAME.n.times has a record
for each arrival in a segment: its position in the complete output, and its time in ms since 1970.

Standard library only, with few imports: the agent of a process host imports this.
"""

import os
import struct
import time
from collections.abc import Callable

SEGMENT_BYTES = 4 * 1024 * 1024
KEPT_NEWEST = 2
ARRIVAL = struct.Struct("<QQ")
RESOLUTION_MS = 10
"""Data that arrives within this time after the last arrival is added to its record."""


class KeptOutput:
    """The output of one container, written by one thread."""

    def __init__(
        self,
        path: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`path` is that of the segments without their number, in a folder that exists."""
        self._path = path
        self._segment_bytes = segment_bytes
        self._now = now
        self._size = 0
        self._arrived_ms = 0
        self._ends_line = True
        self._number = -1
        self._data = self._times = -1
        self._open_next()

    def write(self, data: bytes) -> None:
        """Add what has just arrived."""
        while data:
            space_left = (self._number + 1) * self._segment_bytes - self._size
            if space_left == 0:
                self._open_next()
                continue
            self._note_arrival()
            part = data[:space_left]
            _write_all(self._data, part)
            self._size += len(part)
            self._ends_line = part.endswith(b"\n")
            data = data[space_left:]

    def close(self) -> None:
        """No more output follows: the last part counts as a line."""
        if not self._ends_line:
            self.write(b"\n")
        os.close(self._data)
        os.close(self._times)

    def _note_arrival(self) -> None:
        now_ms = int(self._now() * 1000)
        if now_ms >= self._arrived_ms + RESOLUTION_MS:
            self._arrived_ms = now_ms
            _write_all(self._times, ARRIVAL.pack(self._size, now_ms))

    def _open_next(self) -> None:
        if self._number >= 0:
            os.close(self._data)
            os.close(self._times)
        self._number += 1
        self._arrived_ms = 0  # each segment has separate times
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._data = os.open(f"{self._path}.{self._number}", flags, 0o600)
        self._times = os.open(f"{self._path}.{self._number}.times", flags, 0o600)
        old = self._number - KEPT_NEWEST
        if old > 0:
            os.unlink(f"{self._path}.{old}")
            os.unlink(f"{self._path}.{old}.times")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
