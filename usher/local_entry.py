"""A job's container started by `usher run`: parameters from stdin, the result to stdout."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from usher.local_coordinator import LocalCoordinator, local_settings
from usher.protocol import Limits, StartPermit, announcement
from usher.wrapper import Place, run_job


def run_locally(arguments: list[str], project: Path, limits: Limits) -> int:
    """`--local NAME`; stdin is {"parameters", "timeoutSeconds", "mark"}.

    The result is printed to stdout after the mark, on a new line.
    """
    parser = argparse.ArgumentParser(prog="usher.entry")
    parser.add_argument("--local", metavar="NAME", required=True)
    name = parser.parse_args(arguments).local
    order = json.load(sys.stdin)
    permit = StartPermit(name, order["parameters"], float(order["timeoutSeconds"]))

    def print_result(result: Any) -> None:
        data = f"{order['mark']}{json.dumps(result)}\n".encode()
        while data:
            data = data[os.write(1, data) :]

    coordinator = LocalCoordinator(permit, print_result)
    return run_job(announcement(local_settings(name)), coordinator, Place(project), limits)
