"""The roles of tasks: the override of their request, or the role of their task definition."""

from collections.abc import Callable, Sequence

from local.aws.ecs.api import EcsApi
from local.aws.ecs.engine import Engine
from local.aws.ecs.model import Task
from local.aws.iam.principals import task_key


def role_of_live_task(engines: Sequence[Engine], ecs: EcsApi, task_id: str) -> str | None:
    """The ARN of a task's role; None for a task that has ended, or has no role."""
    task = next(filter(None, (engine.find_task(task_id) for engine in engines)), None)
    if task is None or task.is_stopped:
        return None
    return _role_of(ecs, task)


def _role_of(ecs: EcsApi, task: Task) -> str | None:
    definition = ecs.task_definition(task.definition_arn) or {}
    role = task.overrides.get("taskRoleArn") or definition.get("taskRoleArn")
    return str(role) if role else None


def roles_by_key(engines: Sequence[Engine], ecs: EcsApi) -> Callable[[str], str | None]:
    """The role of the task that was given an access key; credentials outlive their task."""
    known: dict[str, str | None] = {}

    def role_of(key: str) -> str | None:
        if key not in known:
            tasks = [task for engine in engines for task in engine.tasks()]
            known.update({task_key(task.id): _role_of(ecs, task) for task in tasks})
        return known.get(key)

    return role_of
