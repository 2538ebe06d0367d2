"""The results of a run: a document for programs, and the table and plots for display."""

from collections.abc import Mapping, Sequence
from typing import Any

from simulation.foresight import host_hours
from simulation.meter import percentile
from simulation.prices import dollars, hourly_dollars
from simulation.quotas import quotas
from simulation.world import World

BARS = " ▁▂▃▄▅▆▇█"
PLOT_WIDTH = 72
WINDOWS = 24
"""Number of parts of a run for which waiting times are given."""


def document_of(world: World, *, seed: int, sessions: int) -> dict[str, Any]:
    """All figures of one cell, ready for JSON. Nothing in it depends on the machine."""
    cell, visits = world.cell, world.cell.visits.all
    waited = [visit.waited for visit in visits if visit.waited is not None]
    warm = [v.waited for v in visits if v.is_warm and v.waited is not None]
    paid = dollars(world)
    served = world.sessions_given() * cell.batch
    per_thousand = (
        {name: round(sum_ / served * 1_000, 6) for name, sum_ in paid.items()} if served else {}
    )
    needed = host_hours(world.intervals(), cell.shape.sessions_on_host)
    hours = cell.scaling.hours()
    return {
        "scenario": world.scenario.name,
        "seed": seed,
        "sessions": sessions,
        "batch": cell.batch,
        "simulatedSeconds": world.scenario.seconds,
        "visitors": len(visits) * cell.batch,
        "outcomes": {name: n * cell.batch for name, n in cell.visits.outcomes().items()},
        "refusals": {name: n * cell.batch for name, n in cell.visits.refusals().items()},
        "sessionsGiven": served,
        "cutShort": sum(visit.was_cut for visit in visits) * cell.batch,
        "givenTwice": cell.given_twice,
        "waiting": _waiting(waited),
        "warm": {"share": _rounded(len(warm) / len(waited)) if waited else None} | _waiting(warm),
        "pool": _pool(world, served),
        "starts": {
            "total": cell.meter.totals["tasks started"],
            "throttled": cell.meter.totals["ECS starts throttled"],
        },
        "conflicts": cell.meter.totals["conflicts of transactions"],
        "hosts": {
            "type": cell.shape.host.name,
            "sessionsOnOne": cell.shape.sessions_on_host * cell.batch,
            "peak": cell.meter.peaks["hosts"],
            "hours": _rounded(hours),
            "hoursAllKnowing": _rounded(needed),
            "ratio": _rounded(hours / needed) if needed else None,
        },
        "dollars": {
            "perThousandSessions": _rounded(sum(per_thousand.values()), 4),
            "of": per_thousand,
        },
        "quotas": [
            {
                "name": quota.name,
                "unit": quota.unit,
                "quota": quota.quota,
                "peak": _rounded(quota.peak),
                "share": _rounded(quota.share),
                "where": quota.where,
            }
            for quota in quotas(world)
        ],
        "series": _series(world),
    }


def _pool(world: World, served: int) -> dict[str, float]:
    """The costs of warm containers: their share of the hosts."""
    cell, samples = world.cell, world.samples
    mean = sum(sample.warm for sample in samples) / max(1, len(samples))
    hours = mean * world.scenario.seconds / 3_600
    on_a_host = cell.shape.sessions_on_host * cell.batch
    paid = hours / on_a_host * hourly_dollars(cell.shape.host.name)
    return {
        "containerHours": round(hours, 1),
        "dollarsPerThousandSessions": round(paid / max(1, served) * 1_000, 4),
    }


def _waiting(waited: Sequence[float]) -> dict[str, float | int | None]:
    return {
        "n": len(waited),
        "p50": _rounded(percentile(waited, 0.5)),
        "p90": _rounded(percentile(waited, 0.9)),
        "p99": _rounded(percentile(waited, 0.99)),
    }


def _series(world: World) -> dict[str, list[float | None]]:
    cell, seconds = world.cell, world.scenario.seconds
    first = world.samples[0].at if world.samples else 0.0
    begin = cell.time.now() - cell.time.elapsed + first
    windows: list[list[float]] = [[] for _ in range(WINDOWS)]
    warm: list[list[bool]] = [[] for _ in range(WINDOWS)]
    for visit in cell.visits.all:
        if visit.waited is not None:
            window = min(WINDOWS - 1, int((visit.arrived_at - begin) / seconds * WINDOWS))
            windows[window].append(visit.waited)
            warm[window].append(visit.is_warm)
    minutes = cell.meter.minutes["ECS starts"]
    start = int(begin // 60)
    return {
        "minutes": [_rounded(sample.at / 60) for sample in world.samples],
        "live": [sample.live for sample in world.samples],
        "warm": [sample.warm for sample in world.samples],
        "coming": [sample.coming for sample in world.samples],
        "hosts": [sample.hosts for sample in world.samples],
        "hostsNeeded": [sample.needed_hosts for sample in world.samples],
        "startsPerSecond": [
            _rounded(minutes.get(start + n, 0.0) / 60) for n in range(round(seconds / 60))
        ],
        "waitingP50": [_rounded(percentile(window, 0.5)) for window in windows],
        "waitingP99": [_rounded(percentile(window, 0.99)) for window in windows],
        "warmShare": [_rounded(sum(w) / len(w)) if w else None for w in warm],
    }


def text_of(document: Mapping[str, Any]) -> str:
    """The table and the plots of a document."""
    hours = document["simulatedSeconds"] / 3_600
    hosts, paid = document["hosts"], document["dollars"]
    lines = [
        f"{document['scenario']}: {document['sessions']} sessions, {hours:g} hours, "
        f"seed {document['seed']}, one simulated session stands for {document['batch']}",
        "",
        *pairs(
            {
                "visitors": f"{document['visitors']:,}",
                "outcomes": listed(document["outcomes"]),
                "sent away for a moment": listed(document["refusals"]) or "nobody",
                "cut short": f"{document['cutShort']:,}",
                "waiting time p50 / p90 / p99": times(document["waiting"]),
                "warm share": percent(document["warm"]["share"]),
                "of warm ones p50 / p90 / p99": times(document["warm"]),
                "kept warm": f"{document['pool']['containerHours']:,.0f} container-hours, "
                f"{document['pool']['dollarsPerThousandSessions']:.3f} dollars per 1,000 sessions",
                "tasks started": f"{document['starts']['total']:,.0f}, "
                f"{document['starts']['throttled']:,.0f} requests throttled",
                "conflicts of transactions": f"{document['conflicts']:,.0f}",
                "host-hours": f"{hosts['hours']:,.1f} {hosts['type']}, most {hosts['peak']:,.0f}",
                "of an all-knowing planner": f"{hosts['hoursAllKnowing']:,.1f}; "
                f"{hosts['ratio'] or 0:.2f} times as many were used",
                "dollars per 1,000 sessions": f"{paid['perThousandSessions']:.3f}",
                "of which": ", ".join(f"{name} {value:.3f}" for name, value in paid["of"].items()),
            }
        ),
        "",
        *quota_lines(document["quotas"]),
        "",
        *_plots(document["series"]),
    ]
    return "\n".join(lines)


def _plots(series: Mapping[str, Sequence[float | None]]) -> list[str]:
    titles = {
        "live": "live sessions",
        "coming": "waiting for a container",
        "warm": "warm containers",
        "hosts": "hosts",
        "hostsNeeded": "hosts that live ones fill",
        "startsPerSecond": "starts a second",
        "waitingP50": "waiting time p50, s",
        "waitingP99": "waiting time p99, s",
        "warmShare": "warm share",
    }
    width = max(map(len, titles.values()))
    return [
        f"{title:{width}}  {sparkline(series[name])}  up to {_most(series[name]):g}"
        for name, title in titles.items()
        if series.get(name)
    ]


def sparkline(values: Sequence[float | None], width: int = PLOT_WIDTH) -> str:
    """A plot of one line: the highest of each part; a blank where there is no value."""
    parts = min(width, len(values))
    highest = _most(values) or 1.0
    text = ""
    for part in range(parts):
        chosen = values[part * len(values) // parts : (part + 1) * len(values) // parts]
        known = [value for value in chosen if value is not None]
        level = round(max(known) / highest * (len(BARS) - 2)) + 1 if known else 0
        text += BARS[level]
    return text


def _most(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)


def quota_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    width = max(len(row["name"]) for row in rows)
    lines = [f"{'quota':{width}}  {'is':>9}  {'peak use':>9}  share"]
    for row in rows:
        over = "  over the quota" if row["share"] > 1 else ""
        lines.append(
            f"{row['name']:{width}}  {row['quota']:>9,.0f}  {row['peak']:>9,.1f}  "
            f"{row['share']:>5.0%}  {row['where']}{over}"
        )
    return lines


def pairs(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"{name:{width}}  {value}" for name, value in rows.items()]


def listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def times(found: Mapping[str, Any]) -> str:
    return " / ".join(
        "-" if found[p] is None else f"{found[p]:.2f} s" for p in ("p50", "p90", "p99")
    )


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _rounded(value: float | None, digits: int = 3) -> Any:
    return None if value is None else round(value, digits)
