"""Clusters, and the actions on them. The hosts belong to one cluster; others may exist, empty."""

from dataclasses import dataclass, replace
from typing import Any

from local.aws.ecs.arns import name_of
from local.aws.ecs.engine import Engine
from local.aws.ecs.errors import EcsApiError, cluster_not_found
from local.aws.ecs.model import Status
from local.aws.ecs.shapes import read_tags, show_tags

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    name: str
    tags: tuple[tuple[str, str], ...] = ()
    settings: tuple[JsonObject, ...] = ()
    capacity_providers: tuple[str, ...] = ()


class Clusters:
    """Not thread-safe. The engine's own cluster is there from the beginning."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clusters = {engine.cluster: Cluster(engine.cluster)}
        self.actions = {
            "CreateCluster": self._create,
            "DeleteCluster": self._delete,
            "DescribeClusters": self._describe,
            "ListClusters": self._list,
        }

    def name(self, parameters: JsonObject) -> str:
        """The name of the cluster that a request is about. Raises ClusterNotFoundException."""
        name = name_of(parameters.get("cluster") or "default")
        if name not in self._clusters:
            raise cluster_not_found()
        return name

    def find(self, name: str) -> Cluster | None:
        return self._clusters.get(name)

    def tag(self, name: str, tags: tuple[tuple[str, str], ...]) -> None:
        self._clusters[name] = replace(self._clusters[name], tags=tags)

    def _create(self, parameters: JsonObject) -> JsonObject:
        name = parameters.get("clusterName") or "default"
        if name not in self._clusters:
            self._clusters[name] = Cluster(
                name,
                read_tags(parameters.get("tags")),
                tuple(parameters.get("settings") or ()),
                tuple(parameters.get("capacityProviders") or ()),
            )
        return {"cluster": self._show(self._clusters[name])}

    def _delete(self, parameters: JsonObject) -> JsonObject:
        name = self.name(parameters)
        if name == self._engine.cluster:
            raise EcsApiError(
                "ClusterContainsContainerInstancesException",
                "The Cluster cannot be deleted while Container Instances are active or draining.",
            )
        return {"cluster": self._show(self._clusters.pop(name)) | {"status": "INACTIVE"}}

    def _describe(self, parameters: JsonObject) -> JsonObject:
        shown, failures = [], []
        for identifier in parameters.get("clusters") or ["default"]:
            cluster = self._clusters.get(name_of(identifier))
            if cluster is None:
                arn = self._engine.arns.cluster(name_of(identifier))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                shown.append(self._show(cluster))
        return {"clusters": shown, "failures": failures}

    def _list(self, _parameters: JsonObject) -> JsonObject:
        return {"clusterArns": [self._engine.arns.cluster(name) for name in self._clusters]}

    def _show(self, cluster: Cluster) -> JsonObject:
        ours = cluster.name == self._engine.cluster
        tasks = self._engine.tasks() if ours else []
        instances = self._engine.instances() if ours else []
        running = sum(task.last_status is Status.RUNNING for task in tasks)
        pending = sum(task.last_status in (Status.PROVISIONING, Status.PENDING) for task in tasks)
        return {
            "clusterArn": self._engine.arns.cluster(cluster.name),
            "clusterName": cluster.name,
            "status": "ACTIVE",
            "registeredContainerInstancesCount": sum(i.status != "INACTIVE" for i in instances),
            "runningTasksCount": running,
            "pendingTasksCount": pending,
            "activeServicesCount": 0,
            "statistics": [],
            "tags": show_tags(cluster.tags),
            "settings": list(cluster.settings),
            "capacityProviders": list(cluster.capacity_providers),
            "defaultCapacityProviderStrategy": [],
        }
