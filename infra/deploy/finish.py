"""What Chalice packaged, completed for AWS: places and networks it has no settings for. Pure."""

import copy
from collections.abc import Mapping
from typing import Any

from chalicelib.contract.fanout import RELAY_USER, SESSION_USER

FUNCTION = "AWS::Serverless::Function"
INSIDE_THE_VPC = ("RelayRecords", "KeepFeedWhole")
"""Functions that talk to Valkey, which has no address outside."""


def finish(template: Mapping[str, Any], *, code: str, architecture: str) -> dict[str, Any]:
    """The template to deploy. `code` is the s3:// URL of the package."""
    finished = copy.deepcopy(dict(template))
    resources = finished["Resources"]
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == FUNCTION:
            properties["CodeUri"] = code
            properties["Architectures"] = [architecture]
            if name in INSIDE_THE_VPC:
                properties["VpcConfig"] = _inside(resources)
                properties["Environment"]["Variables"] |= _relay_settings()
        elif resource["Type"] == "AWS::IAM::Role":
            properties["Policies"] = _here_only(properties.get("Policies", []))
    if INSIDE_THE_VPC[0] in resources:
        resources["RelayErrorsAlarm"] = _relay_alarm(resources["FunctionErrorsAlarm"])
    return finished


def _relay_alarm(of_others: Mapping[str, Any]) -> dict[str, Any]:
    """The alarm on errors, for the functions that a fan-out feed alone has."""
    alarm: dict[str, Any] = copy.deepcopy(dict(of_others))
    properties = alarm["Properties"]
    properties["AlarmName"] = {"Fn::Sub": "usher-${Stage}-relay-errors"}
    properties["AlarmDescription"] = "A function of the fan-out feed fails."
    sums, one = [], properties["Metrics"][1]
    for number, name in enumerate(INSIDE_THE_VPC):
        metric = copy.deepcopy(one) | {"Id": f"relay{number}"}
        metric["MetricStat"]["Metric"]["Dimensions"][0]["Value"] = {"Ref": name}
        sums.append(metric)
    total = {"Id": "errors", "Expression": " + ".join(f"FILL({m['Id']}, 0)" for m in sums)}
    properties["Metrics"] = [total, *sums]
    return alarm


def _inside(resources: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "SecurityGroupIds": [{"Fn::GetAtt": ["RelaySecurityGroup", "GroupId"]}],
        "SubnetIds": resources["ValkeySubnets"]["Properties"]["SubnetIds"],
    }


def _relay_settings() -> dict[str, Any]:
    """The relay's address; its password is asked for at run time and stands in no configuration."""
    place = "${Valkey.PrimaryEndPoint.Address}:6379/usher-${Stage}-updates"
    return {
        "FEED_URL": {"Fn::Sub": f"rediss://{SESSION_USER}@{place}"},
        "FEED_RELAY_URL": {"Fn::Sub": f"rediss://{RELAY_USER}@{place}"},
        "FEED_PASSWORD_SECRET": {"Ref": "FeedRelayPassword"},
    }


def _here_only(node: Any) -> Any:
    """`arn:aws:sqs:*:*:x` becomes this very partition, region and account's.

    The policy files leave them open because `chalice deploy` fills nothing in.
    """
    if isinstance(node, list):
        return [_here_only(part) for part in node]
    if isinstance(node, dict):
        return {key: _here_only(value) for key, value in node.items()}
    if not isinstance(node, str) or not node.startswith("arn:aws:"):
        return node
    _, _, service, region, account, rest = node.split(":", 5)
    region = "${AWS::Region}" if region == "*" else region
    account = "${AWS::AccountId}" if account == "*" else account
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{service}:{region}:{account}:{rest}"}
