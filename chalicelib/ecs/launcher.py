"""The calls to ECS: run, stop, look. What is built and read is in the modules beside it, purely."""

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

DESCRIBE_BATCH = 100
"""DescribeTasks takes at most this many tasks."""
STALE_TOKEN = frozenset({"InvalidParameterException", "ClientException"})


class StaleTokenError(Exception):
    """A list of tasks cannot be continued: its token is too old."""


class Launcher:
    """Runs and stops tasks of one cluster through a boto3 ECS client."""

    def __init__(self, ecs: Any, cluster: str) -> None:
        self._ecs = ecs
        self._cluster = cluster

    def newest_definition(self, family: str) -> Mapping[str, Any]:
        """The newest active task definition of `family`. Raises LaunchError."""
        try:
            answer = self._ecs.describe_task_definition(taskDefinition=family)
        except ClientError as error:
            raise _launch_error(error) from error
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.THROTTLED, str(error)) from error
        definition: Mapping[str, Any] = answer["taskDefinition"]
        return definition

    def run(self, request: Mapping[str, Any]) -> TaskChange:
        """Run one task and return it as ECS accepted it. Raises LaunchError.

        `request` is what `chalicelib.ecs.requests.run_task_for` builds. Repeating the same request
        gives the same task, as long as ECS remembers its token.
        """
        try:
            answer = self._ecs.run_task(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise _launch_error(error) from error
            return self._adopt(error)
        except BotoCoreError as error:
            raise LaunchError(LaunchFailure.UNCERTAIN, str(error)) from error
        if not answer.get("tasks"):
            raise classify_failures(answer.get("failures", ()))
        return parse_task(answer["tasks"][0])

    def stop(self, task_arn: str, reason: str) -> None:
        """Ask ECS to stop a task: SIGTERM, later SIGKILL. A task that is gone is no error.

        Raises StopError.
        """
        try:
            self._ecs.stop_task(cluster=self._cluster, task=task_arn, reason=reason[:255])
        except ClientError as error:
            if not _is_missing_task(error):
                raise StopError(str(error)) from error
        except BotoCoreError as error:
            raise StopError(str(error)) from error

    def describe(self, task_arns: Sequence[str]) -> dict[str, TaskChange]:
        """Look at tasks, in batches; those ECS has forgotten are absent from the answer."""
        found = {}
        for start in range(0, len(task_arns), DESCRIBE_BATCH):
            batch = list(task_arns[start : start + DESCRIBE_BATCH])
            answer = self._ecs.describe_tasks(cluster=self._cluster, tasks=batch)
            for task in answer["tasks"]:
                change = parse_task(task)
                found[change.task_arn] = change
        return found

    def page(self, token: str | None) -> tuple[list[TaskChange], str | None]:
        """Up to 100 tasks of the cluster that are meant to run, and the token of the next page.

        Raises StaleTokenError for a token that ECS does not know any more.
        """
        more = {} if token is None else {"nextToken": token}
        try:
            answer = self._ecs.list_tasks(cluster=self._cluster, desiredStatus="RUNNING", **more)
        except ClientError as error:
            if token is not None and error.response["Error"]["Code"] in STALE_TOKEN:
                raise StaleTokenError from error
            raise
        return list(self.describe(answer["taskArns"]).values()), answer.get("nextToken")

    def started_by(self, mark: str) -> list[TaskChange]:
        """The tasks with this startedBy that are meant to run; one page, as there are few."""
        answer = self._ecs.list_tasks(
            cluster=self._cluster, desiredStatus="RUNNING", startedBy=mark
        )
        return list(self.describe(answer["taskArns"]).values())

    def _adopt(self, error: ClientError) -> TaskChange:
        """The task that a ConflictException names: the token was used, so it is ours already.

        Raises LaunchError, UNCERTAIN, where it is not to be found at the moment.
        """
        arns = [str(arn) for arn in error.response.get("resourceIds", ())]
        try:
            return next(iter(self.describe(arns).values()))
        except (StopIteration, BotoCoreError, ClientError) as trouble:
            detail = f"its token was used for a task that is not to be found: {arns} {trouble}"
            raise LaunchError(LaunchFailure.UNCERTAIN, detail) from error


def _launch_error(error: ClientError) -> LaunchError:
    details = error.response["Error"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return classify_error(details["Code"], details.get("Message", ""), status)


def _is_missing_task(error: ClientError) -> bool:
    details = error.response["Error"]
    return (
        details["Code"] == "InvalidParameterException" and "not found" in details["Message"].lower()
    )
