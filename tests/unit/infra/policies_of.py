"""Every policy of a template, with the ARNs that CloudFormation would fill in.

`parliament` reads finished JSON, so references are replaced by ARNs of the right form.
"""

from collections.abc import Iterator
from typing import Any

ACCOUNT, REGION = "123456789012", "eu-west-1"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "Stage": "dev",
    "Cluster": "usher-dev",
    "GradersCluster": "usher-dev-graders",
    "GradersVpc": "vpc-0123456789abcdef0",
    "GraderApiEndpoint": "vpce-0123456789abcdef0",
}
ARN = {
    "AWS::DynamoDB::Table": "dynamodb:{r}:{a}:table/usher-dev-{n}",
    "AWS::Kinesis::Stream": "kinesis:{r}:{a}:stream/usher-dev-{n}",
    "AWS::Logs::LogGroup": "logs:{r}:{a}:log-group:/usher/dev/{n}:*",
    "AWS::S3::Bucket": "s3:::usher-dev-{n}",
    "AWS::SQS::Queue": "sqs:{r}:{a}:usher-dev-{n}",
    "AWS::SecretsManager::Secret": "secretsmanager:{r}:{a}:secret:usher-dev-{n}-AbCdEf",
}
"""Values of `Fn::GetAtt: [X, Arn]` (of a secret: `Ref`), by the resource's type."""

PARAMETERS = {
    "MoreStreamArns": [f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/other"],
    "RouterKeyArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:router-AbCdEf",
}

Policy = tuple[str, dict[str, Any]]
"""The resource with the policy, and the document."""


def policies_of(template: dict[str, Any]) -> Iterator[Policy]:
    """Policies of roles (rights and trust), and those of queues and buckets."""
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::IAM::Role":
            trust = resolve(properties["AssumeRolePolicyDocument"], template)
            yield f"{name}.trust", _about(f"arn:aws:iam::{ACCOUNT}:role/{name}", trust)
            for policy in properties.get("Policies", ()):
                yield (
                    f"{name}.{resolve(policy['PolicyName'], template)}",
                    resolve(policy["PolicyDocument"], template),
                )
        elif "PolicyDocument" in properties:
            yield name, resolve(properties["PolicyDocument"], template)


def _about(role: str, trust: dict[str, Any]) -> dict[str, Any]:
    """A trust policy with the resource that it leaves out, because it is attached to it."""
    return trust | {"Statement": [{**each, "Resource": role} for each in trust["Statement"]]}


def resolve(node: Any, template: dict[str, Any]) -> Any:
    """`node` without intrinsic functions; every condition of the template counts as true."""
    if isinstance(node, list):
        return [resolve(part, template) for part in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        ((function, argument),) = node.items()
        if function == "Ref":
            return _ref(argument, template)
        if function == "Fn::GetAtt":
            return _arn(argument[0], template)
        if function == "Fn::If":
            return resolve(argument[1], template)
        if function == "Fn::Sub":
            return _sub(argument, template)
    return {key: resolve(value, template) for key, value in node.items()}


def _ref(name: str, template: dict[str, Any]) -> Any:
    if name in PSEUDO:
        return PSEUDO[name]
    return PARAMETERS[name] if name in PARAMETERS else _arn(name, template)


def _sub(text: str, template: dict[str, Any]) -> str:
    for name, value in PSEUDO.items():
        text = text.replace(f"${{{name}}}", value)
    for name in template["Resources"]:
        if f"${{{name}.Arn}}" in text:
            text = text.replace(f"${{{name}.Arn}}", _arn(name, template))
    assert "${" not in text, text
    return text


def _arn(name: str, template: dict[str, Any]) -> str:
    kind = template["Resources"][name]["Type"]
    if kind == "AWS::ECS::Cluster":
        return f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{PSEUDO[name]}"
    return "arn:aws:" + ARN[kind].format(r=REGION, a=ACCOUNT, n=name.lower())
