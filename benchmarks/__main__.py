"""Measures this project on this machine, each figure beside a floor of the same run.

python -m benchmarks [NAME ...] [--quick] [--json FILE]
"""

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.app import measure_app
from benchmarks.burst import measure_burst
from benchmarks.calls import measure_calls
from benchmarks.churn import measure_churn
from benchmarks.cold import measure_cold, measure_jupyterhub
from benchmarks.console import measure_console
from benchmarks.container import measure_container
from benchmarks.feed import measure_feed
from benchmarks.function import measure_function
from benchmarks.graders import measure_graders
from benchmarks.jobs import measure_jobs
from benchmarks.live import measure_live
from benchmarks.machine import describe
from benchmarks.run import Run, SkipError
from benchmarks.simulation import measure_simulation
from benchmarks.sweep import measure_sweep
from benchmarks.warm import measure_warm

BENCHMARKS: dict[str, tuple[Callable[[Run], None], str]] = {
    "cold": (measure_cold, "GET to address, websocket, first record; against bare starts"),
    "jupyterhub": (measure_jupyterhub, "the smallest container: bare, dispatched, by JupyterHub"),
    "warm": (measure_warm, "the same with a pool; AWS calls and processor time of a dispatch"),
    "burst": (measure_burst, "300 requests in a second against a pool of 100, and its refill"),
    "live": (measure_live, "200 and 500 live sessions: memory of each, records to all"),
    "churn": (measure_churn, "sessions a minute that come and go; what an ended one leaves"),
    "calls": (measure_calls, "calls a second of the AWS emulation"),
    "feed": (measure_feed, "put to client at 10 to 5,000 records a second; processor time of each"),
    "function": (measure_function, "what a cold start imports, against boto3; the package"),
    "jobs": (measure_jobs, "one job after the other, and 1,000 through a capacity of 20"),
    "graders": (
        measure_graders,
        "a case and a submission, ready boxes and fresh; against bare runs",
    ),
    "app": (measure_app, "start and memory of a session app's container, against one without"),
    "sweep": (measure_sweep, "a pass over 1,000 to 50,000 records: calls, processor time, memory"),
    "simulation": (
        measure_simulation,
        "visitors of ten minutes on the embedded cloud, and in virtual time",
    ),
    "console": (measure_console, "its pages over 50,000 invocations: server time, time to usable"),
    "container": (measure_container, "the session container alone; also against Node.js"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected benchmarks. 0: measured, 1: something failed, 130: interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="benchmarks:\n"
        + "\n".join(f"  {name:12}{description}" for name, (_, description) in BENCHMARKS.items())
        + "\n\nProgress goes to stderr, tables to stdout. A quiet machine is half of a figure.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="which ones; all without it, about half an hour",
    )
    parser.add_argument("--quick", action="store_true", help="see that it works; means nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all values, for programs")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = Run(quick=options.quick)
    machine = describe()
    print("\n".join(f"{name:10} {value}" for name, value in machine.items()), flush=True)
    failed = False
    try:
        with run.clean():
            for name in options.names or BENCHMARKS:
                failed = not _measure(run, name) or failed
    except KeyboardInterrupt:
        run.say("interrupted; everything is stopped")
        return 130
    finally:
        if options.json:
            document = {"machine": machine, "quick": run.quick, **run.report.document()}
            options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _measure(run: Run, name: str) -> bool:
    """Run one, print its table, and say whether it came to its end; the next one runs anyway."""
    before, skipped_before = len(run.report.series), len(run.report.skipped)
    done = True
    try:
        BENCHMARKS[name][0](run)
    except SkipError as reason:
        run.report.skip(name, str(reason))
    except Exception as error:  # noqa: BLE001  whatever it is, the others are not to be lost
        traceback.print_exc()
        run.report.skip(name, f"failed: {error!r}")
        done = False
    print("\n" + run.report.table(before, skipped_before), flush=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
