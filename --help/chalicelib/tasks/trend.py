"""Figures of the last hours, stored with the state of the sweep: a point every five minutes.
Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

from chalicelib.tasks.percentiles import percentile

SLOT_SECONDS = 300
SLOTS = 72
"""Six hours, in about 7 KB."""
STARTED = "started"
"""Count of a pass: tasks that ECS accepted within the last START_SECONDS and that still run."""
START_SECONDS = 60
FIGURES: Mapping[str, Sequence[str]] = {
    "active": ("session/", "/ACTIVE"),
    "warm": ("session/", "/WARM"),
    "coming": ("session/", "/QUEUED", "/STARTING"),
    "jobsRunning": ("invocation/", "/LAUNCHING/", "/LAUNCHED/", "/STARTED/"),
    "jobsWaiting": ("invocation/", "/ACCEPTED/", "/QUEUED/"),
    "starts": (STARTED,),
}
"""The figures of a point: the sum of the counts whose names have this prefix and suffix."""
ADDRESS = "address/"
"""Prefix of the buckets of waits for addresses."""
WAITS: Mapping[str, float] = {"addressP50": 0.5, "addressP99": 0.99}
"""Further figures of a point, in seconds; missing if nothing was counted."""


def point_of(counts: Mapping[str, int], now: float) -> dict[str, float]:
    """The point of a complete pass."""
    point: dict[str, float] = {"at": round(now, 3)}
    for name, (prefix, *parts) in FIGURES.items():
        point[name] = sum(_matching(counts, prefix, parts))
    for name, share in WAITS.items():
        if (seconds := percentile(counts, ADDRESS, share)) is not None:
            point[name] = seconds
    return point


def with_point(
    trend: Sequence[Mapping[str, float]], point: Mapping[str, float]
) -> tuple[Mapping[str, float], ...]:
    """The trend with one more point; the newest point within five minutes replaces the others."""
    slot = point["at"] // SLOT_SECONDS
    newest = slot - SLOTS
    kept = [one for one in trend if newest < one["at"] // SLOT_SECONDS < slot]
    return (*kept, point)


def _matching(counts: Mapping[str, int], prefix: str, parts: Sequence[str]) -> Iterator[int]:
    for name, count in counts.items():
        if name.startswith(prefix) and (not parts or any(_has(name, part) for part in parts)):
            yield count


def _has(name: str, part: str) -> bool:
    return part in name if part.endswith("/") else name.endswith(part)
