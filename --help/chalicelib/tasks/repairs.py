"""Repairs of the sweep for tasks of ECS, whatever kind of record refers to them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chalicelib.ecs.task_changes import TaskChange


@dataclass(frozen=True)
class Observe:
    """Apply the state of the task in ECS: its event was lost or has not arrived."""

    task: TaskChange


@dataclass(frozen=True)
class StopOrphan:
    """Stop a task that no record refers to."""

    task: TaskChange


def repair_of(
    action: Observe | StopOrphan, on_task_change: Callable[[TaskChange], bool]
) -> Callable[[], object]:
    """The function that performs a repair, for a `Step`. `on_task_change` returns whether it
    stopped an orphan: one that was none is not counted as such.
    """
    if isinstance(action, StopOrphan):
        return partial(on_task_change, action.task)

    def observe() -> None:
        on_task_change(action.task)

    return observe
