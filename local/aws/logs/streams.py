"""Reads log streams as CloudWatch Logs shows them, from the files of `local.hosts.kept_output`.

A line is an event, an empty one is none. A place in a stream is the number of bytes before it; it
stays the same when a part of the stream is no longer kept.
"""

import bisect
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from local.hosts.kept_output import ARRIVAL, SEGMENT_BYTES

MAX_EVENT_BYTES = 262_118
"""A longer line is several events, as with Docker's awslogs driver."""
PAGE_BYTES = 1024 * 1024
PAGE_EVENTS = 10_000


@dataclass(frozen=True)
class Event:
    """One line; `start` and `end` are its places in the stream."""

    start: int
    end: int
    at_ms: int
    message: str


@dataclass(frozen=True)
class Page:
    """Events in order, and the positions before the first and after the last of them."""

    events: tuple[Event, ...]
    start: int
    end: int


def file_of(group: str, stream: str) -> str:
    """Path of a stream's files below the folder of all, without the segments' numbers."""
    return f"{quote(group, safe='')}/{quote(stream, safe='')}"


def new_stream(root: Path, group: str, stream: str) -> Path:
    """Make space for a stream, and return the path to write it to."""
    path = root / file_of(group, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def groups(root: Path) -> list[str]:
    """All log groups, sorted."""
    return sorted(unquote(path.name) for path in root.iterdir()) if root.is_dir() else []


def streams(root: Path, group: str) -> list[str]:
    """All streams of a group, sorted."""
    folder = root / quote(group, safe="")
    return sorted(unquote(path.name.removesuffix(".0")) for path in folder.glob("*.0"))


class Stream:
    """One stream, as far as it was written when it was opened."""

    def __init__(
        self, root: Path, group: str, name: str, *, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Raises FileNotFoundError if the stream does not exist."""
        self._path = root / file_of(group, name)
        self._segment_bytes = segment_bytes
        self._sizes: dict[int, int] = {}
        self._times: dict[int, list[tuple[int, int]]] = {}
        self._block, self._block_start, self._block_is_last = b"", 0, False
        self._refresh()
        if 0 not in self._sizes:
            raise FileNotFoundError(str(self._path))

    @property
    def size(self) -> int:
        """Bytes that were written, kept or not."""
        last = max(self._sizes)
        return last * self._segment_bytes + self._sizes[last]

    def forward(self, place: int, limit: int = PAGE_EVENTS) -> Page:
        """The events from a place on: at most `limit`, and a page's worth of bytes."""
        events: list[Event] = []
        size, at = 0, place
        while len(events) < limit:
            event = self._event_at(at)
            if event is None or (events and size + event.end - event.start > PAGE_BYTES):
                break
            at = event.end
            if event.message:
                events.append(event)
                size += event.end - event.start
        return Page(tuple(events), place, at)

    def backward(self, place: int | None, limit: int = PAGE_EVENTS) -> Page:
        """The last events before a place (None = the end)."""
        end = self.size if place is None else min(place, self.size)
        start = max(0, end - PAGE_BYTES)
        at = self._behind_line(start) if start else 0
        events: list[Event] = []
        while at < end and (event := self._event_at(at)) is not None:
            at = event.end
            events += [event] if event.message else []
        events = events[-limit:]
        return Page(tuple(events), events[0].start if events else end, max(at, end))

    def _event_at(self, place: int) -> Event | None:
        """The line that begins there; None if it is incomplete."""
        if place >= self.size:
            return None
        self._hold(place)
        if not self._block:
            return self._gap_at(place)
        begin = place - self._block_start
        newline = self._block.find(b"\n", begin, begin + MAX_EVENT_BYTES + 1)
        if newline >= 0:
            line, end = self._block[begin:newline], self._block_start + newline + 1
        else:
            line = self._block[begin : begin + MAX_EVENT_BYTES]
            end = place + len(line)
            if end >= self.size and len(line) < MAX_EVENT_BYTES:
                return None
        return Event(place, end, self._time_of(place), line.decode("utf-8", "replace"))

    def _gap_at(self, place: int) -> Event:
        """The event in place of the part that is not kept."""
        kept = min(n for n in self._sizes if n * self._segment_bytes > place)
        end = self._behind_line(kept * self._segment_bytes)
        text = f"[{end - place:,} bytes were printed here that the local cloud did not keep]"
        return Event(place, end, self._time_of(min(end, self.size - 1)), text)

    def _behind_line(self, place: int) -> int:
        """The beginning of the next line, if it is near."""
        self._hold(place)
        begin = place - self._block_start
        newline = self._block.find(b"\n", begin, begin + MAX_EVENT_BYTES)
        return self._block_start + newline + 1 if newline >= 0 else place

    def _hold(self, place: int) -> None:
        """Read the bytes after a place into `_block`, at least a line; none in a gap."""
        ahead = self._block_start + len(self._block) - place
        inside = self._block_start <= place and ahead > 0
        if inside and (ahead > MAX_EVENT_BYTES or self._block_is_last):
            return
        self._block = self._read(place, PAGE_BYTES)
        self._block_start = place
        self._block_is_last = len(self._block) < PAGE_BYTES

    def _read(self, place: int, count: int) -> bytes:
        """The kept bytes from a place on, up to the next gap."""
        data = b""
        while len(data) < count:
            number, offset = divmod(place + len(data), self._segment_bytes)
            space_left = self._sizes.get(number, 0) - offset
            if space_left <= 0:
                break
            try:
                with open(f"{self._path}.{number}", "rb") as file:
                    file.seek(offset)
                    data += file.read(min(space_left, count - len(data)))
            except FileNotFoundError:
                self._refresh()  # deleted since the last look, as more was printed
                break
        return data

    def _refresh(self) -> None:
        """Find out which segments are kept, and how long each is."""
        name = self._path.name
        self._sizes = {
            int(number): path.stat().st_size
            for path in self._path.parent.glob(f"{name}.*")
            if (number := path.name.removeprefix(f"{name}.")).isdecimal()
        }

    def _time_of(self, place: int) -> int:
        times = self._arrivals(place // self._segment_bytes)
        found = bisect.bisect_right(times, place, key=lambda arrival: arrival[0])
        return times[max(0, found - 1)][1] if times else 0

    def _arrivals(self, segment: int) -> list[tuple[int, int]]:
        if segment not in self._times:
            try:
                with open(f"{self._path}.{segment}.times", "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                data = b""
            whole = data[: len(data) - len(data) % ARRIVAL.size]
            self._times[segment] = [(place, ms) for place, ms in ARRIVAL.iter_unpack(whole)]
        return self._times[segment]
