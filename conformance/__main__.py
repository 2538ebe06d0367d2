"""python -m conformance [--target local|aws]: checks the documented promises from outside.

Prints a table and fills its column of docs/verified.md. On AWS it deploys a throw-away stage,
measures and destroys it, after it printed the costs and was confirmed.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from conformance import aws_target, cost, local_target, report
from conformance.promises import PROMISES, Outcome, Promise, Result, run
from conformance.target import BrokenPromiseError, Target

ROOT = Path(__file__).parents[1]
VERIFIED = ROOT / "docs" / "verified.md"

EXIT_BROKEN = 1
EXIT_USAGE = 2
EXIT_NOT_CONFIRMED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all promises kept that the place can show; 1: a broken promise; 2: usage; 3: not
    confirmed.
    """
    options = _parser().parse_args(arguments)
    promises = _chosen(options.only)
    parameters = dict(options.parameter)
    if options.dry_run:
        return _show_run(options.target, promises, parameters)
    if options.target == "aws" and not options.yes and not _confirmed():
        return EXIT_NOT_CONFIRMED
    target: AbstractContextManager[Target]
    if options.target == "aws":
        target = aws_target.AwsTarget(
            _say, keep=options.keep, tls=options.tls, parameters=parameters
        )
    else:
        target = local_target.LocalTarget()
    try:
        with target as place:
            results = run(place, promises, _say)
    except BrokenPromiseError as error:
        _say(f"failed: {error}")
        return EXIT_BROKEN
    _report(options.target, results, options.output)
    broken = any(result.outcome is Outcome.BROKEN for result in results)
    return EXIT_BROKEN if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    add = parser.add_argument
    add("--target", choices=("local", "aws"), default="local")
    add("--only", action="append", metavar="PROMISE", help="this one; may be repeated")
    add("--dry-run", action="store_true", help="print every step, do none")
    add("--yes", action="store_true", help="on AWS: do not ask")
    add("--keep", action="store_true", help="on AWS: leave the stage as it is, to look")
    add("--tls", action="store_true", help="on AWS: sessions are reached by wss")
    add(
        "--parameter", action="append", default=[], type=_pair, metavar="NAME=VALUE",
        help="on AWS: a parameter of infra/template.yaml; may be repeated",
    )  # fmt: skip
    add("--output", type=Path, default=VERIFIED, metavar="FILE", help="default: docs/verified.md")
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _chosen(names: Sequence[str] | None) -> list[Promise]:
    known = {promise.name for promise in PROMISES}
    if unknown := set(names or ()) - known:
        sys.stderr.write(f"no such promise: {', '.join(sorted(unknown))}; there are {known}\n")
        raise SystemExit(EXIT_USAGE)
    return [promise for promise in PROMISES if not names or promise.name in names]


def _show_run(target: str, promises: Sequence[Promise], parameters: dict[str, str]) -> int:
    if target == "aws":
        print(cost.statement())
        try:
            aws_target.dry_run(parameters, print)
        except BrokenPromiseError as error:
            _say(f"failed: {error}")
            return EXIT_BROKEN
    for promise in promises:
        print(f"check {promise.name}: {promise.statement}")
    return 0


def _confirmed() -> bool:
    _say("This deploys stage trial to the AWS account of your credentials, and costs about")
    _say(cost.statement())
    return input("Type trial to go on: ").strip() == aws_target.STAGE


def _report(target: str, results: Sequence[Result], output: Path) -> None:
    before = output.read_text("utf-8") if output.exists() else ""
    here, there = report.read_columns(before)
    made = report.column(f"{datetime.now(UTC):%Y-%m-%d}, {_versions(target)}", results)
    here, there = (here, made) if target == "aws" else (made, there)
    output.write_text(report.document(PROMISES, here, there, report.read_by_hand(before)), "utf-8")
    print(report.table(PROMISES, here, there))


def _versions(target: str) -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    commit = found.stdout.strip() or "no checkout"
    return f"commit {commit}, {local_target.versions() if target == 'local' else 'AWS itself'}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
