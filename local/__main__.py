"""`python -m local`: the embedded cloud and its commands."""

import argparse
from collections.abc import Sequence

from local.cli import dev, ps, up
from local.feed import command as feed
from local.stopping import end_process

EXAMPLES = """examples:
  python -m local up                          everything, and a page that shows it
  python -m local up --port 0 --aws-port 0    on free ports; the READY line says which
  python -m local up --feed none              without the demo's records
  python -m local dev my-app                  the session apps of a folder, with their page
  python -m local feed FILE.jsonl --rate 50   your own records into the running cloud
  python -m local ps                          the tasks that run in it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="The whole of this project on one machine: AWS, containers, dispatcher.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module, summary in (
        ("up", up, "start everything, until Ctrl-C"),
        ("dev", dev, "start everything for the session apps of a folder, and follow its changes"),
        ("feed", feed, "put lines of JSON into the stream"),
        ("ps", ps, "show the tasks of the running cloud"),
    ):
        command = commands.add_parser(
            name,
            prog=getattr(module, "PROGRAM", None),
            help=summary,
            description=(module.__doc__ or summary).split("\n\n", 1)[0],
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.choices[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    return int(options.run(options))


if __name__ == "__main__":
    end_process(main())
