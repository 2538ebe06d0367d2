"""The actions and resources of an AWS API call, with its condition keys. Pure.

From the service authorization reference, one page a service:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
An action without a resource type in the reference has the resource `*`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.aws.kinesis.errors import KinesisError
from local.aws.kinesis.iterators import ShardIterator
from local.aws.kinesis.listing import read_token
from local.aws.sts import StsError, request_context, session_tags


@dataclass(frozen=True)
class Access:
    """One action on one resource that a principal must be allowed."""

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Condition keys in lower case; a key that is missing is not part of the request."""


@dataclass(frozen=True)
class Asked:
    """One call: its parameters, account and region."""

    action: str
    parameters: Mapping[str, Any]
    region: str
    account: str
    task_definition: Callable[[str], Mapping[str, Any] | None]
    """The registered definition of a name or ARN; None if it does not exist."""
    group_of_instance: Callable[[str], str] = lambda _: "none"
    """The Auto Scaling group of an instance, which the call does not name."""

    def arn(self, service: str, resource: str) -> str:
        """An ARN of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def __getitem__(self, name: str) -> Any:
        return self.parameters.get(name)


def accesses(service: str, asked: Asked) -> list[Access]:
    """All accesses that the call needs. `service` is boto3's name."""
    of_service = _SERVICES.get(service)
    found = of_service(asked) if of_service else None
    return found if found is not None else [Access(f"{service}:{asked.action}", "*")]


# DynamoDB: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html

_OF_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "ConditionCheck": "ConditionCheckItem",
}
"""A transaction is no action: each of its operations needs its own.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html"""


def _dynamodb(asked: Asked) -> list[Access] | None:
    if asked.action in {"TransactWriteItems", "TransactGetItems"}:
        return [
            Access(f"dynamodb:{_OF_TRANSACTION[kind]}", _table(asked, operation["TableName"]))
            for item in asked["TransactItems"] or []
            for kind, operation in item.items()
            if kind in _OF_TRANSACTION
        ]
    action = f"dynamodb:{asked.action}"
    if asked.action in {"BatchGetItem", "BatchWriteItem"}:
        return [Access(action, _table(asked, name)) for name in asked["RequestItems"] or {}]
    name = asked["TableName"]
    if not isinstance(name, str):
        return None
    index = asked["IndexName"]
    return [Access(action, _table(asked, name) + (f"/index/{index}" if index else ""))]


def _table(asked: Asked, name: str) -> str:
    return name if name.startswith("arn:") else asked.arn("dynamodb", f"table/{name}")


# SQS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html


def _sqs(asked: Asked) -> list[Access] | None:
    name = asked["QueueName"] or str(asked["QueueUrl"] or "").rstrip("/").rpartition("/")[2]
    if not name:
        return None
    action = asked.action.removesuffix("Batch")  # a batch is not a separate action
    return [Access(f"sqs:{action}", asked.arn("sqs", name))]


# ECS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html


def _ecs(asked: Asked) -> list[Access] | None:
    of_action = _ECS.get(asked.action)
    return of_action(asked) if of_action else None


def _cluster(asked: Asked) -> str:
    name = asked["cluster"] or "default"
    return name if name.startswith("arn:") else asked.arn("ecs", f"cluster/{name}")


def _in_cluster(asked: Asked) -> dict[str, tuple[str, ...]]:
    return {"ecs:cluster": (_cluster(asked),)}


def _ecs_arn(asked: Asked, kind: str, name: str) -> str:
    cluster = _cluster(asked).rpartition("/")[2]
    return name if name.startswith("arn:") else asked.arn("ecs", f"{kind}/{cluster}/{name}")


def _run_task(asked: Asked) -> list[Access]:
    name = str(asked["taskDefinition"] or "")
    definition = asked.task_definition(name) or {}
    arn = str(definition.get("taskDefinitionArn") or asked.arn("ecs", f"task-definition/{name}"))
    found = [Access(f"ecs:{asked.action}", arn, _in_cluster(asked))]
    overrides = asked["overrides"] or {}
    roles = [
        overrides.get(role) or definition.get(role) for role in ("taskRoleArn", "executionRoleArn")
    ]
    tasks = asked.arn("ecs", f"task/{_cluster(asked).rpartition('/')[2]}/*")
    return found + _tags(asked, tasks) + _passed(roles, "ecs-tasks.amazonaws.com")


def _register(asked: Asked) -> list[Access]:
    containers = asked["containerDefinitions"] or []
    privileged = any(container.get("privileged") for container in containers)
    context: dict[str, tuple[str, ...]] = {"ecs:privileged": (str(privileged).lower(),)}
    for key, value in {"ecs:task-cpu": asked["cpu"], "ecs:task-memory": asked["memory"]}.items():
        if value:
            context[key] = (str(value),)
    arn = asked.arn("ecs", f"task-definition/{asked['family']}:*")
    roles = [asked["taskRoleArn"], asked["executionRoleArn"]]
    return [
        Access("ecs:RegisterTaskDefinition", arn, context),
        *_tags(asked, arn),
        *_passed(roles, "ecs-tasks.amazonaws.com"),
    ]


def _tags(asked: Asked, arn: str) -> list[Access]:
    """Tags at creation need a separate right.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
    """
    if not asked["tags"]:
        return []
    return [Access("ecs:TagResource", arn, {"ecs:createaction": (asked.action,)})]


def _passed(roles: list[Any], service: str) -> list[Access]:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html"""
    context = {"iam:passedtoservice": (service,)}
    return [Access("iam:PassRole", str(role), context) for role in roles if role]


def _on_tasks(asked: Asked) -> list[Access]:
    names = asked["tasks"] or ([asked["task"]] if asked["task"] else [])
    return [
        Access(f"ecs:{asked.action}", _ecs_arn(asked, "task", name), _in_cluster(asked))
        for name in names
    ]


def _on_instances(asked: Asked) -> list[Access]:
    return [
        Access(
            f"ecs:{asked.action}", _ecs_arn(asked, "container-instance", name), _in_cluster(asked)
        )
        for name in asked["containerInstances"] or []
    ]


def _on_instance(asked: Asked) -> list[Access]:
    """The agent's calls that name their host."""
    name = asked["containerInstance"] or "*"
    arn = _ecs_arn(asked, "container-instance", str(name))
    return [Access(f"ecs:{asked.action}", arn, _in_cluster(asked))]


def _list_tasks(asked: Asked) -> list[Access]:
    instance = asked["containerInstance"]
    arn = _ecs_arn(asked, "container-instance", instance) if instance else "*"
    return [Access("ecs:ListTasks", arn, _in_cluster(asked))]


def _on_cluster(asked: Asked) -> list[Access]:
    return [Access(f"ecs:{asked.action}", _cluster(asked))]


def _on_clusters(asked: Asked) -> list[Access]:
    names = asked["clusters"] or ["default"]
    return [
        Access(
            f"ecs:{asked.action}",
            name if name.startswith("arn:") else asked.arn("ecs", f"cluster/{name}"),
        )
        for name in names
    ]


_ECS: Mapping[str, Callable[[Asked], list[Access]]] = {
    "RunTask": _run_task,
    "StartTask": _run_task,
    "RegisterTaskDefinition": _register,
    "StopTask": _on_tasks,
    "DescribeTasks": _on_tasks,
    "ListTasks": _list_tasks,
    "DescribeContainerInstances": _on_instances,
    "UpdateContainerInstancesState": _on_instances,
    "ListContainerInstances": _on_cluster,
    "DescribeClusters": _on_clusters,
    "RegisterContainerInstance": _on_cluster,
    "DeregisterContainerInstance": _on_cluster,
    "SubmitTaskStateChange": _on_cluster,
    "SubmitContainerStateChange": _on_cluster,
    "SubmitAttachmentStateChanges": _on_cluster,
    "Poll": _on_instance,
    "StartTelemetrySession": _on_instance,
}


# Kinesis: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonkinesisdatastreams.html


def _kinesis(asked: Asked) -> list[Access] | None:
    if isinstance(asked["StreamARN"], str):
        return [Access(f"kinesis:{asked.action}", asked["StreamARN"])]
    try:
        name = _stream(asked)
    except KinesisError:
        return None  # what the service refuses in a moment names no stream
    if not name:
        return None
    return [Access(f"kinesis:{asked.action}", asked.arn("kinesis", f"stream/{name}"))]


def _stream(asked: Asked) -> str | None:
    if asked["ShardIterator"]:
        return ShardIterator.parse(asked["ShardIterator"]).stream
    if asked.action == "ListShards" and asked["NextToken"]:
        return read_token(asked["NextToken"])[0]
    name: str | None = asked["StreamName"]
    return name


# CloudWatch Logs, Scheduler, Secrets Manager:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridgescheduler.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html


def _logs(asked: Asked) -> list[Access] | None:
    group = asked["logGroupName"]
    if not group:
        return None
    stream = asked["logStreamName"]
    resource = f"log-group:{group}:" + (f"log-stream:{stream}" if stream else "*")
    return [Access(f"logs:{asked.action}", asked.arn("logs", resource))]


def _scheduler(asked: Asked) -> list[Access] | None:
    name = asked["Name"]
    if not name or not asked.action.endswith("Schedule"):
        return None
    group = asked["GroupName"] or "default"
    found = [
        Access(f"scheduler:{asked.action}", asked.arn("scheduler", f"schedule/{group}/{name}"))
    ]
    role = (asked["Target"] or {}).get("RoleArn")
    return found + _passed([role], "scheduler.amazonaws.com")


def _secrets(asked: Asked) -> list[Access] | None:
    secret = asked["SecretId"]
    if not secret:
        return None
    # The ARN of a secret ends in a hyphen and six characters that its name has not.
    arn = (
        secret
        if secret.startswith("arn:")
        else asked.arn("secretsmanager", f"secret:{secret}-??????")
    )
    return [Access(f"secretsmanager:{asked.action}", arn)]


# S3: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html


def _s3(asked: Asked) -> list[Access] | None:
    bucket, key = asked["Bucket"], asked["Key"]
    if not bucket:
        return None
    if not key:
        action = {"ListObjectsV2": "ListBucket", "HeadBucket": "ListBucket"}
        name = action.get(asked.action, asked.action)
        return [Access(f"s3:{name}", f"arn:aws:s3:::{bucket}")]
    action_of_object = {"HeadObject": "GetObject"}.get(asked.action, asked.action)
    return [Access(f"s3:{action_of_object}", f"arn:aws:s3:::{bucket}/{key}")]


# STS: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html


def _sts(asked: Asked) -> list[Access] | None:
    if asked.action != "AssumeRole":
        return None
    try:
        tags = session_tags(asked.parameters)
    except StsError:
        return None  # what the service refuses in a moment
    arn = str(asked["RoleArn"])
    context = request_context(tags, str(asked["RoleSessionName"]))
    actions = ["sts:AssumeRole", *(["sts:TagSession"] if tags else [])]
    return [Access(action, arn, context) for action in actions]


# Auto Scaling:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html


def _auto_scaling(asked: Asked) -> list[Access] | None:
    if asked.action.startswith("Describe"):
        return None  # no resource type
    name = asked["AutoScalingGroupName"] or asked.group_of_instance(str(asked["InstanceId"]))
    group = f"autoScalingGroup:00000000-0000-0000-0000-000000000000:autoScalingGroupName/{name}"
    return [Access(f"autoscaling:{asked.action}", asked.arn("autoscaling", group))]


_SERVICES: Mapping[str, Callable[[Asked], list[Access] | None]] = {
    "sts": _sts,
    "s3": _s3,
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "ecs": _ecs,
    "kinesis": _kinesis,
    "logs": _logs,
    "scheduler": _scheduler,
    "secretsmanager": _secrets,
    "autoscaling": _auto_scaling,
}
