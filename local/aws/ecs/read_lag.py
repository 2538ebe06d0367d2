"""The time for which ListTasks and DescribeTasks do not show a new task.

Source: RunTask, API reference of ECS: "The Amazon ECS API follows an eventual consistency model"; a
task may not be visible at once to the commands that follow.
"""

import random
from dataclasses import dataclass

from local.aws.ecs.model import Task


@dataclass(frozen=True)
class ReadLag:
    """Up to `max_seconds`, at random by `seed`; without one, each task lags by the maximum."""

    max_seconds: float = 0.0
    seed: int | None = None

    def of(self, task: Task) -> float:
        """In seconds from the task's creation; constant for a task."""
        if self.seed is None:
            return self.max_seconds
        return random.Random(f"{self.seed} {task.sequence}").uniform(0.0, self.max_seconds)


AT_ONCE = ReadLag()
