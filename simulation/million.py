"""Many cells: a flash crowd, and a cell that is lost, with a million live sessions.

Each cell is simulated by itself, as cells share nothing; what they have in common are the users.
The cell picker (`chalicelib.capacity.cells`) says for a sample of users which share of them each
cell gets, before the loss and after it. From the loss on the others get its users on top: those who
come anew, and those who were connected, who all come back within a minute.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.capacity.cells import Cell, CellState, decide_cell
from simulation.meter import percentile
from simulation.report import document_of, listed, pairs, percent, quota_lines, sparkline, times
from simulation.scenarios import MINUTE, Scenario, crowd
from simulation.shape import M7G_4XLARGE, Shape
from simulation.world import world_of

NAME = "million"
LINE = "20 cells with a million live sessions, a flash crowd and a lost cell"
SESSIONS, CELLS = 1_000_000, 20
SECONDS = 40 * MINUTE
CROWD_AT, LOST_AT = 8 * MINUTE, 22 * MINUTE
CROWD_PEAK = 10.0
SIMULATED = 500
"""So many sessions of a cell are simulated one by one, at most, at the usual rate."""
STAY_SECONDS = 1_800.0
RETURNING = STAY_SECONDS / MINUTE
"""Who was connected to the lost cell comes back within a minute, in parts of its usual rate."""
ROOM = 1.25
"""A cell's limit, over its part of all sessions."""
USERS = 20_000
"""Of the sample that the picker is asked for."""


@dataclass(frozen=True)
class Part:
    """What one cell is to simulate."""

    name: str
    sessions: int
    """Live before the crowd."""
    gained: float
    """Of the usual rate, what it gets on top once another cell is lost."""
    is_lost: bool
    seed: int
    batch: int


def parts_of(sessions: int, cells: int, seed: int, batch: int | None) -> list[Part]:
    """The cells, with the users that the picker gives them."""
    there = [Cell(f"cell-{number:02}") for number in range(cells)]
    lost = there[seed % cells].name
    after = [replace(c, state=CellState.LOST) if c.name == lost else c for c in there]
    users = [f"user-{seed}-{number}" for number in range(USERS)]
    before, later = _shares(users, there), _shares(users, after)
    chosen = batch or max(1, round(sessions / cells / SIMULATED))
    return [
        Part(
            cell.name,
            max(chosen, round(sessions * before[cell.name])),
            later[cell.name] / before[cell.name] - 1.0 if before[cell.name] else 0.0,
            cell.name == lost,
            seed,
            chosen,
        )
        for cell in there
    ]


def _shares(users: Sequence[str], cells: Sequence[Cell]) -> dict[str, float]:
    counts = dict.fromkeys((cell.name for cell in cells), 0)
    for user in users:
        chosen = decide_cell(user, cells)
        if chosen is not None:
            counts[chosen.name] += 1
    return {name: count / len(users) for name, count in counts.items()}


def scenario_of(part: Part) -> Scenario:
    """The crowd, and what a lost cell sends here. A lost cell itself ends with its loss."""

    def load(at: float) -> float:
        usual = crowd(at, CROWD_AT, CROWD_PEAK, MINUTE, 3 * MINUTE)
        if at < LOST_AT:
            return usual
        returning = RETURNING if at < LOST_AT + MINUTE else 0.0
        return usual * (1.0 + part.gained) + part.gained * returning

    seconds = LOST_AT if part.is_lost else SECONDS
    return Scenario(NAME, LINE, seconds, load, sessions=part.sessions)


def simulate(part: Part) -> dict[str, Any]:
    """One cell. Called in a process of its own."""
    shape = Shape(
        part.sessions,
        host=M7G_4XLARGE,
        stay_seconds=STAY_SECONDS,
        room=ROOM,
    )
    world = world_of(
        scenario_of(part),
        part.sessions,
        seed=part.seed,
        batch=part.batch,
        shape=shape,
        cell_name=part.name,
    )
    try:
        world.run()
        document = document_of(world, seed=part.seed, sessions=part.sessions)
    finally:
        world.cell.time.close()
    visits = world.cell.visits.all
    document["waited"] = [round(v.waited, 3) for v in visits if v.waited is not None]
    document["warmWaited"] = [
        round(v.waited, 3) for v in visits if v.is_warm and v.waited is not None
    ]
    return document | {"cell": part.name, "isLost": part.is_lost}


def run(
    *,
    sessions: int,
    cells: int,
    seed: int,
    batch: int | None = None,
    progress: Callable[[float], None] = lambda _: None,
    processes: int | None = None,
) -> dict[str, Any]:
    """All cells, in as many processes as there are processors; one figure for all."""
    parts = parts_of(sessions, cells, seed, batch)
    found = []
    for number, document in enumerate(_simulated(parts, processes)):
        found.append(document)
        progress((number + 1) / len(parts))
    return _together(found, seed=seed, sessions=sessions)


def _simulated(parts: Sequence[Part], processes: int | None) -> Iterator[dict[str, Any]]:
    if processes == 1:
        yield from map(simulate, parts)
        return
    with multiprocessing.get_context("spawn").Pool(processes, _ignore_interrupts) as pool:
        yield from pool.imap(simulate, parts)


def _ignore_interrupts() -> None:
    """Ctrl-C is the first process's to handle: it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _together(found: list[dict[str, Any]], *, seed: int, sessions: int) -> dict[str, Any]:
    waited = [seconds for one in found for seconds in one.pop("waited")]
    warm = [seconds for one in found for seconds in one.pop("warmWaited")]
    series = [one["series"]["live"] for one in found]
    length = max(map(len, series))
    live = [sum(one[n] for one in series if n < len(one)) for n in range(length)]
    paid = sum(
        one["dollars"]["perThousandSessions"] * one["sessionsGiven"] / 1_000 for one in found
    )
    given = sum(one["sessionsGiven"] for one in found)
    return {
        "scenario": NAME,
        "seed": seed,
        "sessions": sessions,
        "cells": len(found),
        "batch": found[0]["batch"],
        "lost": next(one["cell"] for one in found if one["isLost"]),
        "visitors": sum(one["visitors"] for one in found),
        "outcomes": _sums(one["outcomes"] for one in found),
        "refusals": _sums(one["refusals"] for one in found),
        "givenTwice": sum(one["givenTwice"] for one in found),
        "mostLive": max(live),
        "live": live,
        "waiting": {f"p{p}": percentile(waited, p / 100) for p in (50, 90, 99)},
        "warm": {"share": round(len(warm) / len(waited), 4) if waited else None}
        | {f"p{p}": percentile(warm, p / 100) for p in (50, 90, 99)},
        "pool": {
            "containerHours": sum(one["pool"]["containerHours"] for one in found),
            "dollarsPerThousandSessions": round(
                sum(
                    one["pool"]["dollarsPerThousandSessions"] * one["sessionsGiven"]
                    for one in found
                )
                / max(1, given),
                4,
            ),
        },
        "dollars": {"perThousandSessions": round(paid / max(1, given) * 1_000, 4)},
        "quotas": _fullest([one["quotas"] for one in found]),
        "ofCells": [
            {
                name: one[name]
                for name in (
                    "cell",
                    "isLost",
                    "sessions",
                    "visitors",
                    "outcomes",
                    "waiting",
                    "warm",
                )
            }
            for one in found
        ],
    }


def _fullest(of_cells: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Quotas are each cell's own: the peak of the cell that used most."""
    return [dict(max(rows, key=lambda row: row["share"])) for rows in zip(*of_cells, strict=True)]


def _sums(counts: Iterator[Mapping[str, int]] | Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def text_of(document: Mapping[str, Any]) -> str:
    """The table and the plots for people."""
    live = document["live"]
    rows = {
        "visitors": f"{document['visitors']:,}",
        "outcomes": listed(document["outcomes"]),
        "sent away for a moment": listed(document["refusals"]) or "nobody",
        "given to two": f"{document['givenTwice']}",
        "most live at once": f"{document['mostLive']:,}",
        "waiting time p50 / p90 / p99": times(document["waiting"]),
        "warm share": percent(document["warm"]["share"]),
        "of warm ones p50 / p90 / p99": times(document["warm"]),
        "kept warm": f"{document['pool']['containerHours']:,.0f} container-hours, "
        f"{document['pool']['dollarsPerThousandSessions']:.3f} dollars per 1,000 sessions",
        "dollars per 1,000 sessions": f"{document['dollars']['perThousandSessions']:.3f}",
    }
    cells = [
        f"{one['cell']:8}  {one['sessions']:>7,}  {one['visitors']:>8,}  "
        f"{percent(one['warm']['share']):>6}  {times(one['waiting'])}"
        f"{'  lost' if one['isLost'] else ''}"
        for one in document["ofCells"]
    ]
    return "\n".join(
        [
            f"{NAME}: {document['sessions']:,} sessions, {document['cells']} cells, seed "
            f"{document['seed']}, one simulated session stands for {document['batch']}",
            "",
            *pairs(rows),
            "",
            *quota_lines(document["quotas"]),
            "",
            f"live sessions  {sparkline(live)}  up to {max(live):,}",
            "",
            "cell       usually  visitors    warm  waiting time p50 / p90 / p99",
            *cells,
        ]
    )
