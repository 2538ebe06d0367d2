"""`python -m local feed FILE.jsonl`: put lines of JSON into the stream, in order, at a rate.

`feed_lines` does the work for the command and for `local up --feed`.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from local.feed.entries import MOST_ENTRIES, Backlog, BadLine, read_entry
from local.feed.input import DEMO, open_lines
from local.feed.progress import Progress, Totals, summary
from local.feed.sink import FeedError, Nowhere, Sink, find_endpoint, kinesis_sink
from local.stopping import SignalHandlers

DEFAULT_STREAM = "usher-local-updates"
DEFAULT_KEY_FIELD = "id"
DEMO_RATE = 20.0
READ_AHEAD = 4 * MOST_ENTRIES
"""Entries read before they are put, so that repeated keys do not make batches small."""
BATCHES_A_SECOND = 20
"""Minimum number of batches a second if there is a rate, so that records do not arrive in
bursts.
"""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0


def feed_lines(
    lines: Iterable[bytes | str | None],
    *,
    stream: str,
    endpoint: str,
    rate: float = 0.0,
    key_field: str = DEFAULT_KEY_FIELD,
    progress: Callable[[Totals], None] | None = None,
    stop: threading.Event | None = None,
) -> Totals:
    """Put every line into a Kinesis stream; see `put_lines`, and `open_lines` for the lines."""
    return put_lines(
        lines,
        kinesis_sink(stream, endpoint),
        rate=rate,
        key_field=key_field,
        progress=progress,
        stop=stop or threading.Event(),
    )


def put_lines(
    lines: Iterable[bytes | str | None],
    sink: Sink,
    *,
    stop: threading.Event,
    rate: float = 0.0,
    key_field: str = DEFAULT_KEY_FIELD,
    progress: Callable[[Totals], None] | None = None,
) -> Totals:
    """Put every line and return the totals; invalid lines are reported and skipped.

    The order within a partition key is kept, also if the sink refuses entries. `rate` is in records
    a second, 0 = unlimited. None among the lines means that no more are available at present, and
    flushes those that were read. Set `stop` to end early: lines that were not put are skipped.
    Raises FeedError if the stream does not exist or disappears.
    """
    feeding = _Feeding(sink, rate, stop, progress)
    read_ahead = feeding.batch if rate else READ_AHEAD
    number = 0
    for line in lines:
        if line is None:
            feeding.put_until(0)
        else:
            number += 1
            feeding.read(line, number, key_field)
            feeding.put_until(read_ahead - 1)
        if feeding.stop.is_set():
            break
    feeding.put_until(0)
    feeding.totals.seconds = feeding.elapsed()
    return feeding.totals


class _Feeding:
    """The state of one `put_lines`: waiting entries, totals, and the time of the next batch."""

    def __init__(
        self,
        sink: Sink,
        rate: float,
        stop: threading.Event,
        progress: Callable[[Totals], None] | None,
    ) -> None:
        self.stop = stop
        self.totals = Totals()
        self.batch = MOST_ENTRIES
        if rate:
            self.batch = min(MOST_ENTRIES, max(1, int(rate / BATCHES_A_SECOND)))
        self._sink = sink
        self._rate = rate
        self._progress = progress
        self._backlog = Backlog()
        self._started = time.monotonic()
        self._pause = 0.0

    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def read(self, line: bytes | str, number: int, key_field: str) -> None:
        data = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
        entry = read_entry(data, number, key_field)
        if isinstance(entry, BadLine):
            self.totals.bad.append(entry)
        elif entry is not None:
            self._backlog.append(entry)

    def put_until(self, left: int) -> None:
        """Put batches until no more than `left` entries wait, or until `stop` is set."""
        while len(self._backlog) > left:
            if self.stop.wait(self._seconds_until_due()):
                return
            self._put_batch()
            self.totals.seconds = self.elapsed()
            if self._progress:
                self._progress(self.totals)

    def _seconds_until_due(self) -> float:
        due = self.totals.records / self._rate if self._rate else 0.0
        return max(self._pause, due - self.elapsed())

    def _put_batch(self) -> None:
        batch = self._backlog.take(self.batch)
        answers = list(zip(batch, self._sink.put(batch), strict=True))
        refused = [entry for entry, was_taken in answers if not was_taken]
        self._backlog.put_back(refused)
        self.totals.records += len(batch) - len(refused)
        self.totals.refused += len(refused)
        self.totals.data_bytes += sum(len(entry.data) for entry, was_taken in answers if was_taken)
        self._pause = _next_pause(self._pause, put=len(batch), refused=len(refused))


def _next_pause(pause: float, *, put: int, refused: int) -> float:
    """Wait longer each time nothing at all was taken, and only shortly when something was."""
    if not refused:
        return 0.0
    if refused < put:
        return FIRST_PAUSE_SECONDS
    return min(LONGEST_PAUSE_SECONDS, 2 * pause or FIRST_PAUSE_SECONDS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `feed`."""
    add = parser.add_argument
    add("file", metavar="FILE", help="one JSON value a line; - for stdin; demo for invented ones")
    add("--rate", type=records_a_second, metavar="R", help="records a second (default: no limit)")
    add("--stream", default=DEFAULT_STREAM, help="name of the stream (default: %(default)s)")
    add("--endpoint", metavar="URL", help="default: AWS_ENDPOINT_URL, else the running `local up`")
    add(
        "--key",
        default=DEFAULT_KEY_FIELD,
        metavar="FIELD",
        help="field that is the partition key (default: %(default)s)",
    )
    add("--dry-run", action="store_true", help="read and check all lines, put none")


def run(args: argparse.Namespace) -> int:
    """Run the command. 0: all put, 1: some lines were invalid, 2: failure."""
    progress = Progress(sys.stderr)
    try:
        with _stop_on_signals() as stop, open_lines(args.file, stop) as lines:
            totals = put_lines(
                lines,
                Nowhere()
                if args.dry_run
                else kinesis_sink(args.stream, find_endpoint(args.endpoint)),
                stop=stop,
                rate=_rate(args),
                key_field=args.key,
                progress=progress.show,
            )
            stopped = stop.is_set()
    except OSError as error:
        print(f"feed: cannot read {args.file}: {error.strerror or error}", file=sys.stderr)
        return 2
    except FeedError as error:
        progress.finish()
        print(f"feed: {error}", file=sys.stderr)
        return 2
    progress.finish()
    print(*summary(totals, dry_run=args.dry_run, stopped=stopped), sep="\n", file=sys.stderr)
    return 1 if totals.bad else 0


def _rate(args: argparse.Namespace) -> float:
    """Records a second; the demo has no end and needs a limit."""
    return DEMO_RATE if args.rate is None and args.file == DEMO else args.rate or 0.0


def records_a_second(text: str) -> float:
    """The value of a --rate; ValueError unless it is a finite number that is not negative."""
    rate = float(text)
    if not 0 <= rate < float("inf"):
        raise ValueError(text)
    return rate


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a batch under way is finished and counted."""
    stop = threading.Event()
    with SignalHandlers((signal.SIGINT, signal.SIGTERM), lambda _: stop.set()):
        yield stop
