"""The names of ECS's resources.

Long format: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html
"""

from dataclasses import dataclass

from local.aws.ecs.errors import invalid_parameter


@dataclass(frozen=True)
class Arns:
    """Builds and reads ARNs of one account in one region."""

    region: str
    account: str

    def cluster(self, name: str) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:cluster/{name}"

    def task(self, cluster: str, task_id: str) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:task/{cluster}/{task_id}"

    def container(self, cluster: str, task_id: str, container_id: str) -> str:
        path = f"{cluster}/{task_id}/{container_id}"
        return f"arn:aws:ecs:{self.region}:{self.account}:container/{path}"

    def container_instance(self, cluster: str, instance_id: str) -> str:
        path = f"{cluster}/{instance_id}"
        return f"arn:aws:ecs:{self.region}:{self.account}:container-instance/{path}"

    def capacity_provider(self, name: str) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:capacity-provider/{name}"

    def auto_scaling_group(self, name: str) -> str:
        head = f"arn:aws:autoscaling:{self.region}:{self.account}:autoScalingGroup"
        return f"{head}:00000000-0000-0000-0000-000000000000:autoScalingGroupName/{name}"

    def task_definition(self, family: str, revision: int) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:task-definition/{family}:{revision}"


def name_of(identifier: str) -> str:
    """The last part of an ARN, or the identifier itself if it is no ARN."""
    return identifier.rpartition("/")[2] if identifier.startswith("arn:") else identifier


def id_in_cluster(identifier: str, cluster: str) -> str:
    """The id in a task's or container instance's ARN or short name.

    Raises InvalidParameterException when the ARN belongs to another cluster.
    """
    if not identifier.startswith("arn:"):
        return identifier
    parts = identifier.split("/")
    if len(parts) == 3 and parts[1] != cluster:
        raise invalid_parameter(
            f"Invalid identifier: Identifier is for cluster {parts[1]}. Your cluster is {cluster}"
        )
    return parts[-1]
