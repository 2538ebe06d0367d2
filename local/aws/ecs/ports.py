"""Host ports of tasks: from a range the machine does not use for outgoing connections, each one
checked to be free, none in use handed out twice, and the one freed last reused last.
"""

import random
import socket
from collections.abc import Callable
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_DEFAULT_RANGE = (49152, 65535)  # IANA's, which macOS uses


class NoPortError(Exception):
    """No host port is free, or not the requested one."""


def ephemeral_range() -> tuple[int, int]:
    """The first and the last port that the machine uses for outgoing connections."""
    try:
        first, last = _EPHEMERAL.read_text().split()
    except OSError:
        return _DEFAULT_RANGE
    return int(first), int(last)


def task_range(ephemeral: tuple[int, int]) -> range:
    """The longer of the two ranges beside the ephemeral one, above the well-known ports.

    Where the ephemeral range leaves no room of a thousand ports, it is shared: then only the
    check of each port protects against collisions.
    """
    below = range(_LOWEST, ephemeral[0])
    above = range(ephemeral[1] + 1, 65536)
    longer = max(below, above, key=len)
    return longer if len(longer) >= 1000 else range(20_000, 30_000)


def is_free(port: int, protocol: str) -> bool:
    """Whether a server could bind it now, on all addresses."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


class Ports:
    """The host ports of tasks. Not thread-safe."""

    def __init__(
        self, candidates: range, *, free: Callable[[int, str], bool] = is_free, start: int = 0
    ) -> None:
        """`start` is the place in the range to begin at."""
        self._candidates = candidates
        self._free = free
        self._next = start % len(candidates)
        self._taken: set[tuple[int, str]] = set()

    @classmethod
    def of_this_machine(cls) -> "Ports":
        """Begins at a random place, so that two engines on one machine hardly ever meet."""
        candidates = task_range(ephemeral_range())
        return cls(candidates, start=random.randrange(len(candidates)))

    def take(self, wanted: int, protocol: str) -> int:
        """`wanted`, or any free port if that is 0. Raises NoPortError."""
        if wanted:
            if (wanted, protocol) in self._taken or not self._free(wanted, protocol):
                raise NoPortError(wanted)
            self._taken.add((wanted, protocol))
            return wanted
        for _ in range(len(self._candidates)):
            port = self._candidates[self._next]
            self._next = (self._next + 1) % len(self._candidates)
            if (port, protocol) not in self._taken and self._free(port, protocol):
                self._taken.add((port, protocol))
                return port
        raise NoPortError

    def give_back(self, port: int, protocol: str) -> None:
        self._taken.discard((port, protocol))
