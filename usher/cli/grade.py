"""`usher grade` and `usher grader check`: mark locally, in the same box as on AWS."""

import argparse
import os
from pathlib import Path
from typing import Any

from usher.box.names import BASE_VARIABLE, RUNTIMES
from usher.cli.common import add_json

Commands = Any


def add_commands(commands: Commands) -> None:
    """Describe the command lines."""
    grade = commands.add_parser(
        "grade",
        help="mark files with a grader on this machine",
        description="Mark FILEs with the grader in DIR (or a part of the assignment in DIR), in a "
        "box of Docker or bubblewrap, and show what a learner may see.",
    )
    grade.add_argument("folder", metavar="DIR", type=Path)
    grade.add_argument("files", metavar="FILE", type=Path, nargs="+")
    grade.add_argument("--part", help="of the assignment, if it has several")
    add_json(grade, "one JSON document")
    grade.add_argument("--author", action="store_true", help="everything, hidden cases too")
    _add_boxes(grade)
    grade.set_defaults(run=_grade)

    grader = commands.add_parser("grader", help="for authors of graders")
    actions = grader.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="mark solutions/** and compare with what they expect",
        description="Check grader.toml, then mark every file (or folder with files) in solutions/ "
        "and compare with `@EXPECTED: WA` in its first lines.",
    )
    check.add_argument("folder", metavar="DIR", type=Path)
    add_json(check, "one JSON document")
    _add_boxes(check)
    check.set_defaults(run=_check)


def _add_boxes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime", choices=RUNTIMES, help="what makes the boxes; default: the first that works"
    )
    parser.add_argument(
        "--base",
        metavar="IMAGE",
        default=os.environ.get(BASE_VARIABLE),
        help="for graders that name no image; default: $USHER_BASE_IMAGE, or Debian with Python",
    )


def _grade(arguments: argparse.Namespace) -> int:
    from usher.cli import grade_here  # boxes and graders, which other commands do without

    return grade_here.grade(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from usher.cli import grade_here

    return grade_here.check(arguments)
