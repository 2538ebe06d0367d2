"""The command line: `usher COMMAND …`.

Exit codes: 0 done, 1 it did not work (and a line on stderr says why), 2 wrong use; of `usher run`
the job's own, of `usher wait` what docs/jobs.md says.
"""

import argparse
import sys
from collections.abc import Sequence

from usher import VERSION
from usher.cli import audit, deploy, dev, invocations, project, schedules
from usher.cli.parser import CommandParser
from usher.cli.words import UsageError
from usher.errors import ProjectError, UsherError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="usher",
        description="Write jobs and session apps, run them here; deploy jobs and call them.",
        epilog="`usher COMMAND --help` says more; docs/jobs.md leads from the first job to a "
        "scheduled one.",
    )
    parser.add_argument("--version", action="version", version=f"usher {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
    for part in (project, dev, deploy, invocations, schedules, audit):
        part.add_commands(commands)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code; after `usher run` in the child that ran the job, too."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == [dev.NAME]:
        return _dev(words[1:])
    arguments = build_parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except UsherError as error:
        sys.stderr.write(f"usher: {error}\n")
        return 2 if isinstance(error, UsageError | ProjectError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough. Nothing more is written, not even at exit.
        sys.stdout = None
        return 0
    return code


def _dev(words: Sequence[str]) -> int:
    try:
        dev.run(words)
    except UsherError as error:
        sys.stderr.write(f"usher: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
