"""The hosts of a cluster in ECS: calls only; `hosts` parses the answers."""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.ecs.hosts import Host, parse_host
from chalicelib.ecs.launcher import DESCRIBE_BATCH, STALE_TOKEN
from chalicelib.ecs.task_changes import TaskChange, parse_task
from chalicelib.errors import BadRequestError, NotFoundError

UPDATE_BATCH = 10
"""Maximum number of hosts of UpdateContainerInstancesState."""


class Cluster:
    """Reads the container instances of one cluster through a boto3 ECS client.

    ECS accepts 20 such calls a second for the account: a page takes two, a host three.
    """

    def __init__(self, ecs: Any, cluster: str) -> None:
        self._ecs = ecs
        self._cluster = cluster

    def page(self, limit: int, token: str | None) -> tuple[list[Host], str | None]:
        """A page of active or draining hosts, and the token of the next page.

        Raises BadRequestError for an invalid token.
        """
        more = {} if token is None else {"nextToken": token}
        try:
            answer = self._ecs.list_container_instances(
                cluster=self._cluster, maxResults=limit, **more
            )
        except ClientError as error:
            if token is not None and error.response["Error"]["Code"] in STALE_TOKEN:
                raise BadRequestError("next: as the page before said, within minutes") from error
            raise
        return self.describe(answer["containerInstanceArns"]), answer.get("nextToken")

    def describe(self, hosts: Sequence[str]) -> list[Host]:
        """The existing hosts of these ids or ARNs, at most 100."""
        if not hosts:
            return []
        answer = self._ecs.describe_container_instances(
            cluster=self._cluster, containerInstances=list(hosts[:DESCRIBE_BATCH])
        )
        return [parse_host(instance) for instance in answer["containerInstances"]]

    def get(self, host_id: str) -> Host:
        """One host. Raises NotFoundError."""
        found = self.describe([host_id])
        if not found or found[0].status == "INACTIVE":
            raise NotFoundError("no such host")
        return found[0]

    def tasks_on(self, host_id: str) -> list[TaskChange]:
        """The tasks on a host whose desired status is RUNNING, at most 100."""
        answer = self._ecs.list_tasks(
            cluster=self._cluster, containerInstance=host_id, desiredStatus="RUNNING"
        )
        if not answer["taskArns"]:
            return []
        tasks = self._ecs.describe_tasks(cluster=self._cluster, tasks=answer["taskArns"])
        return [parse_task(task) for task in tasks["tasks"]]

    def arn_of(self, host_id: str) -> str:
        """The ARN of a host. Raises NotFoundError."""
        return self.get(host_id).arn

    def set_status(self, hosts: Sequence[str], status: str) -> None:
        """Set hosts to ACTIVE or DRAINING. Those that are gone or still register are skipped."""
        for start in range(0, len(hosts), UPDATE_BATCH):
            self._ecs.update_container_instances_state(
                cluster=self._cluster,
                containerInstances=list(hosts[start : start + UPDATE_BATCH]),
                status=status,
            )
