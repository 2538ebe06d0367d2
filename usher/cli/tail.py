"""`usher tail`: prints a feed from a session container."""

import argparse
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usher.cli.common import add_url, note, out
from usher.cli.cursor_file import load_cursor, save_cursor
from usher.cli.exit_codes import INTERRUPTED
from usher.cli.project import Commands
from usher.cli.text import UsageError, are_pairs, parse_json, parse_pairs, printable

if TYPE_CHECKING:
    from usher.session_steps import Gap, Record, State
    from usher.sessions import Following

NOW = "now"


def add_commands(commands: Commands) -> None:
    """Describe the command line."""
    tail = commands.add_parser(
        "tail",
        help="follow a feed, through a container of your own",
        description="Ask for a container and print what it streams, until Ctrl-C. Lost connections "
        "and containers are replaced, and no record is lost or printed twice. With --cursor-file "
        "the same command later goes on just after the last record that was printed.",
    )
    tail.add_argument("app", nargs="?", metavar="APP", help="the session app; default: the first")
    tail.add_argument(
        "--cursor-file",
        type=Path,
        metavar="FILE",
        help="where to go on; written after each batch, readable by you alone",
    )
    tail.add_argument(
        "--from",
        dest="start",
        metavar="CURSOR",
        help=f"a cursor, or {NOW!r}: what comes from now on. It counts before that of the file",
    )
    tail.add_argument(
        "--filter",
        metavar="FILTER",
        help='suburb=Richmond, or JSON as docs/contracts.md has it: {"price": {"min": 400000}}',
    )
    tail.add_argument("--limit", type=int, metavar="N", help="end after so many records")
    tail.add_argument("--json", action="store_true", help="one JSON object a record and line")
    add_url(tail)
    tail.set_defaults(run=_tail)


def _tail(arguments: argparse.Namespace) -> int:
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError("--limit is a whole number from 1")
    file = arguments.cursor_file
    from usher.sessions import follow  # asyncio, which other commands do without

    cursor = load_cursor(file, arguments.app) if file else None
    if arguments.start:
        cursor = None if arguments.start == NOW else arguments.start
    try:
        following = follow(
            app=arguments.app,
            url=arguments.url,
            cursor=cursor,
            filter=_filter(arguments.filter),
            on_gap=_tell_gap,
            on_state=StateLines(),
        )
    except ValueError as error:
        raise UsageError(f"--filter: {error}") from None
    with closing_on_interrupt(following) as interrupted:
        _print(following, arguments)
    if interrupted.is_set():
        if file:
            note(f"usher: interrupted; --cursor-file {file} goes on here")
        return INTERRUPTED
    return 0


def _print(following: "Following", arguments: argparse.Namespace) -> None:
    """A batch is printed completely before its cursor is stored, so that nothing is lost."""
    left = arguments.limit
    for batch in following.batches():
        records = batch.records if left is None else batch.records[:left]
        out(*(as_json(r) if arguments.json else as_text(r) for r in records))
        is_whole = len(records) == len(batch.records)
        if arguments.cursor_file and batch.cursor and is_whole:
            save_cursor(arguments.cursor_file, arguments.app, batch.cursor)
        if left is not None:
            left -= len(records)
            if left <= 0:
                return


@contextmanager
def closing_on_interrupt(following: "Following") -> Iterator[threading.Event]:
    """The first SIGINT or SIGTERM ends it after the current batch, the second immediately."""
    interrupted = threading.Event()

    def close_when_interrupted() -> None:
        interrupted.wait()
        following.close()

    def handle(_number: int, _frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    # Closed in another thread, because the interrupted one may hold a lock of the connection; and
    # started here, because it may also be starting a thread, which is a lock as well.
    threading.Thread(target=close_when_interrupted, daemon=True).start()
    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StateLines:
    """Reports on stderr why it waits, whenever that changes."""

    def __init__(self) -> None:
        self._printed = ""

    def __call__(self, state: "State") -> None:
        line = ""
        if state.phase == "pending":
            line = "usher: a container is on its way"
        elif state.phase == "waiting" and state.error is not None and state.attempt > 1:
            line = f"usher: {state.error}; trying again"
        elif state.phase == "live":
            self._printed = ""
            return
        if line and line != self._printed:
            note(line)
            self._printed = line


def _tell_gap(gap: "Gap") -> None:
    note(f"usher: records of {', '.join(gap.shards)} may be missing: history is gone")


def _filter(text: str | None) -> Any:
    if text is None:
        return None
    if not text.startswith("{") and are_pairs([text]):
        return parse_pairs([text])
    return parse_json(text, "--filter")


def as_json(record: "Record") -> str:
    """A record in one line of JSON without control characters, as containers send it."""
    document = {
        "data": record.data,
        "partitionKey": record.partition_key,
        "sequenceNumber": record.sequence_number,
        "arrivedAt": round(record.arrived_at.timestamp() * 1000),
    }
    return printable(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def as_text(record: "Record") -> str:
    """A record in one line for display: time, key, data."""
    at = record.arrived_at.strftime("%H:%M:%S.%f")[:-3]
    data = json.dumps(record.data, ensure_ascii=False)
    return f"{at}  {printable(record.partition_key)}  {printable(data)}"
