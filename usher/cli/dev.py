"""`usher dev`: the embedded cloud of a checkout with the session apps of a folder."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import usher
from usher.cli.project import Commands
from usher.errors import UsherError

NAME = "dev"


class NoCheckoutError(UsherError):
    """The embedded cloud is part of a checkout of Usher, not of the installed package."""


def add_commands(commands: Commands) -> None:
    """Define the command; its options are those of `python -m local dev`, see `run`."""
    commands.add_parser(
        NAME,
        add_help=False,
        help="run the session apps of this folder here, with their page; reloads what changes",
    )


def run(arguments: Sequence[str]) -> None:
    """Replace the process by `python -m local dev`, which parses the arguments and handles signals.

    Raises NoCheckoutError.
    """
    checkout = Path(usher.__file__).resolve().parents[1]
    if not (checkout / "local" / "__main__.py").is_file():
        raise NoCheckoutError(
            "`usher dev` runs the embedded cloud, which is in a checkout of Usher: clone it, "
            "`make run` there once, and call its .venv/bin/usher"
        )
    python = sys.executable
    if find_spec("moto") is None:
        python = str(checkout / ".venv" / "bin" / "python")
        if not Path(python).is_file():
            raise NoCheckoutError(f"the embedded cloud is not set up: `make run` in {checkout}")
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))
    command = [python, "-m", "local", NAME, *arguments]
    os.execve(python, command, {**os.environ, "PYTHONPATH": path})  # noqa: S606 - no shell wanted
