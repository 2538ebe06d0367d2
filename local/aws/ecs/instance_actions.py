"""Actions on container instances."""

from typing import Any

from local.aws.ecs.arns import id_in_cluster
from local.aws.ecs.clusters import Clusters
from local.aws.ecs.engine import Engine
from local.aws.ecs.errors import invalid_parameter, unsupported
from local.aws.ecs.paging import page
from local.aws.ecs.placement import Instance
from local.aws.ecs.shapes import show_instance

JsonObject = dict[str, Any]


class InstanceActions:
    def __init__(self, engine: Engine, clusters: Clusters) -> None:
        self._engine = engine
        self._clusters = clusters
        self.actions = {
            "ListContainerInstances": self._list,
            "DescribeContainerInstances": self._describe,
            "UpdateContainerInstancesState": self._update_state,
        }

    def _list(self, parameters: JsonObject) -> JsonObject:
        cluster = self._clusters.name(parameters)
        if parameters.get("filter"):
            raise unsupported("The local engine lists container instances without a filter.")
        status = parameters.get("status")
        wanted = (status,) if status else ("ACTIVE", "DRAINING")
        instances = self._engine.instances() if cluster == self._engine.cluster else []
        found, token = page(
            (instance for instance in instances if instance.status in wanted),
            lambda instance: instance.arn,
            max_results=parameters.get("maxResults"),
            next_token=parameters.get("nextToken"),
        )
        reply: JsonObject = {"containerInstanceArns": [instance.arn for instance in found]}
        return reply if token is None else reply | {"nextToken": token}

    def _describe(self, parameters: JsonObject) -> JsonObject:
        found, failures = self._find(parameters, limit=100)
        with_tags = "TAGS" in (parameters.get("include") or ())
        return {
            "containerInstances": [show_instance(i, with_tags=with_tags) for i in found],
            "failures": failures,
        }

    def _update_state(self, parameters: JsonObject) -> JsonObject:
        status = parameters.get("status")
        if status not in ("ACTIVE", "DRAINING"):
            raise invalid_parameter("Container instance status must be ACTIVE or DRAINING.")
        found, failures = self._find(parameters, limit=10)
        changed = []
        for instance in found:
            if instance.status == "INACTIVE":
                failures.append({"arn": instance.arn, "reason": "INACTIVE"})
            else:
                after = self._engine.change_instance(instance.arn, status=status)
                changed.append(show_instance(after))
        return {"containerInstances": changed, "failures": failures}

    def _find(
        self, parameters: JsonObject, *, limit: int
    ) -> tuple[list[Instance], list[dict[str, str]]]:
        cluster = self._clusters.name(parameters)
        identifiers = parameters.get("containerInstances") or []
        if not 1 <= len(identifiers) <= limit:
            raise invalid_parameter(f"1 to {limit} container instances must be named.")
        found, failures = [], []
        for identifier in identifiers:
            arn = self._engine.arns.container_instance(cluster, id_in_cluster(identifier, cluster))
            instance = self._engine.find_instance(arn)
            if instance is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(instance)
        return found, failures
