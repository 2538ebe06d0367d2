"""`usher invoke`, `wait`, `show`, `invocations`, `kill`, `rerun` and `logs`."""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from usher.answers import Invocation, read_invocation
from usher.cli.common import (
    add_json,
    add_parameters,
    add_url,
    client_of,
    note,
    out,
    out_json,
    positive,
    read_parameters,
    schema_of,
)
from usher.cli.completion import note_if_unknown
from usher.cli.exit_codes import FAILED, INTERRUPTED, OK, STILL_RUNNING
from usher.cli.project import Commands
from usher.cli.text import (
    INVOCATION_COLUMNS,
    detail,
    invocation_lines,
    invocation_row,
    outcome,
    parse_instant,
    table,
    waits_for,
)
from usher.client import Client
from usher.errors import AnswerError, WaitTimeoutError


def add_commands(commands: Commands) -> None:
    """Describe the command lines."""
    invoke = commands.add_parser(
        "invoke",
        help="ask for a run of a registered job",
        description="Ask for a run, and print the invocation's id at once.",
    )
    invoke.add_argument("job", metavar="JOB")
    add_parameters(invoke)
    add_url(invoke)
    invoke.add_argument("--at", metavar="INSTANT", help="not before: 2026-01-31T09:00:00Z, or +10m")
    invoke.add_argument("--not-after", metavar="INSTANT", help="expired unless launched by then")
    invoke.add_argument("--priority", choices=("critical", "normal", "low"))
    invoke.add_argument(
        "--key", metavar="KEY", help="Idempotency-Key: the same one again is the same invocation"
    )
    invoke.add_argument("--wait", action="store_true", help="and wait for its end")
    invoke.add_argument("--follow", action="store_true", help="and show its log until it ends")
    invoke.add_argument("--json", action="store_true", help="the invocation; lines of the log, too")
    invoke.set_defaults(run=_invoke)

    wait = _with_id(commands, "wait", "wait until it has ended; exit 0 if it succeeded, else 1")
    wait.add_argument("--timeout", type=float, metavar="SECONDS", help=f"then exit {STILL_RUNNING}")
    add_json(wait)
    wait.set_defaults(run=_wait)

    show = _with_id(commands, "show", "all that is known of an invocation")
    add_json(show)
    show.set_defaults(run=_show)

    listing = commands.add_parser("invocations", help="the invocations, the newest first")
    listing.add_argument("--job", metavar="JOB")
    listing.add_argument("--status", metavar="STATE", help="FINISHED, QUEUED, STARTED, …")
    listing.add_argument("--since", metavar="INSTANT")
    listing.add_argument("--until", metavar="INSTANT")
    listing.add_argument("--limit", type=positive, default=20, metavar="N", help="default: 20")
    add_url(listing)
    add_json(listing)
    listing.set_defaults(run=_list)

    kill = commands.add_parser(
        "kill",
        help="end invocations, in whatever state they are",
        description="End invocations, in whatever state they are. The console ends all that a "
        "filter selects.",
    )
    kill.add_argument("ids", nargs="+", metavar="ID", help="of an invocation")
    add_url(kill)
    add_json(kill)
    kill.set_defaults(run=_kill, id_of="invocation")
    rerun = _with_id(commands, "rerun", "run it again, as a new invocation")
    add_json(rerun)
    rerun.set_defaults(run=_rerun)

    logs = _with_id(commands, "logs", "the log of an invocation")
    logs.add_argument("--follow", action="store_true", help="and what comes, until it ends")
    logs.add_argument("--times", action="store_true", help="with the instant of each line")
    logs.add_argument("--json", action="store_true", help="one JSON object a line")
    logs.set_defaults(run=_logs)


def _with_id(commands: Commands, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.add_argument("id", metavar="ID", help="of the invocation")
    parser.set_defaults(id_of="invocation")
    add_url(parser)
    return parser


def _invoke(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    at, not_after = arguments.at, arguments.not_after
    client = client_of(arguments)
    schema = schema_of(client, arguments.job)
    invocation_id = client.invoke(
        arguments.job,
        read_parameters(arguments.parameters, schema),
        at=parse_instant(at, now) if at else None,
        not_after=parse_instant(not_after, now) if not_after else None,
        priority=arguments.priority,
        idempotency_key=arguments.key,
    )
    goes_on = arguments.wait or arguments.follow
    if not arguments.json:
        out(invocation_id)
    elif not goes_on:
        out_json(client.document(_path_of(invocation_id)))
    if not goes_on:
        return 0
    try:
        if arguments.follow:
            _print_log(client, arguments, invocation_id, follow=True)
        return _report(client, client.wait(invocation_id, on_look=Waits()), arguments)
    except KeyboardInterrupt:
        return _interrupted(invocation_id)


def _interrupted(invocation_id: str) -> int:
    note(
        f"usher: interrupted; the run goes on: usher logs {invocation_id} --follow shows it again, "
        f"usher kill {invocation_id} ends it"
    )
    return INTERRUPTED


class Waits:
    """Reports on stderr why an invocation waits, whenever that changes."""

    def __init__(self) -> None:
        self._printed = ""

    def __call__(self, invocation: Invocation) -> None:
        line = waits_for(invocation)
        if line and line != self._printed:
            note(f"usher: {line}")
        self._printed = line


def _wait(arguments: argparse.Namespace) -> int:
    try:
        client = client_of(arguments)
        found = client.wait(arguments.id, arguments.timeout, on_look=Waits())
        return _report(client, found, arguments)
    except WaitTimeoutError as error:
        note(f"usher: {error}")
        return STILL_RUNNING
    except KeyboardInterrupt:
        return _interrupted(arguments.id)


def _report(client: Client, invocation: Invocation, arguments: argparse.Namespace) -> int:
    suffix = f": {detail(invocation)}" if detail(invocation) else ""
    note(f"usher: {invocation.job} {outcome(invocation)}{suffix}")
    if arguments.json:
        out_json(client.document(_path_of(invocation.id)))
    elif invocation.result is not None:
        out_json(invocation.result)
    return OK if invocation.succeeded else FAILED


def _show(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    if arguments.json:
        out_json(client.document(_path_of(arguments.id)))
    else:
        out(*invocation_lines(client.invocation(arguments.id)))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    found = client_of(arguments).invocation_documents(
        job=arguments.job,
        status=arguments.status,
        since=parse_instant(arguments.since, now) if arguments.since else None,
        until=parse_instant(arguments.until, now) if arguments.until else None,
        limit=arguments.limit,
        on_page=_say_once("usher: searching further back; Ctrl-C ends it"),
    )
    documents = list(found)
    if arguments.job and not documents:
        note_if_unknown("JOB", arguments.job, arguments.url)
    if arguments.json:
        out_json(documents)
        return 0
    rows = (invocation_row(read_invocation(document)) for document in documents)
    out(*table([INVOCATION_COLUMNS, *rows]))
    return 0


def _say_once(line: str) -> Callable[[], None]:
    lines = [line]
    return lambda: note(lines.pop()) if lines else None


def _kill(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    documents = []
    failed = False
    for invocation_id in arguments.ids:
        try:
            invocation = client.kill(invocation_id)
        except AnswerError as error:
            if len(arguments.ids) == 1:
                raise
            note(f"usher: {invocation_id}: {error}")
            failed = True
            continue
        if arguments.json:
            documents.append(client.document(_path_of(invocation_id)))
        else:
            out(f"{invocation.id} {outcome(invocation)}")
    if arguments.json:
        out_json(documents if len(arguments.ids) > 1 else documents[0])
    return FAILED if failed else OK


def _rerun(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    invocation_id = client.rerun(arguments.id)
    if arguments.json:
        out_json(client.document(_path_of(invocation_id)))
    else:
        out(invocation_id)
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    try:
        _print_log(client, arguments, arguments.id, follow=arguments.follow)
    except KeyboardInterrupt:
        if not arguments.follow:
            raise
        return _interrupted(arguments.id)
    return 0


def _path_of(invocation_id: str) -> str:
    return f"/invocations/{quote(invocation_id, safe='')}"


def _print_log(
    client: Client, arguments: argparse.Namespace, invocation_id: str, *, follow: bool
) -> None:
    times = getattr(arguments, "times", False)
    for line in client.logs(invocation_id, follow=follow, on_look=Waits()):
        if arguments.json:
            instant = line.at.isoformat(timespec="milliseconds") if line.at else None
            out(json.dumps({"at": instant, "text": line.text}, ensure_ascii=False))
            continue
        at = f"{line.at.isoformat(timespec='milliseconds')} " if times and line.at else ""
        out(at + line.text)
