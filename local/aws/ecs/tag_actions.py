"""Tags of tasks, task definitions, container instances and clusters."""

from typing import Any

from local.aws.ecs.arns import name_of
from local.aws.ecs.clusters import Cluster, Clusters
from local.aws.ecs.engine import Engine
from local.aws.ecs.errors import invalid_parameter
from local.aws.ecs.model import Task
from local.aws.ecs.placement import Instance
from local.aws.ecs.shapes import read_tags, show_tags
from local.aws.ecs.task_definitions import TaskDefinition, TaskDefinitions

JsonObject = dict[str, Any]
Tags = tuple[tuple[str, str], ...]


class TagActions:
    def __init__(self, engine: Engine, clusters: Clusters, definitions: TaskDefinitions) -> None:
        self._engine = engine
        self._clusters = clusters
        self._definitions = definitions
        self.actions = {
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list,
        }

    def _tag(self, parameters: JsonObject) -> JsonObject:
        arn = parameters.get("resourceArn", "")
        after = dict(self._read(arn)) | dict(read_tags(parameters.get("tags")))
        if len(after) > 50:
            raise invalid_parameter("A resource may have at most 50 tags.")
        self._write(arn, tuple(after.items()))
        return {}

    def _untag(self, parameters: JsonObject) -> JsonObject:
        arn = parameters.get("resourceArn", "")
        gone = parameters.get("tagKeys") or []
        self._write(arn, tuple(tag for tag in self._read(arn) if tag[0] not in gone))
        return {}

    def _list(self, parameters: JsonObject) -> JsonObject:
        return {"tags": show_tags(self._read(parameters.get("resourceArn", "")))}

    def _read(self, arn: str) -> Tags:
        found: Task | Instance | TaskDefinition | Cluster | None = None
        match _kind(arn):
            case "task":
                found = self._engine.find_task(name_of(arn))
            case "container-instance":
                found = self._engine.find_instance(arn)
            case "task-definition":
                found = self._definitions.find(arn)
            case "cluster":
                found = self._clusters.find(name_of(arn))
        if found is None:
            raise invalid_parameter("The specified resource was not found.")
        return found.tags

    def _write(self, arn: str, tags: Tags) -> None:
        match _kind(arn):
            case "task":
                self._engine.tag_task(name_of(arn), tags)
            case "container-instance":
                self._engine.change_instance(arn, tags=tags)
            case "task-definition":
                self._definitions.tag(arn, tags)
            case "cluster":
                self._clusters.tag(name_of(arn), tags)


def _kind(arn: str) -> str:
    """`task`, `task-definition`, ...; empty for what is no ARN."""
    parts = arn.split(":", maxsplit=5)
    return parts[5].partition("/")[0] if len(parts) == 6 else ""
