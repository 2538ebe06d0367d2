"""Sources of lines to feed: a file, standard input, or the demo."""

import json
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.feed.listings import demo_updates

DEMO = "demo"
STDIN = "-"
DEMO_SEED = 2017
IDLE_SECONDS = 0.05


@contextmanager
def open_lines(name: str, stop: threading.Event) -> Iterator[Iterator[bytes | None]]:
    """The lines of a file, of standard input for "-", or of the demo.

    Raises OSError if a file cannot be opened. None among the lines means that no more are available
    at present.
    """
    if name == STDIN:
        yield stdin_lines(sys.stdin.fileno(), stop)
    elif name == DEMO:
        yield demo_lines(DEMO_SEED)
    else:
        with Path(name).open("rb") as file:
            yield iter(file)


def demo_lines(seed: int) -> Iterator[bytes]:
    """The demo updates as lines, without end."""
    return (json.dumps(update).encode() for update in demo_updates(seed))


def stdin_lines(descriptor: int, stop: threading.Event) -> Iterator[bytes | None]:
    """Lines as they are written at the other end of a pipe, with None in every pause between."""
    rest = b""
    while not stop.is_set():
        if not select.select([descriptor], [], [], IDLE_SECONDS)[0]:
            yield None
            continue
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
