"""Clusters, and the actions on them. The hosts belong to one cluster; others may exist without
hosts.
"""

from dataclasses import dataclass, replace
from typing import Any

from local.aws.ecs.arns import name_of
from local.aws.ecs.engine import Engine
from local.aws.ecs.errors import EcsApiError, cluster_not_found, invalid_parameter
from local.aws.ecs.model import Status
from local.aws.ecs.providers import FARGATE
from local.aws.ecs.shapes import read_tags, show_tags

JsonObject = dict[str, Any]

PENDING = (Status.PROVISIONING, Status.PENDING)
NOT_ASSOCIATED = (
    "The specified capacity provider strategy cannot contain a capacity provider that is not "
    "associated with the cluster. Associate the capacity provider with the cluster and try again."
)


@dataclass(frozen=True)
class Cluster:
    name: str
    tags: tuple[tuple[str, str], ...] = ()
    settings: tuple[JsonObject, ...] = ()
    capacity_providers: tuple[str, ...] = ()
    default_strategy: tuple[JsonObject, ...] = ()


class Clusters:
    """The clusters of the account. The engine's own one exists from the beginning. Not
    thread-safe.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        ours = (*engine.providers, *(FARGATE if engine.fargate else ()))
        self._clusters = {engine.cluster: Cluster(engine.cluster, capacity_providers=ours)}
        self.actions = {
            "CreateCluster": self._create,
            "DeleteCluster": self._delete,
            "DescribeClusters": self._describe,
            "ListClusters": self._list,
            "PutClusterCapacityProviders": self._put_providers,
            "DescribeCapacityProviders": self._describe_providers,
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

    def with_provider(self, name: str, parameters: JsonObject) -> JsonObject:
        """RunTask's parameters with the cluster's default strategy, if they name nothing else.

        Raises InvalidParameterException for a provider that the cluster does not have.
        """
        cluster = self._clusters[name]
        strategy = parameters.get("capacityProviderStrategy")
        if not strategy:
            if parameters.get("launchType") or not cluster.default_strategy:
                return parameters
            return parameters | {"capacityProviderStrategy": list(cluster.default_strategy)}
        for item in strategy:
            if item.get("capacityProvider") not in cluster.capacity_providers:
                raise invalid_parameter(NOT_ASSOCIATED)
        return parameters

    def _known(self, provider: str) -> bool:
        return provider in self._engine.providers or provider in FARGATE

    def _check_providers(self, providers: list[str], strategy: list[JsonObject]) -> None:
        for provider in providers:
            if not self._known(provider):
                raise invalid_parameter(
                    f"The specified capacity provider '{provider}' was not found."
                )
        if any(item.get("capacityProvider") not in providers for item in strategy):
            raise invalid_parameter(NOT_ASSOCIATED)

    def _put_providers(self, parameters: JsonObject) -> JsonObject:
        name = self.name(parameters)
        providers = list(parameters.get("capacityProviders") or ())
        strategy = list(parameters.get("defaultCapacityProviderStrategy") or ())
        self._check_providers(providers, strategy)
        in_use = {t.capacity_provider for t in self._engine.tasks() if not t.is_stopped}
        dropped = set(self._clusters[name].capacity_providers) - set(providers)
        if name == self._engine.cluster and dropped & in_use:
            raise EcsApiError(
                "ResourceInUseException",
                "The specified capacity provider is in use and cannot be removed.",
            )
        self._clusters[name] = replace(
            self._clusters[name],
            capacity_providers=tuple(providers),
            default_strategy=tuple(strategy),
        )
        return {"cluster": self._show(self._clusters[name])}

    def _describe_providers(self, parameters: JsonObject) -> JsonObject:
        wanted = parameters.get("capacityProviders") or [*self._engine.providers, *FARGATE]
        names = [name_of(identifier) for identifier in wanted]
        return {
            "capacityProviders": [self._show_provider(n) for n in names if self._known(n)],
            "failures": [
                {"arn": self._engine.arns.capacity_provider(n), "reason": "MISSING"}
                for n in names
                if not self._known(n)
            ],
        }

    def _show_provider(self, name: str) -> JsonObject:
        shown: JsonObject = {
            "capacityProviderArn": self._engine.arns.capacity_provider(name),
            "name": name,
            "status": "ACTIVE",
            "tags": [],
        }
        provider = self._engine.providers.get(name)
        if provider is not None:
            status = "ENABLED" if provider.managed_scaling else "DISABLED"
            shown["autoScalingGroupProvider"] = {
                "autoScalingGroupArn": self._engine.arns.auto_scaling_group(name),
                "managedScaling": {"status": status, "targetCapacity": 100},
                "managedTerminationProtection": status,
            }
        return shown

    def _create(self, parameters: JsonObject) -> JsonObject:
        name = parameters.get("clusterName") or "default"
        if name not in self._clusters:
            providers = list(parameters.get("capacityProviders") or ())
            strategy = list(parameters.get("defaultCapacityProviderStrategy") or ())
            self._check_providers(providers, strategy)
            self._clusters[name] = Cluster(
                name,
                read_tags(parameters.get("tags")),
                tuple(parameters.get("settings") or ()),
                tuple(providers),
                tuple(strategy),
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
        with_statistics = "STATISTICS" in (parameters.get("include") or ())
        for identifier in parameters.get("clusters") or ["default"]:
            cluster = self._clusters.get(name_of(identifier))
            if cluster is None:
                arn = self._engine.arns.cluster(name_of(identifier))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                statistics = self._statistics(cluster) if with_statistics else []
                shown.append(self._show(cluster) | {"statistics": statistics})
        return {"clusters": shown, "failures": failures}

    def _list(self, _parameters: JsonObject) -> JsonObject:
        return {"clusterArns": [self._engine.arns.cluster(name) for name in self._clusters]}

    def _statistics(self, cluster: Cluster) -> list[JsonObject]:
        """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html"""
        tasks = self._engine.tasks() if cluster.name == self._engine.cluster else []
        counts: dict[str, int] = {}
        for kind, launch_type in (("EC2", "EC2"), ("Fargate", "FARGATE")):
            of_kind = [task for task in tasks if task.launch_type == launch_type]
            running = sum(task.last_status is Status.RUNNING for task in of_kind)
            counts[("running" if kind == "EC2" else "Running") + f"{kind}TasksCount"] = running
            counts[f"pending{kind}TasksCount"] = sum(
                task.last_status in PENDING for task in of_kind
            )
            counts[f"active{kind}ServiceCount"] = 0
            counts[f"draining{kind}ServiceCount"] = 0
        return [{"name": name, "value": str(value)} for name, value in counts.items()]

    def _show(self, cluster: Cluster) -> JsonObject:
        ours = cluster.name == self._engine.cluster
        tasks = self._engine.tasks() if ours else []
        instances = self._engine.instances() if ours else []
        running = sum(task.last_status is Status.RUNNING for task in tasks)
        pending = sum(task.last_status in PENDING for task in tasks)
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
            "defaultCapacityProviderStrategy": list(cluster.default_strategy),
        }
