"""`usher schedule put|list|show|pause|resume|run|delete`."""

import argparse
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from usher.answers import Schedule, read_schedule
from usher.cli.common import (
    add_json,
    add_parameters,
    add_url,
    client_of,
    note,
    out,
    out_json,
    read_parameters,
    schema_of,
)
from usher.cli.project import Commands
from usher.cli.text import SCHEDULE_COLUMNS, schedule_lines, schedule_row, table
from usher.client import Client
from usher.errors import AnswerError


def add_commands(commands: Commands) -> None:
    """Describe the command lines."""
    schedule = commands.add_parser("schedule", help="run a job on a schedule")
    verbs = schedule.add_subparsers(metavar="COMMAND", required=True)

    put = _verb(
        verbs,
        "put",
        "make or replace a schedule",
        _put,
        epilog="Expressions: 'rate(5 minutes)', 'cron(0 9 ? * MON *)' as AWS has them, or Quartz's "
        "'0 0 9 ? * MON'. The time zone is where 9 is nine o'clock.",
    )
    put.add_argument("job", metavar="JOB")
    put.add_argument("expression", metavar="EXPRESSION")
    add_parameters(put)
    put.add_argument(
        "--timezone", metavar="ZONE", default="UTC", help="Europe/Berlin; default: UTC"
    )
    put.add_argument("--priority", choices=("critical", "normal", "low"))
    put.add_argument(
        "--overlap",
        choices=("skip", "allow", "replace"),
        default="skip",
        help="when the last run is still going; default: skip this one",
    )
    put.add_argument(
        "--gap",
        choices=("move", "skip"),
        default="move",
        help="when the clock is put forward over a run; default: run at the next instant there is",
    )
    put.add_argument(
        "--misfire",
        type=int,
        default=3_600,
        metavar="SECONDS",
        help="how late a run may begin; default: 3600",
    )
    put.add_argument("--paused", action="store_true")

    listing = verbs.add_parser("list", help="all schedules and their next runs")
    add_url(listing)
    add_json(listing)
    listing.set_defaults(run=_list)
    _verb(verbs, "show", "a schedule with its next ten runs", _show)
    _verb(verbs, "pause", "no runs until it is resumed", _pause)
    _verb(verbs, "resume", "runs again, from the next planned instant on", _resume)
    _verb(verbs, "run", "run its job now, besides its plan; prints the invocation's id", _run)
    _verb(verbs, "delete", "remove it; runs that are under way go on", _delete)


def _verb(
    verbs: Commands,
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], int],
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=summary, epilog=epilog
    )
    parser.add_argument("id", metavar="SCHEDULE", help="its id, chosen by you")
    add_url(parser)
    add_json(parser)
    parser.set_defaults(run=run, id_of="schedule")
    return parser


def _put(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    body = {
        "job": arguments.job,
        "expression": arguments.expression,
        "timezone": arguments.timezone,
        "parameters": read_parameters(arguments.parameters, schema_of(client, arguments.job)),
        "priority": arguments.priority,
        "overlap": arguments.overlap,
        "gap": arguments.gap,
        "misfireSeconds": arguments.misfire,
        "paused": arguments.paused,
    }
    body = {name: value for name, value in body.items() if value is not None}
    if not arguments.paused and _is_paused(client, arguments.id):
        body["paused"] = True
        note(f"usher: it stays paused: `usher schedule resume {arguments.id}` lets it run")
    return _tell(arguments, client.put_schedule(arguments.id, body))


def _tell(arguments: argparse.Namespace, schedule: Schedule, line: str | None = None) -> int:
    """Print the present schedule, or one line."""
    if arguments.json:
        out_json(client_of(arguments).document(f"/schedules/{quote(arguments.id, safe='')}"))
    else:
        out(*([line] if line else schedule_lines(schedule, here=_here)))
    return 0


def _is_paused(client: Client, schedule_id: str) -> bool:
    """Whether the schedule exists and is paused."""
    try:
        return client.schedule(schedule_id).paused
    except AnswerError as error:
        if error.status == 404:
            return False
        raise


def _here(at: datetime) -> datetime:
    """The time in the time zone of this machine."""
    return at.astimezone()


def _list(arguments: argparse.Namespace) -> int:
    documents = client_of(arguments).schedule_documents()
    if arguments.json:
        out_json(list(documents))
        return 0
    rows = (schedule_row(read_schedule(document), here=_here) for document in documents)
    out(*table([SCHEDULE_COLUMNS, *rows]))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    if arguments.json:
        out_json(client.document(f"/schedules/{quote(arguments.id, safe='')}"))
    else:
        out(*schedule_lines(client.schedule(arguments.id), here=_here))
    return 0


def _pause(arguments: argparse.Namespace) -> int:
    schedule = client_of(arguments).pause_schedule(arguments.id)
    return _tell(arguments, schedule, f"{arguments.id} is paused")


def _resume(arguments: argparse.Namespace) -> int:
    return _tell(arguments, client_of(arguments).resume_schedule(arguments.id))


def _run(arguments: argparse.Namespace) -> int:
    invocation_id = client_of(arguments).run_schedule(arguments.id)
    if arguments.json:
        out_json({"id": invocation_id})
    else:
        out(invocation_id)
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    client_of(arguments).delete_schedule(arguments.id)
    if arguments.json:
        out_json({"id": arguments.id, "deleted": True})
    else:
        out(f"{arguments.id} is deleted")
    return 0
