"""The ECS API over the engine: parameters in, the reply's JSON out, errors as boto3 knows them.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Operations.html
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from local.aws.ecs.arns import name_of
from local.aws.ecs.buckets import Buckets, Limits
from local.aws.ecs.clusters import Clusters
from local.aws.ecs.definition_actions import DefinitionActions
from local.aws.ecs.engine import Engine
from local.aws.ecs.errors import EcsApiError, throttled
from local.aws.ecs.instance_actions import InstanceActions
from local.aws.ecs.tag_actions import TagActions
from local.aws.ecs.task_actions import TaskActions
from local.aws.ecs.task_definitions import TaskDefinitions

Action = Callable[[dict[str, Any]], dict[str, Any]]

__all__ = ["EcsApi", "EcsApiError", "Limits"]


class EcsApi:
    """Thread-safe. `limits` are the request rates; `monotonic` is their clock."""

    def __init__(
        self,
        engine: Engine,
        *,
        others: Sequence[Engine] = (),
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`others` have a cluster each: calls that name it go to them."""
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._buckets = Buckets(limits or Limits(), monotonic())
        definitions = TaskDefinitions(engine.arns, engine.health_interval_floor_seconds)
        clusters = Clusters(engine)
        self._actions = {
            **clusters.actions,
            **DefinitionActions(definitions, engine.clock).actions,
            **TaskActions(engine, clusters, definitions).actions,
            **InstanceActions(engine, clusters).actions,
            **TagActions(engine, clusters, definitions).actions,
        }
        self._of_others = {other.cluster: _of_cluster(other, definitions) for other in others}

    @property
    def actions(self) -> frozenset[str]:
        """The names of the actions it knows."""
        return frozenset(self._actions)

    def task_definition(self, name: str) -> dict[str, Any] | None:
        """A registered definition by family, revision or ARN, for other parts of this cloud: not
        counted against rate limits. None if it does not exist.
        """
        with self._lock:
            try:
                answer = self._actions["DescribeTaskDefinition"]({"taskDefinition": name})
            except EcsApiError:
                return None
        found: dict[str, Any] = answer["taskDefinition"]
        return found

    def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer one request. Raises EcsApiError; its `body()` is the error reply."""
        name = name_of(str(parameters.get("cluster") or ""))
        perform = self._of_others.get(name, {}).get(action) or self._actions.get(action)
        if perform is None:
            known = ", ".join(sorted(self._actions))
            raise EcsApiError(
                "UnknownOperationException",
                f"The local engine does not know {action}; it knows {known}.",
            )
        with self._lock:
            if not self._buckets.admit(action, self._monotonic()):
                raise throttled()
            return perform(parameters)


def _of_cluster(engine: Engine, definitions: TaskDefinitions) -> dict[str, Action]:
    """The actions of another cluster: all that name it."""
    clusters = Clusters(engine)
    tasks = TaskActions(engine, clusters, definitions)
    return {**clusters.actions, **tasks.actions, **InstanceActions(engine, clusters).actions}
