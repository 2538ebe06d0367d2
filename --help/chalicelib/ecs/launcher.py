"""Calls to ECS: run, stop, describe. Requests and answers are handled by pure modules beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.ecs.failures import (
    LaunchError,
    LaunchFailure,
    StopError,
    classify_error,
    classify_failures,
)
from chalicelib.ecs.task_changes import TaskChange, parse_task

HOST_GONE = "MISSING"
"""StartTask's reason for a deregistered container instance; another one may work."""
DESCRIBE_BATCH = 100
"""Maximum number of tasks of DescribeTasks."""
STALE_TOKEN = frozenset({"InvalidParameterException", "ClientException"})


class StaleTokenError(Exception):
    """A list of tasks cannot be continued because its token expired."""


NEXT_CLUSTER = "|"
"""Separator in tokens of `Launcher.page`, between the number of a cluster and ECS's token."""


class Launcher:
    """Runs, stops and describes tasks through a boto3 ECS client."""

    def __init__(self, ecs: Any, *clusters: str) -> None:
        """`clusters`: names; the first one is for tasks whose ARN has none."""
        self._ecs = ecs
        self._clusters = clusters

    def newest_definition(self, family: str) -> Mapping[str, Any]:
        """The newest active task definition of `family`. Raises LaunchError."""
        try:
            answer = self._ecs.describe_task_definition(taskDefinition=family)
        except ClientError as error:
            raise launch_error(error) from error
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.THROTTLED, str(error)) from error
        definition: Mapping[str, Any] = answer["taskDefinition"]
        return definition

    def run(self, request: Mapping[str, Any]) -> TaskChange:
        """Run one task and return it as ECS accepted it. Raises LaunchError.

        `request` is built by `chalicelib.ecs.requests.run_task_for`. An identical request returns
        the same task while ECS remembers its client token.
        """
        try:
            answer = self._ecs.run_task(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise launch_error(error) from error
            return self._adopt(error)
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.UNCERTAIN, str(error)) from error
        if not answer.get("tasks"):
            raise classify_failures(answer.get("failures", ()))
        return parse_task(answer["tasks"][0])

    def start(self, request: Mapping[str, Any], host: str) -> TaskChange:
        """Start one task on a container instance, by its id or ARN. Raises LaunchError.

        StartTask has no client token: each call that ECS receives starts a task.
        """
        try:
            answer = self._ecs.start_task(**request, containerInstances=[host])
        except ClientError as error:
            raise launch_error(error) from error
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.UNCERTAIN, str(error)) from error
        if not answer.get("tasks"):
            failures = answer.get("failures", ())
            if any(failure.get("reason") == HOST_GONE for failure in failures):
                raise LaunchError(LaunchFailure.CAPACITY, "the chosen host is gone")
            raise classify_failures(failures)
        return parse_task(answer["tasks"][0])

    def stop(self, task_arn: str, reason: str) -> None:
        """Stop a task: SIGTERM, later SIGKILL. No error if it does not exist.

        Raises StopError.
        """
        try:
            self._ecs.stop_task(
                cluster=self._cluster_of(task_arn), task=task_arn, reason=reason[:255]
            )
        except ClientError as error:
            if not _is_missing_task(error):
                raise StopError(str(error)) from error
        except BotoCoreError as error:
            raise StopError(str(error)) from error

    def describe(self, task_arns: Sequence[str]) -> dict[str, TaskChange]:
        """Describe tasks, in batches; those that ECS no longer has are missing from the result."""
        found = {}
        by_cluster: dict[str, list[str]] = {}
        for arn in task_arns:
            by_cluster.setdefault(self._cluster_of(arn), []).append(arn)
        for cluster, arns in by_cluster.items():
            for start in range(0, len(arns), DESCRIBE_BATCH):
                batch = arns[start : start + DESCRIBE_BATCH]
                answer = self._ecs.describe_tasks(cluster=cluster, tasks=batch)
                for task in answer["tasks"]:
                    change = parse_task(task)
                    found[change.task_arn] = change
        return found

    def page(self, token: str | None) -> tuple[list[TaskChange], str | None]:
        """Up to 100 tasks with desired status RUNNING, cluster by cluster, and the next page's
        token.

        Raises StaleTokenError for an expired token.
        """
        number, given = self._read_token(token)
        more = {} if given is None else {"nextToken": given}
        try:
            answer = self._ecs.list_tasks(
                cluster=self._clusters[number], desiredStatus="RUNNING", **more
            )
        except ClientError as error:
            if given is not None and error.response["Error"]["Code"] in STALE_TOKEN:
                raise StaleTokenError from error
            raise
        following = answer.get("nextToken")
        if following is None and number + 1 < len(self._clusters):
            number, following = number + 1, ""
        if following is not None:
            following = f"{number}{NEXT_CLUSTER}{following}"
        return list(self.describe(answer["taskArns"]).values()), following

    def started_by(self, mark: str) -> list[TaskChange]:
        """The tasks with this startedBy and desired status RUNNING; one page of each cluster, as
        there are few.
        """
        arns: list[str] = []
        for cluster in self._clusters:
            answer = self._ecs.list_tasks(cluster=cluster, desiredStatus="RUNNING", startedBy=mark)
            arns += answer["taskArns"]
        return list(self.describe(arns).values())

    def _read_token(self, token: str | None) -> tuple[int, str | None]:
        if token is None:
            return 0, None
        number, _, given = token.partition(NEXT_CLUSTER)
        if not number.isdecimal() or int(number) >= len(self._clusters):
            raise StaleTokenError  # from an earlier deployment
        return int(number), given or None

    def _cluster_of(self, task_arn: str) -> str:
        """The cluster in `arn:…:task/CLUSTER/ID`."""
        parts = task_arn.split("/")
        return parts[1] if len(parts) == 3 else self._clusters[0]

    def _adopt(self, error: ClientError) -> TaskChange:
        """The task that a ConflictException names: it was started with our client token.

        Raises LaunchError with UNCERTAIN if it cannot be described at the moment.
        """
        arns = [str(arn) for arn in error.response.get("resourceIds", ())]
        try:
            return next(iter(self.describe(arns).values()))
        except (StopIteration, BotoCoreError, ClientError) as trouble:
            detail = f"its token was used for a task that is not to be found: {arns} {trouble}"
            raise LaunchError(LaunchFailure.UNCERTAIN, detail) from error


def launch_error(error: ClientError) -> LaunchError:
    """Classify an error answer of ECS to a launch."""
    details = error.response["Error"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return classify_error(details["Code"], details.get("Message", ""), status)


def _is_missing_task(error: ClientError) -> bool:
    details = error.response["Error"]
    return (
        details["Code"] == "InvalidParameterException" and "not found" in details["Message"].lower()
    )
