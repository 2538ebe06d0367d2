"""Runs Usher's own decisions in virtual time, against models of AWS and its quotas.

python -m simulation SCENARIO [--sessions N] [--cells N] [--seed S] [--json]
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

from simulation import groups, million
from simulation.report import document_of, text_of
from simulation.scenarios import BY_NAME
from simulation.shape import LEAST_SLOTS, host_type_for
from simulation.world import world_of

SIMULATED = 400
"""Up to this many sessions are simulated one by one; above that each stands for several."""
MANAGED, PLANNER = "managed", "planner"
MOST_SESSIONS = 1_000_000
MOST_CELLS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a scenario. 0: done, 2: invalid arguments, 130: interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.scenario not in {*BY_NAME, groups.NAME, million.NAME}:
        known = ", ".join([*BY_NAME, groups.NAME, million.NAME])
        parser.error(f"no scenario is called {options.scenario!r}; there are {known}")
    if options.cells is not None and options.scenario != million.NAME:
        parser.error(f"--cells: {options.scenario} is of one cell; {million.NAME} has many")
    try:
        document, text = _run(options)
    except ValueError as problem:
        parser.error(str(problem))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(json.dumps(document, indent=1, sort_keys=True) if options.json else text)
    return 0


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    say = _progress(options.scenario)
    if options.scenario == million.NAME:
        document = million.run(
            sessions=options.sessions or million.SESSIONS,
            cells=options.cells or million.CELLS,
            seed=options.seed,
            batch=options.batch,
            progress=say,
        )
        return document, million.text_of(document)
    if options.scenario == groups.NAME:
        wanted = options.sessions or groups.SESSIONS
        if wanted > groups.MOST_SESSIONS or options.batch or options.hosts == PLANNER:
            raise ValueError(
                f"{groups.NAME} has up to {groups.MOST_SESSIONS:,} sessions, one by one, on "
                "fixed hosts"
            )
        document = groups.run(sessions=wanted, seed=options.seed, progress=say)
        return document, groups.text_of(document)
    scenario = BY_NAME[options.scenario]
    sessions = options.sessions or scenario.sessions
    batch = options.batch or _batch_for(sessions)
    world = world_of(
        scenario,
        sessions,
        seed=options.seed,
        batch=batch,
        planned_hosts=options.hosts == PLANNER,
    )
    try:
        world.run(say)
        document = document_of(world, seed=options.seed, sessions=sessions)
    finally:
        world.cell.time.close()
    return document, text_of(document)


def _batch_for(sessions: int) -> int:
    """As few as keep SIMULATED of them, and enough of them on each host."""
    most = max(1, host_type_for(sessions).sessions // LEAST_SLOTS)
    return min(most, math.ceil(sessions / SIMULATED))


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:16}{scenario.line}" for name, scenario in BY_NAME.items()]
    parser = argparse.ArgumentParser(
        prog="python -m simulation",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="\n".join(
            [
                "scenarios:",
                *lines,
                f"  {groups.NAME:16}{groups.LINE}",
                f"  {million.NAME:16}{million.LINE}",
                "",
                "The same scenario, options and seed give the same output; progress is on stderr.",
                "docs/capacity.md says what is modelled, and what the numbers rest on.",
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="SCENARIO", help="one of those below")
    parser.add_argument(
        "--sessions",
        type=_whole(1, MOST_SESSIONS),
        metavar="N",
        help="how many live at once at the usual rate; the scenario's own without it",
    )
    parser.add_argument(
        "--cells",
        type=_whole(2, MOST_CELLS),
        metavar="N",
        help=f"of {million.NAME}: how many cells",
    )
    parser.add_argument(
        "--seed", type=_whole(0, 2**32), default=1, metavar="S", help="1 unless told"
    )
    parser.add_argument(
        "--batch",
        type=_whole(1, 1_000),
        metavar="B",
        help=f"how many sessions one simulated stands for; as few as keep {SIMULATED} of them",
    )
    parser.add_argument(
        "--hosts",
        choices=(MANAGED, PLANNER),
        default=MANAGED,
        help="ECS managed scaling, which is what is deployed unless told; or the own planner",
    )
    parser.add_argument("--json", action="store_true", help="all figures, for programs")
    return parser


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"a whole number from {low} to {high:,}, not {text!r}")
        return int(text)

    return parse


def _progress(name: str) -> Callable[[float], None]:
    told = [0]

    def say(part: float) -> None:
        tenths = int(part * 10)
        if tenths > told[0]:
            told[0] = tenths
            print(f"{name}: {tenths * 10} %", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
