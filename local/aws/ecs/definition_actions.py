"""Actions on task definitions."""

from collections.abc import Callable
from typing import Any

from local.aws.ecs.errors import invalid_parameter
from local.aws.ecs.paging import page
from local.aws.ecs.shapes import show_tags
from local.aws.ecs.task_definitions import TaskDefinition, TaskDefinitions

JsonObject = dict[str, Any]


class DefinitionActions:
    def __init__(self, definitions: TaskDefinitions, clock: Callable[[], float]) -> None:
        self._definitions = definitions
        self._clock = clock
        self.actions = {
            "RegisterTaskDefinition": self._register,
            "DeregisterTaskDefinition": self._deregister,
            "DescribeTaskDefinition": self._describe,
            "ListTaskDefinitions": self._list,
            "ListTaskDefinitionFamilies": self._list_families,
        }

    def _register(self, parameters: JsonObject) -> JsonObject:
        return _reply(self._definitions.register(parameters, self._clock()), with_tags=True)

    def _deregister(self, parameters: JsonObject) -> JsonObject:
        identifier = parameters.get("taskDefinition", "")
        definition = self._definitions.deregister(identifier, self._clock())
        return {"taskDefinition": definition.show()}

    def _describe(self, parameters: JsonObject) -> JsonObject:
        definition = self._definitions.find(parameters.get("taskDefinition", ""))
        return _reply(definition, with_tags="TAGS" in (parameters.get("include") or ()))

    def _list(self, parameters: JsonObject) -> JsonObject:
        status = parameters.get("status", "ACTIVE")
        if status not in ("ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"):
            raise invalid_parameter(f"Invalid status: {status}")
        chosen = (
            []
            if status == "DELETE_IN_PROGRESS"
            else self._definitions.select(parameters.get("familyPrefix"), active=status == "ACTIVE")
        )
        shown, token = page(
            chosen,
            lambda definition: f"{definition.family}:{definition.revision:09}",
            max_results=parameters.get("maxResults"),
            next_token=parameters.get("nextToken"),
            descending=parameters.get("sort") == "DESC",
        )
        return _with_token({"taskDefinitionArns": [d.arn for d in shown]}, token)

    def _list_families(self, parameters: JsonObject) -> JsonObject:
        families, token = page(
            self._definitions.families(
                parameters.get("familyPrefix") or "", parameters.get("status") or "ALL"
            ),
            lambda family: family,
            max_results=parameters.get("maxResults"),
            next_token=parameters.get("nextToken"),
        )
        return _with_token({"families": families}, token)


def _reply(definition: TaskDefinition, *, with_tags: bool) -> JsonObject:
    reply: JsonObject = {"taskDefinition": definition.show()}
    if with_tags:
        reply["tags"] = show_tags(definition.tags)
    return reply


def _with_token(reply: JsonObject, token: str | None) -> JsonObject:
    return reply if token is None else reply | {"nextToken": token}
