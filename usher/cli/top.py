"""`usher top`: the console's first page in a terminal."""

import argparse
import shutil
import sys
import time

from usher.cli.common import add_json, add_url, client_of, note, out, out_json
from usher.cli.operations_text import problems_of, top_lines
from usher.cli.project import Commands
from usher.client import Client
from usher.errors import AnswerError, UnreachableError

HOME_AND_CLEAR = "\x1b[H\x1b[2J"
MOST_COLUMNS = 10_000


def add_commands(commands: Commands) -> None:
    """Describe the command line."""
    top = commands.add_parser(
        "top",
        help="what is wrong and what runs, again and again",
        description="Show what is wrong, then what runs, anew every few seconds until Ctrl-C; once "
        "with --once, --json, or where the output is no terminal. For operators and viewers.",
    )
    top.add_argument("--once", action="store_true", help="show it once, without clearing anything")
    top.add_argument("--interval", type=_seconds, default=2.0, metavar="SECONDS", help="default: 2")
    add_json(top)
    add_url(top)
    top.set_defaults(run=_top)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.2 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("seconds from 0.2 to 3600")
    return seconds


def _top(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    if arguments.json:
        overview, apps = client.overview(), client.apps()
        problems = problems_of(overview, apps)
        out_json({"overview": overview, "apps": apps, "problems": problems})
        return 0
    if arguments.once or not sys.stdout.isatty():
        out(*_screen(client, MOST_COLUMNS if not sys.stdout.isatty() else _size()[0]))
        return 0
    while True:
        columns, rows = _size()
        try:
            lines = _screen(client, columns)[: rows - 1]
        except (UnreachableError, AnswerError) as error:
            if isinstance(error, AnswerError) and error.status < 500 and error.status != 429:
                raise
            note(f"usher: {error}; the screen above is old")
        else:
            sys.stdout.write(HOME_AND_CLEAR)
            out(*lines)
        time.sleep(arguments.interval)


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size()
    return max(20, size.columns), max(5, size.lines)


def _screen(client: Client, width: int) -> list[str]:
    return top_lines(client.overview(), client.apps(), width)
