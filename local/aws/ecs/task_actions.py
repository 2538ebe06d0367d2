"""Actions on tasks."""

from typing import Any

from local.aws.ecs.arns import id_in_cluster, name_of
from local.aws.ecs.clusters import Clusters
from local.aws.ecs.engine import Engine
from local.aws.ecs.errors import EcsApiError, invalid_parameter
from local.aws.ecs.model import Status, Task
from local.aws.ecs.paging import page
from local.aws.ecs.placement import Refusal
from local.aws.ecs.plans import plan
from local.aws.ecs.requests import read_request
from local.aws.ecs.shapes import show_task
from local.aws.ecs.task_definitions import TaskDefinitions

JsonObject = dict[str, Any]


class TaskActions:
    def __init__(self, engine: Engine, clusters: Clusters, definitions: TaskDefinitions) -> None:
        self._engine = engine
        self._clusters = clusters
        self._definitions = definitions
        self.actions = {
            "RunTask": self._run,
            "StartTask": self._start,
            "StopTask": self._stop,
            "DescribeTasks": self._describe,
            "ListTasks": self._list,
        }

    def _run(self, parameters: JsonObject) -> JsonObject:
        name = self._clusters.name(parameters)
        parameters = self._clusters.with_provider(name, parameters)
        if name != self._engine.cluster:
            raise invalid_parameter("No Container Instances were found in your cluster.")
        return self._begin(parameters, None)

    def _start(self, parameters: JsonObject) -> JsonObject:
        cluster = self._clusters.name(parameters)
        targets = parameters.get("containerInstances") or []
        if not 1 <= len(targets) <= 10:
            raise invalid_parameter("Container instances must have between 1 and 10 elements.")
        arns = [
            self._engine.arns.container_instance(cluster, id_in_cluster(target, cluster))
            for target in targets
        ]
        return self._begin(parameters, arns)

    def _begin(self, parameters: JsonObject, targets: list[str] | None) -> JsonObject:
        definition = self._definitions.find_active(parameters.get("taskDefinition", ""))
        request = read_request(parameters, definition)
        tasks, refusals = self._engine.run(
            request, plan(definition, request.overrides), targets=targets
        )
        return {
            "tasks": [show_task(task, with_tags=True) for task in tasks],
            "failures": [_show_refusal(refusal) for refusal in refusals],
        }

    def _stop(self, parameters: JsonObject) -> JsonObject:
        cluster = self._clusters.name(parameters)
        reason = parameters.get("reason") or "Task stopped by user"
        if len(reason) > 1024:
            raise invalid_parameter("reason must be at most 1024 characters.")
        task_id = id_in_cluster(parameters.get("task", ""), cluster)
        if cluster != self._engine.cluster:
            raise invalid_parameter("The referenced task was not found.")
        return {"task": show_task(self._engine.stop(task_id, reason))}

    def _describe(self, parameters: JsonObject) -> JsonObject:
        cluster = self._clusters.name(parameters)
        identifiers = parameters.get("tasks") or []
        if not identifiers:
            raise invalid_parameter("Tasks cannot be empty.")
        if len(identifiers) > 100:
            raise invalid_parameter("Tasks length must be at most 100.")
        with_tags = "TAGS" in (parameters.get("include") or ())
        shown, failures = [], []
        seen = {task.id: task for task in self._engine.seen_tasks()}
        for identifier in identifiers:
            task_id = id_in_cluster(identifier, cluster)
            task = seen.get(task_id)
            if task is None or task.cluster != cluster:
                arn = self._engine.arns.task(cluster, task_id)
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                shown.append(show_task(task, with_tags=with_tags))
        return {"tasks": shown, "failures": failures}

    def _list(self, parameters: JsonObject) -> JsonObject:
        cluster = self._clusters.name(parameters)
        _check_filters(parameters)
        if parameters.get("serviceName"):
            raise EcsApiError("ServiceNotFoundException", "Service not found.")
        desired = parameters.get("desiredStatus") or "RUNNING"
        if desired not in ("RUNNING", "PENDING", "STOPPED"):
            raise invalid_parameter(f"Invalid desiredStatus: {desired}")
        tasks = self._engine.seen_tasks() if cluster == self._engine.cluster else []
        found, token = page(
            (task for task in tasks if self._selects(parameters, task, cluster, desired)),
            lambda task: f"{task.sequence:012}",
            max_results=parameters.get("maxResults"),
            next_token=parameters.get("nextToken"),
        )
        reply: JsonObject = {"taskArns": [task.arn for task in found]}
        return reply if token is None else reply | {"nextToken": token}

    def _selects(self, parameters: JsonObject, task: Task, cluster: str, desired: str) -> bool:
        """DesiredStatus PENDING selects nothing: ECS never sets it."""
        family, instance = parameters.get("family"), parameters.get("containerInstance")
        started_by = parameters.get("startedBy")
        return (
            task.desired_status is Status(desired)
            and (not family or task.family == family)
            and (not started_by or task.started_by == started_by)
            and (
                not instance or name_of(task.instance_arn or "") == id_in_cluster(instance, cluster)
            )
            and parameters.get("launchType") in (None, task.launch_type)
        )


def _check_filters(parameters: JsonObject) -> None:
    """`startedBy` and `serviceName` cannot be combined with other filters.

    The reference says so for startedBy; the message is that of aws-sdk-go-v2's issue 1893 and
    boto3's issue 874. `desiredStatus` can be combined with it, as Airflow's operator does.
    """
    others = ("family", "containerInstance", "launchType", "serviceName", "startedBy")
    for name in ("startedBy", "serviceName"):
        if parameters.get(name) and any(parameters.get(o) for o in others if o != name):
            raise invalid_parameter(f"cannot specify {name} with other arguments")


def _show_refusal(refusal: Refusal) -> JsonObject:
    return {"arn": refusal.arn, "reason": refusal.reason}
