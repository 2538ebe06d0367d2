"""What several commands share: their client, their parameters, and where output goes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from usher.cli.words import UsageError, are_pairs, parse_json, parse_pairs
from usher.client import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE, Client

PARAMETERS_HELP = (
    "pairs: suburb=Richmond limit=5 (a value that is JSON counts as that), or a file of JSON, or - "
    "for stdin, or a JSON object"
)


def out(*lines: str) -> None:
    """Answers, to stdout."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def note(line: str) -> None:
    """What happens meanwhile, to stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        help=f"the dispatcher; default: ${URL_VARIABLE}, or {DEFAULT_URL}. ${KEY_VARIABLE} is sent "
        "as X-Api-Key",
    )


def add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parameters", nargs="*", metavar="PARAMETERS", help=PARAMETERS_HELP)


def add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the project, or a folder in it; default: this one",
    )


def client_of(arguments: argparse.Namespace) -> Client:
    return Client(arguments.url)


def read_parameters(words: Sequence[str]) -> Any:
    """The parameters as typed; None when none were. Raises UsageError."""
    if not words:
        return None
    if are_pairs(words):
        return parse_pairs(words)
    if words[0].startswith("{"):
        return parse_json(words[0], "parameters")
    if words[0] == "-":
        return parse_json(sys.stdin.read(), "stdin")
    try:
        return parse_json(Path(words[0]).read_text(encoding="utf-8"), words[0])
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"parameters: {error}") from None
