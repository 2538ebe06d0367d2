"""`usher sessions`, `hosts`, `capacity` and `open`: what runs where, and the console's pages."""

import argparse
import sys
import webbrowser
from collections.abc import Mapping
from urllib.parse import quote

from usher.cli.common import add_json, add_url, client_of, note, out, out_json, positive
from usher.cli.completion import note_if_unknown
from usher.cli.operations_text import (
    GROUP_COLUMNS,
    HOST_COLUMNS,
    SESSION_COLUMNS,
    group_row,
    host_row,
    session_lines,
    session_row,
)
from usher.cli.project import Commands
from usher.cli.text import table
from usher.client import Client
from usher.errors import AnswerError, UsherError

STATES = ("QUEUED", "STARTING", "WARM", "RESERVED", "ACTIVE", "STOPPING")


def add_commands(commands: Commands) -> None:
    """Describe the command lines."""
    sessions = commands.add_parser(
        "sessions",
        help="the sessions that live, the newest first",
        description="List the sessions that have not ended, the newest first: your own, or "
        "everybody's for operators and viewers. With an ID: one session and its states.",
    )
    sessions.add_argument("id", nargs="?", metavar="ID", help="of one session")
    sessions.add_argument("--app", metavar="APP")
    sessions.add_argument("--state", choices=STATES, metavar="STATE", help=", ".join(STATES))
    sessions.add_argument("--owner", metavar="OWNER", help="like api_key:NAME")
    sessions.add_argument("--host", metavar="HOST", help="the end of a container instance's ARN")
    sessions.add_argument("--limit", type=positive, default=50, metavar="N", help="default: 50")
    add_json(sessions)
    add_url(sessions)
    sessions.set_defaults(run=_sessions, id_of="session")

    summary = (
        "the hosts of containers: free capacity, tasks, what leaves; for operators and viewers"
    )
    hosts = commands.add_parser("hosts", help=summary, description=f"List {summary}.")
    hosts.add_argument("--limit", type=positive, default=100, metavar="N", help="default: 100")
    add_json(hosts)
    add_url(hosts)
    hosts.set_defaults(run=_hosts)

    capacity = commands.add_parser(
        "capacity",
        help="capacity groups: what each has taken, is guaranteed and waits for",
        description="List the capacity groups: tier, what each has taken, is guaranteed, may have "
        "at most and has borrowed (places/CPU units/MiB; - = not bounded), how many wait, and the "
        "seconds between two starts of those that waited. For operators and viewers.",
    )
    add_json(capacity)
    add_url(capacity)
    capacity.set_defaults(run=_capacity)

    opened = commands.add_parser(
        "open",
        help="the console's page of any id or name",
        description="Find what an id or name is of (invocation, session, app, job, schedule, "
        "assignment, host) and open its page in the browser; in a pipe, print the page's URL.",
    )
    opened.add_argument("id", nargs="?", metavar="ID", help="without one: the console's first page")
    opened.add_argument("--print", action="store_true", dest="only_print", help="open nothing")
    add_json(opened)
    add_url(opened)
    opened.set_defaults(run=_open)


def _sessions(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    if arguments.id:
        document = client.session_history(arguments.id)
        if arguments.json:
            out_json(document)
        else:
            out(*session_lines(document))
        return 0
    found = client.sessions(
        app=arguments.app,
        state=arguments.state,
        owner=arguments.owner,
        host=arguments.host,
        limit=arguments.limit,
    )
    documents = list(found)
    if arguments.app and not documents:
        note_if_unknown("APP", arguments.app, arguments.url)
    if arguments.json:
        out_json(documents)
    else:
        out(*table([SESSION_COLUMNS, *map(session_row, documents)]))
    return 0


def _hosts(arguments: argparse.Namespace) -> int:
    found = client_of(arguments).hosts(limit=arguments.limit)
    if arguments.json:
        out_json(list(found))
    else:
        out(*table([HOST_COLUMNS, *map(host_row, found)]))
    return 0


def _capacity(arguments: argparse.Namespace) -> int:
    groups = client_of(arguments).overview().get("groups", [])
    if arguments.json:
        out_json(groups)
    elif groups:
        out(*table([GROUP_COLUMNS, *map(group_row, groups)]))
    else:
        out("this deployment has no capacity groups")
    return 0


PAGES: Mapping[str, tuple[str, str]] = {
    "invocation": ("/invocations/{}", "/console/invocations/{}"),
    "session": ("/sessions/{}/history", "/console/sessions/{}"),
    "app": ("/apps/{}", "/console/apps/{}"),
    "job": ("/jobs/{}", "/console/jobs/{}"),
    "schedule": ("/schedules/{}", "/console/schedules/{}"),
    "assignment": ("/assignments/{}", "/assignments/{}"),
    "host": ("/hosts/{}", "/console/hosts/{}"),
}
"""Kinds of ids: the path of the record, and the path of its page."""


def _open(arguments: argparse.Namespace) -> int:
    client = client_of(arguments)
    kind, page = find_page(client, arguments.id) if arguments.id else ("console", "/console")
    url = client.url + page
    if arguments.json:
        out_json({"kind": kind, "id": arguments.id, "url": url})
        return 0
    out(url)
    if sys.stdout.isatty() and not arguments.only_print and not webbrowser.open(url):
        note("usher: no browser was found here")
    return 0


def find_page(client: Client, record_id: str) -> tuple[str, str]:
    """The kind of record and the path of its page. Raises UsherError if there is none."""
    name = quote(record_id, safe="")
    hidden: AnswerError | None = None
    for kind, (path, page) in PAGES.items():
        try:
            client.document(path.format(name))
        except AnswerError as error:
            if error.status not in {400, 403, 404}:
                raise
            hidden = error if error.status == 403 else hidden
            continue
        return kind, page.format(name)
    why = f"; some kinds are not to be seen: {hidden}" if hidden else ""
    raise UsherError(f"no {', '.join(PAGES)} has the id or name {record_id!r}{why}")
