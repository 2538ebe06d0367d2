"""A fixed list of visitors, for comparing the simulation with a cloud that really runs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulation.cell import Cell
from simulation.models.latencies import Latencies
from simulation.shape import Shape
from simulation.virtual_time import VirtualTime

REST_SECONDS = 60.0
"""Before the first visitor: the pool is full by then."""
AFTER_SECONDS = 180.0


@dataclass(frozen=True)
class Arrival:
    """A visitor that arrives at a time of the trace, and stays this long once connected."""

    at: float
    stay_seconds: float


def make_trace(
    seed: int, seconds: float, *, per_second: float, stay_seconds: float, crowd: int
) -> list[Arrival]:
    """Poisson arrivals, and a crowd within two seconds in the middle."""
    chance = random.Random(seed)
    found, at = list[Arrival](), 0.0
    while (at := at + chance.expovariate(per_second)) < seconds:
        found.append(Arrival(at, chance.expovariate(1 / stay_seconds)))
    for _ in range(crowd):
        instant = seconds / 2 + 2 * chance.random()
        found.append(Arrival(instant, chance.expovariate(1 / stay_seconds)))
    return sorted(found, key=lambda one: one.at)


@dataclass(frozen=True)
class Waited:
    """The wait of one visitor: seconds until the address, None without one."""

    seconds: float | None
    is_warm: bool


def replay(
    trace: Sequence[Arrival], shape: Shape, latencies: Latencies, *, hosts: int = 2, seed: int = 1
) -> list[Waited]:
    """The trace in virtual time, on a cell whose functions share a process, as on a laptop."""
    time = VirtualTime()
    cell = Cell(time, shape, seed=str(seed), latencies=latencies, shares_process=True)
    cell.begin(0, hosts=hosts)
    for number, arrival in enumerate(trace):
        time.spawn(
            lambda number=number, stay=arrival.stay_seconds: cell.visit(f"somebody-{number}", stay),  # type: ignore[misc]
            REST_SECONDS + arrival.at,
        )
    last = trace[-1].at if trace else 0.0
    time.run(REST_SECONDS + last + AFTER_SECONDS)
    time.close()
    return [Waited(visit.waited, visit.is_warm) for visit in cell.visits.all]


def calibrated(
    shape: Shape, latencies: Latencies, *, warm_seconds: float, cold_seconds: float
) -> Latencies:
    """Latencies with which one warm and one cold visitor at rest wait as long as was measured.

    The handler's time makes up for the rest of a warm request, a container's boot for the rest of a
    cold one.
    """
    one = [Arrival(0.0, 1.0)]
    bare = replace(latencies, handler=0.0, boot=0.0)
    (found,) = replay(one, shape, bare)
    handler = max(0.0, warm_seconds - (found.seconds or 0.0))
    with_handler = replace(bare, handler=handler)
    (cold,) = replay(one, replace(shape, pool=NO_POOL), with_handler)
    boot = max(0.0, cold_seconds - (cold.seconds or 0.0))
    return replace(with_handler, boot=boot)


NO_POOL = (0, 0)
