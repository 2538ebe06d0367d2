"""Property records, read one by one from wherever they are."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from jobs._sample import sample_lines

REPORT_EVERY = 1_000
TIMEOUT_SECONDS = 60


@contextmanager
def open_source(source: str | None) -> Iterator[tuple[Iterator[bytes], int | None]]:
    """The lines of a file or of an http(s) URL, and how many bytes they have, if that is known.

    Without a source, the lines of an invented market.
    """
    if source is None:
        lines = sample_lines()
        yield iter(lines), sum(map(len, lines))
    elif source.startswith(("http://", "https://")):
        with urllib.request.urlopen(source, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            length = answer.headers.get("Content-Length")
            yield iter(answer), int(length) if length else None
    else:
        with open(source, "rb") as file:
            yield iter(file), _size(file)


def _size(file: IO[bytes]) -> int | None:
    return os.fstat(file.fileno()).st_size or None


def records(
    lines: Iterator[bytes],
    size: int | None,
    progress: Callable[[float | None, str], None],
) -> Iterator[dict[str, Any] | None]:
    """The records, None for a line that is none; `progress` hears how far it is."""
    taken = 0
    for count, line in enumerate(lines, 1):
        taken += len(line)
        if count % REPORT_EVERY == 0:
            progress(taken / size if size else None, f"{count} records read")
        if line.strip():
            yield _record(line)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
