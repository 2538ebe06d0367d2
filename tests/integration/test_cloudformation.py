"""The merged template on CloudFormation of ministack: what it creates, and what it lacks.

AWS itself takes what is refused there; the lists stand in docs/verified.md with their reasons.
"""

import io
import json
import re
import zipfile

import pytest

from local.aws.provision import read_plan
from tests.emulators import client, serve_ministack
from tests.integration.conftest import ROOT, wait_until
from tests.needs import needs_ministack
from tests.unit.infra.conftest import merged, templates, translated  # noqa: F401 - fixtures

PARAMETERS = {
    "Stage": "dev",
    "SessionUrlTemplate": "wss://{id}.example.com{path}",
    "AuthMode": "none",
}
UNKNOWN_TYPES = {
    "AWS::EC2::SecurityGroupIngress",
    "AWS::ECS::CapacityProvider",
    "AWS::ECS::ClusterCapacityProviderAssociations",
}
METRIC_MATH = (
    "AWS::CloudWatch::Alarm Properties.Metrics (metric math) is not supported; "
    "use MetricName and Namespace."
)
REFUSED = dict.fromkeys(
    (
        "BreakerOpenAlarm",
        "JobBreakerOpenAlarm",
        "PoolEmptyAlarm",
        "FunctionErrorsAlarm",
        "FunctionThrottlesAlarm",
    ),
    METRIC_MATH,
)
TRIES = 40


@pytest.fixture(scope="module")
def url():
    with serve_ministack() as url:
        s3 = client("s3", url)
        s3.create_bucket(Bucket="bucket")
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("app.py", "app = None")
        s3.put_object(Bucket="bucket", Key="code", Body=package.getvalue())
        yield url


def without(template, names):
    """The template without some resources; what refers to one gets its name instead."""

    def kept(value):
        if isinstance(value, dict):
            if value.get("Ref") in names:
                return value["Ref"]
            return {key: kept(part) for key, part in value.items() if not depends(key, part)}
        return [kept(part) for part in value] if isinstance(value, list) else value

    def depends(key, part):
        return key == "DependsOn" and bool(names & ({part} if isinstance(part, str) else {*part}))

    resources = {n: kept(r) for n, r in template["Resources"].items() if n not in names}
    outputs = kept(template.get("Outputs", {}))
    return {**template, "Resources": resources, "Outputs": outputs}


def create(url, template):
    """Create the stack; None, or the resource that is refused and why."""
    client("s3", url).put_object(Bucket="bucket", Key="sam", Body=json.dumps(template).encode())
    formation = client("cloudformation", url)
    formation.create_stack(
        StackName="usher-dev",
        TemplateURL=f"{url}/bucket/sam",
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in PARAMETERS.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
        OnFailure="DO_NOTHING",
    )

    def ended():
        (stack,) = formation.describe_stacks(StackName="usher-dev")["Stacks"]
        return stack if not stack["StackStatus"].endswith("IN_PROGRESS") else None

    stack = wait_until(ended, 60, "the end of the creation")
    if stack["StackStatus"] == "CREATE_COMPLETE":
        return None
    reason = stack["StackStatusReason"]
    found = re.fullmatch(r"Resource (\w+) failed: (.*)", reason, re.DOTALL)
    assert found, reason
    formation.delete_stack(StackName="usher-dev")
    return found.groups()


@needs_ministack
def test_the_types_that_ministack_does_not_know(url, translated):  # noqa: F811
    with pytest.raises(Exception, match="Unrecognized resource types") as caught:
        create(url, translated)
    (listed,) = re.findall(r"\[(.*)\]", str(caught.value))
    assert set(listed.split(", ")) == UNKNOWN_TYPES


@needs_ministack
def test_all_else_is_created_but_for_what_ministack_lacks(url, translated):  # noqa: F811
    unknown = {n for n, r in translated["Resources"].items() if r["Type"] in UNKNOWN_TYPES}
    template, refused = without(translated, unknown), {}
    for _ in range(TRIES):
        found = create(url, template)
        if found is None:
            break
        refused[found[0]] = found[1]
        template = without(template, {found[0]})
    assert refused == REFUSED
    formation = client("cloudformation", url)
    made = formation.describe_stack_resources(StackName="usher-dev")["StackResources"]
    assert {resource["ResourceStatus"] for resource in made} == {"CREATE_COMPLETE"}
    unconditional = {n for n, r in template["Resources"].items() if "Condition" not in r}
    assert unconditional <= {resource["LogicalResourceId"] for resource in made}
    check_tables(url)


def check_tables(url):
    """The tables are those that the embedded cloud builds from the same template."""
    dynamodb = client("dynamodb", url)
    plan = read_plan(ROOT / "infra" / "template.yaml", {"Stage": "dev"}, "us-east-1", "dev")
    wanted = [call.arguments for call in plan if call.operation == "create_table"]
    assert wanted
    for arguments in wanted:
        table = dynamodb.describe_table(TableName=arguments["TableName"])["Table"]
        assert table["KeySchema"] == arguments["KeySchema"]
        assert indexes(table) == indexes(arguments)


def indexes(table):
    return {
        index["IndexName"]: (index["KeySchema"], index["Projection"]["ProjectionType"])
        for index in table.get("GlobalSecondaryIndexes", ())
    }
