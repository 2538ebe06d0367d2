"""Creates the resources of infra/template.yaml: the same tables, queues, streams and cluster.

First a plan (pure: a list of AWS calls), then its execution with plain boto3. A resource or
property that is neither supported here nor known to exist on AWS only is an error, so that the
template cannot contain anything that tests silently ignore.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.template import Place, Resolver, TemplateError, load_template

ACCOUNT = "123456789012"

ONLY_ON_AWS = (
    "AWS::ApiGateway::",
    "AWS::ApplicationAutoScaling::",
    "AWS::AutoScaling::",
    "AWS::CertificateManager::",
    "AWS::CloudWatch::",
    "AWS::EC2::",
    "AWS::ECR::",
    "AWS::ECS::CapacityProvider",
    "AWS::ECS::ClusterCapacityProviderAssociations",
    "AWS::ECS::Service",
    "AWS::ECS::TaskDefinition",  # registered from the apps file, on AWS too
    "AWS::ElastiCache::",
    "AWS::ElasticLoadBalancingV2::",
    "AWS::Events::",  # the functions' own rules are found on the Chalice app
    "AWS::IAM::",
    "AWS::KMS::",
    "AWS::Lambda::",
    "AWS::Logs::",
    "AWS::Route53::",
    "AWS::Route53Resolver::",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::",
    "AWS::SQS::QueuePolicy",
    "AWS::SSM::",
    "AWS::Serverless::",
)
"""Types that mean nothing on a laptop: the machines, rights, networks and alarms around it all."""


@dataclass(frozen=True)
class AwsCall:
    """One call of a boto3 client: `client(service).operation(**arguments)`."""

    service: str
    operation: str
    arguments: Mapping[str, Any]


def plan(template: Mapping[str, Any], parameters: Mapping[str, Any], place: Place) -> list[AwsCall]:
    """The calls that build the template's resources, each after those it refers to.

    Raises TemplateError.
    """
    return _Plan(template, parameters, place).calls()


class _Plan:
    def __init__(
        self, template: Mapping[str, Any], parameters: Mapping[str, Any], place: Place
    ) -> None:
        self._resources: Mapping[str, Any] = template["Resources"]
        self._place = place
        self._resolver = Resolver(template, parameters, place, self._attribute)
        self._calls: list[AwsCall] = []
        self._done: set[str] = set()

    def calls(self) -> list[AwsCall]:
        for logical in self._resources:
            self._build(logical)
        return self._calls

    def _build(self, logical: str) -> None:
        resource = self._resources[logical]
        kind = resource["Type"]
        if logical in self._done or kind.startswith(ONLY_ON_AWS):
            return
        self._done.add(logical)
        if not self._resolver.exists(resource):
            return
        if kind not in _KINDS:
            raise TemplateError(f"{logical}: {kind} is neither built here nor known as AWS only")
        try:
            # Resolving creates the referenced resources, so they precede this one in the list.
            properties = self._resolver.value(resource.get("Properties", {}))
            properties.setdefault(_KINDS[kind].name, self._name(logical))
            if kind == "AWS::S3::Bucket":
                properties["Region"] = self._place.region
            self._calls += _KINDS[kind].calls(properties)
        except TemplateError as error:
            raise TemplateError(f"{logical}: {error}") from error

    def _name(self, logical: str) -> str:
        resource = self._resources[logical]
        key = _KINDS[resource["Type"]].name
        written = resource.get("Properties", {}).get(key)
        return str(self._resolver.value(written)) if written else f"{self._place.stack}-{logical}"

    def _attribute(self, logical: str, attribute: str | None) -> str:
        resource = self._resources.get(logical)
        if resource is None or resource["Type"] not in _KINDS:
            raise TemplateError(f"{logical}.{attribute or 'Ref'} is not known here")
        self._build(logical)
        kind = _KINDS[resource["Type"]]
        name = self._name(logical)
        arn = kind.arn.format(region=self._place.region, account=self._place.account, name=name)
        if attribute is None:
            return kind.ref(name, arn)
        if attribute == "Arn":
            return arn
        if attribute == kind.name:
            return name
        raise TemplateError(f"{logical}.{attribute} is not known here")


def _only(properties: Mapping[str, Any], built: set[str], ignored: set[str]) -> dict[str, Any]:
    """The properties that are built; the ignored ones change nothing that a program can see."""
    unknown = set(properties) - built - ignored
    if unknown:
        raise TemplateError(f"properties not built here: {', '.join(sorted(unknown))}")
    return {key: value for key, value in properties.items() if key in built}


def _table(properties: dict[str, Any]) -> list[AwsCall]:
    time_to_live = properties.pop("TimeToLiveSpecification", None)
    arguments = _only(
        properties,
        {
            "TableName",
            "AttributeDefinitions",
            "KeySchema",
            "BillingMode",
            "GlobalSecondaryIndexes",
            "LocalSecondaryIndexes",
            "ProvisionedThroughput",
            "StreamSpecification",
        },
        {
            "PointInTimeRecoverySpecification",
            "SSESpecification",
            "DeletionProtectionEnabled",
            "OnDemandThroughput",
            "Tags",
        },
    )
    if "StreamSpecification" in arguments:
        arguments["StreamSpecification"] |= {"StreamEnabled": True}
    calls = [AwsCall("dynamodb", "create_table", arguments)]
    if time_to_live:
        calls.append(
            AwsCall(
                "dynamodb",
                "update_time_to_live",
                {"TableName": arguments["TableName"], "TimeToLiveSpecification": time_to_live},
            )
        )
    return calls


def _queue(properties: dict[str, Any]) -> list[AwsCall]:
    attributes = _only(
        properties,
        {
            "QueueName",
            "ContentBasedDeduplication",
            "DelaySeconds",
            "FifoQueue",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "ReceiveMessageWaitTimeSeconds",
            "RedrivePolicy",
            "VisibilityTimeout",
        },
        {"KmsMasterKeyId", "SqsManagedSseEnabled", "RedriveAllowPolicy", "Tags"},
    )
    name = attributes.pop("QueueName")
    texts = {
        key: json.dumps(value) if isinstance(value, dict | bool) else str(value)
        for key, value in attributes.items()
    }
    return [AwsCall("sqs", "create_queue", {"QueueName": name, "Attributes": texts})]


def _stream(properties: dict[str, Any]) -> list[AwsCall]:
    arguments = _only(
        properties,
        {"Name", "ShardCount", "StreamModeDetails", "RetentionPeriodHours"},
        {"StreamEncryption", "Tags"},
    )
    name = arguments.pop("Name")
    hours = arguments.pop("RetentionPeriodHours", 24)
    if "ShardCount" in arguments:
        arguments["ShardCount"] = int(arguments["ShardCount"])
    arguments = {"StreamName": name} | arguments
    calls = [AwsCall("kinesis", "create_stream", arguments)]
    if int(hours) > 24:
        retention = {"StreamName": name, "RetentionPeriodHours": int(hours)}
        calls.append(AwsCall("kinesis", "increase_stream_retention_period", retention))
    return calls


def _cluster(properties: dict[str, Any]) -> list[AwsCall]:
    arguments = _only(
        properties,
        {"ClusterName"},
        {"CapacityProviders", "ClusterSettings", "DefaultCapacityProviderStrategy", "Tags"},
    )
    return [AwsCall("ecs", "create_cluster", {"clusterName": arguments["ClusterName"]})]


def _bucket(properties: dict[str, Any]) -> list[AwsCall]:
    arguments = _only(
        properties,
        {"BucketName", "Region"},
        {
            "BucketEncryption",
            "LifecycleConfiguration",  # nothing lives as long as that on a laptop
            "OwnershipControls",
            "PublicAccessBlockConfiguration",
            "Tags",
        },
    )
    created: dict[str, Any] = {"Bucket": arguments["BucketName"]}
    if arguments["Region"] != "us-east-1":  # which is no LocationConstraint
        place = {"LocationConstraint": arguments["Region"]}
        created["CreateBucketConfiguration"] = place
    return [AwsCall("s3", "create_bucket", created)]


def _schedule_group(properties: dict[str, Any]) -> list[AwsCall]:
    arguments = _only(properties, {"Name"}, {"Tags"})
    return [AwsCall("scheduler", "create_schedule_group", arguments)]


@dataclass(frozen=True)
class _Kind:
    name: str
    """The property that names it."""
    arn: str
    calls: Callable[[dict[str, Any]], list[AwsCall]]
    ref: Callable[[str, str], str] = lambda name, _: name
    """The result of Ref, from name and ARN."""


_KINDS = {
    "AWS::DynamoDB::Table": _Kind(
        "TableName", "arn:aws:dynamodb:{region}:{account}:table/{name}", _table
    ),
    "AWS::SQS::Queue": _Kind("QueueName", "arn:aws:sqs:{region}:{account}:{name}", _queue),
    "AWS::Kinesis::Stream": _Kind(
        "Name", "arn:aws:kinesis:{region}:{account}:stream/{name}", _stream
    ),
    "AWS::ECS::Cluster": _Kind(
        "ClusterName", "arn:aws:ecs:{region}:{account}:cluster/{name}", _cluster
    ),
    "AWS::S3::Bucket": _Kind("BucketName", "arn:aws:s3:::{name}", _bucket),
    "AWS::Scheduler::ScheduleGroup": _Kind(
        "Name", "arn:aws:scheduler:{region}:{account}:schedule-group/{name}", _schedule_group
    ),
}


def read_plan(path: Path, parameters: Mapping[str, Any], region: str, stage: str) -> list[AwsCall]:
    """The plan of the template at `path`. Raises TemplateError, OSError."""
    template = load_template(path.read_text(encoding="utf-8"))
    return plan(template, parameters, Place(region, ACCOUNT, f"usher-{stage}"))


def task_definition_calls(
    stage: str, apps_file: Path | None, feed_url: str = "", *, log_region: str | None = None
) -> list[AwsCall]:
    """One RegisterTaskDefinition for each app; `feed_url` is its containers' feed unless the app
    has another one. `log_region`: their output goes to log streams there; to plain files without
    it. Raises chalicelib's ConfigurationError.
    """
    from chalicelib.config import load_apps
    from chalicelib.ecs.task_definitions import log_configuration, task_definition_for

    role = f"arn:aws:iam::{ACCOUNT}:role/usher-{stage}-session"
    calls = []
    for app in load_apps(apps_file).by_name.values():
        request = task_definition_for(app, stage=stage, task_role_arn=role, feed_url=feed_url)
        if log_region is not None:
            (container,) = request["containerDefinitions"]
            group = f"/usher/{stage}/sessions"
            container["logConfiguration"] = log_configuration(group, log_region, app.name)
        calls.append(AwsCall("ecs", "register_task_definition", request))
    return calls


def execute(calls: Sequence[AwsCall], client: Callable[[str], Any]) -> None:
    """Make the calls, in order."""
    for call in calls:
        getattr(client(call.service), call.operation)(**call.arguments)
