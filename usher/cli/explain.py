"""`usher explain`: why a container is on its host or waits, and where more would be placed."""

import argparse
from collections.abc import Mapping
from typing import Any

from usher.cli.common import add_json, add_url, client_of, out, out_json, positive
from usher.cli.project import Commands
from usher.cli.text import UsageError, printable, table

Document = Mapping[str, Any]
COLUMNS = ("HOST", "ZONE", "STATUS", "TASKS", "CPU LEFT", "MEMORY LEFT", "WHY NOT")


def add_commands(commands: Commands) -> None:
    """Describe the command line."""
    explain = commands.add_parser(
        "explain",
        help="why a container is on its host or waits, and where more would go",
        description="With the ID of a session or an invocation: every host as it is now, and what "
        "keeps the container from it. With --app or --job: where --more N of it would go, and what "
        "would be missing; nothing is started. For operators and viewers.",
    )
    explain.add_argument("id", nargs="?", metavar="ID", help="of a session or an invocation")
    explain.add_argument("--app", metavar="APP")
    explain.add_argument("--job", metavar="JOB")
    explain.add_argument("--more", type=positive, default=1, metavar="N", help="default: 1")
    add_json(explain)
    add_url(explain)
    explain.set_defaults(run=_explain, id_of="session or invocation")


def _explain(arguments: argparse.Namespace) -> int:
    if sum(one is not None for one in (arguments.id, arguments.app, arguments.job)) != 1:
        raise UsageError("one of ID, --app and --job")
    client = client_of(arguments)
    if arguments.id is not None:
        document = client.explain(arguments.id)
        lines = explained_lines(document)
    else:
        document = client.simulate(app=arguments.app, job=arguments.job, more=arguments.more)
        lines = simulated_lines(document)
    if arguments.json:
        out_json(document)
    else:
        out(*lines)
    return 0


def explained_lines(document: Document) -> list[str]:
    """Its host, and a line for each host."""
    wanted = _wanted(document)
    if document.get("placedOn"):
        where = f"on host {document['placedOn']}"
    elif document.get("best"):
        where = f"on no host; it would go to {', '.join(document['best'])} now"
    else:
        where = f"on no host, and none takes it now: {_causes(document)}"
    return [f"{wanted}: {printable(str(document.get('state')))}, {where}", *_hosts(document)]


def simulated_lines(document: Document) -> list[str]:
    """The number of containers for each host, and the missing resources."""
    lines = [f"{document['more']} more of {_wanted(document)}:"]
    lines += [f"  {one['count']} to host {one['host']}" for one in document.get("placed", ())]
    if document.get("missing"):
        lines.append(f"  {document['missing']} find no host: {_causes(document)}")
    return [*lines, *_hosts(document)]


def _wanted(document: Document) -> str:
    size = f"{document.get('cpu')} CPU units, {document.get('memory')} MiB"
    return f"{printable(str(document.get('name')))} ({size})"


def _causes(document: Document) -> str:
    causes = document.get("causes") or {}
    if not causes:
        return "there are no hosts"
    return ", ".join(f"{printable(str(cause))} on {n}" for cause, n in causes.items())


def _hosts(document: Document) -> list[str]:
    if document.get("launchType") == "FARGATE":
        return ["Fargate places it: there are no hosts to choose from"]
    rows = [_row(host) for host in document.get("hosts", ())]
    return list(table([COLUMNS, *rows])) if rows else []


def _row(host: Document) -> tuple[str, ...]:
    obstacles = "; ".join(
        f"{one.get('cause')}: {one.get('detail')}" for one in host.get("obstacles", ())
    )
    return (
        str(host.get("host")),
        str(host.get("zone") or ""),
        str(host.get("status") or ""),
        str(host.get("tasks", "")),
        _left(host.get("cpu")),
        _left(host.get("memory")),
        printable(obstacles) or "fits",
    )


def _left(resource: Document | None) -> str:
    return f"{resource['left']} of {resource['total']}" if resource else ""
