"""Shared by several commands: client, parameters, output."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from usher.cli.text import UsageError, are_pairs, parse_json, parse_pairs, printable
from usher.client import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE, Client
from usher.errors import AnswerError, UsherError

PARAMETERS_HELP = (
    "pairs: suburb=Richmond limit=5 (a value that is JSON counts as that), or a file of JSON, or - "
    "for stdin, or a JSON object"
)


LINES = "\n\t"
"""Characters that a text of several lines may have."""


def out(*lines: str) -> None:
    """Print answers to stdout; on a terminal without control characters, which may come from jobs
    or other users.
    """
    if sys.stdout.isatty():
        lines = tuple(printable(line, keep=LINES) for line in lines)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def note(line: str) -> None:
    """Print a note to stderr. Control characters are escaped."""
    sys.stderr.write(f"{printable(line, keep=LINES)}\n")
    sys.stderr.flush()


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        help=f"the dispatcher; default: ${URL_VARIABLE}, or {DEFAULT_URL}. ${KEY_VARIABLE} is sent "
        "as X-Api-Key",
    )


def add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "parameters", nargs="*", default=[], metavar="PARAMETERS", help=PARAMETERS_HELP
    )


def add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the project, or a folder in it; default: this one",
    )


def schema_of(client: Client, job: str) -> Callable[[], Mapping[str, Any] | None]:
    """The schema of a registered job, for `read_parameters`; None if it cannot be read."""

    def ask() -> Mapping[str, Any] | None:
        try:
            return client.job(job).description.get("parameters")
        except AnswerError:
            return None  # the request for the run will be refused with the reason

    return ask


def add_json(parser: argparse.ArgumentParser, what: str = "as the dispatcher says it") -> None:
    parser.add_argument("--json", action="store_true", help=what)


def say_for(arguments: argparse.Namespace) -> Callable[[str], None]:
    """The function that prints lines for display: to stdout, or with --json to stderr."""
    return note if arguments.json else out


@contextmanager
def stdout_for_a_document() -> Iterator[Callable[[Any], None]]:
    """Redirects stdout to stderr meanwhile, for child processes too; values passed to the yielded
    function are printed as JSON to stdout itself.
    """
    sys.stdout.flush()
    own = os.dup(1)  # not inherited by other programs
    os.dup2(2, 1)

    def print_document(document: Any) -> None:
        with os.fdopen(os.dup(own), "w", encoding="utf-8") as stdout:
            stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")

    try:
        yield print_document
    finally:
        sys.stdout.flush()
        os.dup2(own, 1)
        os.close(own)


def out_json(document: Any) -> None:
    out(json.dumps(document, ensure_ascii=False, indent=2))


def client_of(arguments: argparse.Namespace) -> Client:
    """A client that reports once on stderr when it repeats a request."""
    errors: list[UsherError] = []

    def on_retry(error: UsherError) -> None:
        if not errors:
            note(f"usher: {error}; trying again for a while")
        errors.append(error)

    return Client(arguments.url, on_retry=on_retry)


def positive(text: str) -> int:
    """An integer from 1, as a type of argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number from 1")
    return number


def read_parameters(
    arguments: Sequence[str], schema: Callable[[], Mapping[str, Any] | None] = lambda: None
) -> Any:
    """The parameters of the command line; None if there were none. Raises UsageError.

    `schema` returns the JSON Schema of the parameters, if it is known; called only if a pair's
    value may be a string or another type.
    """
    if not arguments:
        return None
    if are_pairs(arguments):
        parameters = parse_pairs(arguments)
        if all(isinstance(value, str) for value in parameters.values()):
            return parameters
        return parse_pairs(arguments, schema())
    if arguments[0].startswith("{"):
        return parse_json(arguments[0], "parameters")
    if arguments[0] == "-":
        return parse_json(sys.stdin.read(), "stdin")
    try:
        return parse_json(Path(arguments[0]).read_text(encoding="utf-8"), arguments[0])
    except FileNotFoundError as error:
        what = f"{error.strerror}: {arguments[0]!r}"
        raise UsageError(f"parameters are name=value, a file of JSON, or -: {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"parameters: {error}") from None
