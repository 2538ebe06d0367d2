"""The hosts of a cluster, as ECS knows them: calls only, what they answer is read in `hosts`."""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.ecs.hosts import Host, parse_host
from chalicelib.ecs.launcher import DESCRIBE_BATCH, STALE_TOKEN
from chalicelib.ecs.task_changes import TaskChange, parse_task
from chalicelib.errors import BadRequestError, NotFoundError

UPDATE_BATCH = 10
"""UpdateContainerInstancesState takes at most this many hosts."""


class Cluster:
    """Looks at the container instances of one cluster through a boto3 ECS client.

    ECS takes 20 such calls a second for the whole account: a page costs two, a host three.
    """

    def __init__(self, ecs: Any, cluster: str) -> None:
        self._ecs = ecs
        self._cluster = cluster

    def page(self, limit: int, token: str | None) -> tuple[list[Host], str | None]:
        """A page of hosts that are active or draining, and the token of the next one.

        Raises BadRequestError for a token that ECS does not know.
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
        """The hosts of these ids or ARNs that there are, at most 100 of them."""
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
        """The tasks on a host that are meant to run, at most 100."""
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
        """Make hosts ACTIVE or DRAINING. Those that are gone or register still are left out."""
        for start in range(0, len(hosts), UPDATE_BATCH):
            self._ecs.update_container_instances_state(
                cluster=self._cluster,
                containerInstances=list(hosts[start : start + UPDATE_BATCH]),
                status=status,
            )
