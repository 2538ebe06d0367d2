"""What an all-knowing planner would have needed: it knows when each session ends. Pure.

It may not move a live session. Sessions are put one by one, as they come, on the open host with
room that they keep open least longer, the fullest in time first; else on a new one. A host costs
from its first session to its last. Less is possible, as this is a heuristic: the best packing of
intervals is NP-hard.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

Interval = tuple[float, float]


@dataclass
class _Host:
    """One host: when it opened, until when it has to stay, and the ends of what runs on it."""

    opened_at: float
    closes_at: float
    ends: list[float] = field(default_factory=list)


def host_hours(sessions: Iterable[Interval], slots: int) -> float:
    """Host-hours for sessions of (start, end), `slots` on a host."""
    open_hosts: list[_Host] = []
    seconds = 0.0
    for start, end in sorted(sessions):
        still_open = []
        for host in open_hosts:
            while host.ends and host.ends[0] <= start:
                heappop(host.ends)
            if host.ends:
                still_open.append(host)
            else:
                seconds += host.closes_at - host.opened_at
        open_hosts = still_open
        free = [host for host in open_hosts if len(host.ends) < slots]
        if free:
            chosen = min(free, key=lambda one: _cost(one, end))
        else:
            chosen = _Host(start, end)
            open_hosts.append(chosen)
        heappush(chosen.ends, end)
        chosen.closes_at = max(chosen.closes_at, end)
    seconds += sum(host.closes_at - host.opened_at for host in open_hosts)
    return seconds / 3_600


def _cost(host: _Host, end: float) -> tuple[float, float]:
    """How much longer the host stays open for a session; then, how much of its time is unused."""
    return max(0.0, end - host.closes_at), max(0.0, host.closes_at - end)
