"""The sweep: look at all tasks once, and let each room compare its records with them and repair.

One failed action does not stop the rest: actions are independent, and the next sweep tries again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from chalicelib.ecs.launcher import Launcher
from chalicelib.ecs.task_changes import TaskChange

Step = tuple[str, Callable[[], object]]
"""What is done, in a word, and the doing of it."""

_log = logging.getLogger("usher.sweep")


class Look(Protocol):
    """What one room saw of its own records."""

    @property
    def task_arns(self) -> Sequence[str]:
        """Tasks that its records have."""

    def steps(self, tasks: Mapping[str, TaskChange], taken: Counter[str]) -> Iterator[Step]:
        """What to do, given all tasks by ARN. `taken` counts what was done so far."""


class Room(Protocol):
    """Something that has tasks."""

    def look(self) -> Look:
        """Read all live records."""


class Sweep:
    """Compares records with tasks and repairs both."""

    def __init__(self, launcher: Launcher, rooms: Sequence[Room]) -> None:
        self._launcher = launcher
        self._rooms = rooms

    def run(self) -> dict[str, int]:
        """Sweep once. Returns how many actions of each kind were taken, `failed` among them."""
        # Records first: what is recorded after this look is too young for its task to be missed,
        # and a task seen without a record among these is looked up again before it is stopped.
        taken: Counter[str] = Counter()
        looks: list[Look] = []
        for room in self._rooms:
            try:
                looks.append(room.look())
            except Exception:  # noqa: BLE001 - rooms are independent as well
                _log.exception("sweep: one room cannot be looked at")
                taken["failed"] += 1
        tasks = {task.task_arn: task for task in self._launcher.running()}
        missing = [arn for look in looks for arn in look.task_arns if arn not in tasks]
        tasks |= self._launcher.describe(missing)
        for look in looks:
            of_this_room: Counter[str] = Counter()
            for name, step in look.steps(tasks, of_this_room):
                _attempt(of_this_room, name, step)
            taken += of_this_room
        if taken:
            _log.info("sweep: %s", dict(taken))
        return dict(taken)


def _attempt(taken: Counter[str], name: str, step: Callable[[], object]) -> None:
    try:
        step()
        taken[name] += 1
    except Exception:  # noqa: BLE001 - actions are independent, the next sweep tries again
        _log.exception("sweep: %s failed", name)
        taken["failed"] += 1
