"""`python -m local ps`: the tasks of a running local cloud, one a line."""

import argparse
import json
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from local.feed.sink import FeedError, find_endpoint

COLUMNS = ("TASK", "STATUS", "FAMILY", "HEALTH", "PORTS", "STARTED BY", "REASON")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `ps`."""
    parser.add_argument("--all", action="store_true", help="stopped tasks too")
    parser.add_argument("--json", action="store_true", help="the whole state as JSON")
    parser.add_argument("--endpoint", metavar="URL", help="default: the running `local up`")


def run(arguments: argparse.Namespace) -> int:
    """Print the tasks. 0: done, 2: no cloud answers."""
    try:
        state = _state(find_endpoint(arguments.endpoint))
    except (FeedError, OSError) as error:
        print(f"ps: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(state, indent=2))
        return 0
    tasks = [task for task in state["tasks"] if arguments.all or task["lastStatus"] != "STOPPED"]
    print(*table([COLUMNS, *map(row, tasks)]), sep="\n")
    return 0


def _state(endpoint: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{endpoint}/_local/state", timeout=10) as answer:
        state: dict[str, Any] = json.load(answer)
        return state


def row(task: Mapping[str, Any]) -> tuple[str, ...]:
    """One line about a task in the form of DescribeTasks."""
    bindings = [b for c in task["containers"] for b in c.get("networkBindings", [])]
    return (
        task["taskArn"].rpartition("/")[2],
        task["lastStatus"],
        task["taskDefinitionArn"].rpartition("/")[2],
        task.get("healthStatus", ""),
        ", ".join(f"{b['hostPort']}->{b['containerPort']}" for b in bindings),
        task.get("startedBy", ""),
        task.get("stoppedReason", ""),
    )


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines with aligned columns."""
    cells = list(rows)
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
