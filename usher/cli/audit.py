"""`usher audit`: who changed what."""

import argparse
import json
from datetime import UTC, datetime

from usher.cli.common import add_url, client_of, out
from usher.cli.project import Commands
from usher.cli.text import AUDIT_COLUMNS, audit_row, parse_instant, table


def add_commands(commands: Commands) -> None:
    """Describe the command line."""
    summary = "who changed what, the newest first; for operators"
    audit = commands.add_parser(
        "audit", help=summary, description=f"Show {summary}. docs/contracts.md has the actions."
    )
    audit.add_argument("--who", metavar="OWNER", help="like api_key:NAME")
    audit.add_argument("--action", metavar="ACTION", help="like invocation.kill, or refused")
    audit.add_argument("--resource", metavar="RESOURCE", help="like jobs/NAME or invocations/ID")
    audit.add_argument("--since", metavar="INSTANT", help="2026-01-31T09:00:00Z")
    audit.add_argument("--until", metavar="INSTANT")
    audit.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")
    audit.add_argument("--json", action="store_true", help="one JSON object a line")
    add_url(audit)
    audit.set_defaults(run=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    found = client_of(arguments).audit(
        who=arguments.who,
        action=arguments.action,
        resource=arguments.resource,
        since=parse_instant(arguments.since, now) if arguments.since else None,
        until=parse_instant(arguments.until, now) if arguments.until else None,
        limit=arguments.limit,
    )
    if arguments.json:
        for document in found:
            out(json.dumps(document, ensure_ascii=False))
    else:
        out(*table([AUDIT_COLUMNS, *map(audit_row, found)]))
    return 0
