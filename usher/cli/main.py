"""The command line: `usher COMMAND …`. `exit_codes.py` has the exit codes of each command."""

import argparse
import sys
from collections.abc import Sequence

from usher import VERSION
from usher.cli import (
    apps,
    assignments,
    audit,
    completion,
    deploy,
    dev,
    explain,
    grade,
    invocations,
    operations,
    project,
    schedules,
    tail,
    top,
)
from usher.cli.common import note
from usher.cli.exit_codes import FAILED, INTERRUPTED, OK, WRONG_USE, add_exit_codes
from usher.cli.parser import CommandParser, SuggestingParser
from usher.cli.text import UsageError, did_you_mean
from usher.errors import AnswerError, ProjectError, UnreachableError, UsherError

EPILOG = """\
examples:
  usher new price_alert && cd price_alert
  usher run price_alert name=Ada times=2
  usher deploy
  usher invoke price_alert name=Ada --follow
  usher schedule put every-monday price_alert "cron(0 7 ? * MON *)" name=Ada
  usher tail listings --cursor-file listings.cursor

exit codes:
  0    done; with --wait, --follow and of `wait`: the run succeeded
  1    it did not work, and a line on stderr says why; the run did not succeed
  2    wrong use, or something is wrong in the project
  124  `wait --timeout`: the run goes on; of `run`: its time was up
  130  interrupted by Ctrl-C
  `usher run` exits with the job's own code; `usher grade` and `usher submit --follow` with 0 for
  full marks, 1 for less, 3 when the grader failed.

`usher COMMAND --help` says more; docs/jobs.md leads from the first job to a scheduled one,
docs/commands.md lists all commands.
"""


def build_parser() -> argparse.ArgumentParser:
    parser = SuggestingParser(
        prog="usher",
        description="Write jobs and session apps, run and deploy them; call jobs, follow feeds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"usher {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
    for part in PARTS:
        part.add_commands(commands)
    add_exit_codes(parser)
    return parser


PARTS = (
    *(project, dev, deploy, apps, operations, explain, top, tail, invocations, schedules, audit),
    grade,
    *(assignments, completion),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code; after `usher run` also in the child that ran the job."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == [dev.NAME]:
        return _dev(argv[1:])
    if argv[:1] == [completion.HIDDEN]:
        return completion.complete(build_parser(), argv[1:])
    arguments = build_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except UsherError as error:
        note(f"usher: {error}{_advice(error, arguments)}")
        return WRONG_USE if isinstance(error, UsageError | ProjectError) else FAILED
    except KeyboardInterrupt:
        note("usher: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has gone. Nothing more is written, not even at exit.
        sys.stdout = None
        return OK
    return code


def _dev(argv: Sequence[str]) -> int:
    try:
        dev.run(argv)
    except UsherError as error:
        note(f"usher: {error}")
    return WRONG_USE


def _advice(error: UsherError, arguments: argparse.Namespace) -> str:
    """A remedy, in addition to the error's message."""
    match error:
        case UnreachableError():
            return " (`make run` starts a local cloud; --url or USHER_URL name another dispatcher)"
        case AnswerError(status=401):
            return " (USHER_API_KEY is sent as X-Api-Key)"
        case AnswerError(code="unknown_job"):
            known = completion.known_names("JOB", arguments.url)
            meant = did_you_mean(arguments.job, known) if "job" in arguments else ""
            return meant or " (`usher deploy` registers the jobs of a project)"
        case AnswerError(status=404) | AnswerError(code="unknown_app"):
            return _what_was_meant(arguments)
        case _:
            return ""


LISTED = {
    "session": "`usher sessions` lists them",
    "invocation": "`usher invocations` lists them",
    "session or invocation": "`usher sessions` and `usher invocations` list them; --app and --job "
    "take names",
}
"""The command that lists the records whose ids a command takes."""


def _what_was_meant(arguments: argparse.Namespace) -> str:
    """Similar names; for records, whose ids are UUIDs, the command that lists them."""
    given = vars(arguments)
    kind = given.get("id_of")
    if (given.get("id") or given.get("ids")) and kind in LISTED:
        return f" (ids are UUIDs: {LISTED[kind]}; `usher open ID` finds what any id is of)"
    named = {
        "APP": given.get("app"),
        "ASSIGNMENT": given.get("assignment"),
        "SCHEDULE": given["id"] if kind == "schedule" else None,
    }
    for metavar, name in named.items():
        if name:
            others = [n for n in completion.known_names(metavar, arguments.url) if n != name]
            return did_you_mean(name, others)
    return ""


if __name__ == "__main__":
    sys.exit(main())
