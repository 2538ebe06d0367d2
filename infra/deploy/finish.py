"""Completes Chalice's package for AWS: settings of networks and functions that Chalice lacks.
Pure.
"""

import copy
from collections.abc import Mapping
from typing import Any

from chalicelib.contract.fanout import RELAY_USER, SESSION_USER

FUNCTION = "AWS::Serverless::Function"
API, CALLBACKS, LAUNCHES = "APIHandler", "Callbacks", "LaunchQueued"
CALLBACK_PATHS = (
    "/sessions/{session_id}/events",
    "/invocations/{invocation_id}/start",
    "/invocations/{invocation_id}/progress",
    "/invocations/{invocation_id}/finish",
    "/invocations/{invocation_id}/marks",
    "/route",
)
JUDGES_API = "JudgesAPI"
JUDGE_PATHS = tuple(path for path in CALLBACK_PATHS if path.startswith("/invocations/"))
"""Paths for judges, in a separate API that only their network reaches."""
INSIDE_THE_VPC = ("RelayRecords", "KeepFeedWhole")
"""Functions that connect to Valkey, which has no public address."""


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
            for event in properties.get("Events", {}).values():
                _report_failures(event)
        elif resource["Type"] == "AWS::IAM::Role":
            properties["Policies"] = _here_only(properties.get("Policies", []))
    _limit_launches(resources[LAUNCHES])
    _add_callbacks(resources)
    if INSIDE_THE_VPC[0] in resources:
        for of_others, (name, description) in WATCHED.items():
            alarm = _relay_alarm(resources[of_others], name, description)
            resources[of_others.replace("Function", "Relay")] = alarm
    return finished


WATCHED = {
    "FunctionErrorsAlarm": ("relay-errors", "A function of the fan-out feed fails."),
    "FunctionThrottlesAlarm": ("relay-throttles", "Lambda has no concurrency left for the feed."),
}
"""Alarms over all functions, and their names for those of the fan-out feed."""


def _report_failures(event: dict[str, Any]) -> None:
    """Let a function that takes several messages at once name those that failed; the others of the
    batch are deleted. A batch of one fails as a whole, which Lambda counts as an error.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if event["Type"] == "SQS" and event["Properties"].get("BatchSize", 10) > 1:
        event["Properties"]["FunctionResponseTypes"] = ["ReportBatchItemFailures"]


def _limit_launches(function: dict[str, Any]) -> None:
    """Poll the launch queue with no more executions than are reserved: a message that meets none
    left is throttled, which counts as a try, and goes to the dead letters after enough of them.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    """
    for event in function["Properties"]["Events"].values():
        event["Properties"]["ScalingConfig"] = {
            "Fn::If": [
                "ReservesConcurrency",
                {"MaximumConcurrency": {"Ref": "ReservedConcurrency"}},
                {"Ref": "AWS::NoValue"},
            ]
        }


def _add_callbacks(resources: dict[str, Any]) -> None:
    """Add a separate function for calls of containers and routers: with the API's code and rights,
    and reserved executions that requests for sessions cannot use up.
    """
    for name, of_api in (
        (CALLBACKS, API),
        (f"{CALLBACKS}InvokePermission", f"{API}InvokePermission"),
        (f"{CALLBACKS}LogGroup", "ApiHandlerLogGroup"),
    ):
        resources[name] = _renamed(resources[of_api])
    resources[CALLBACKS]["Properties"]["ReservedConcurrentExecutions"] = {
        "Fn::If": ["ReservesConcurrency", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]
    }
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    for path in CALLBACK_PATHS:
        paths[path] = _renamed(paths[path])
    _add_judges_api(resources, {path: paths[path] for path in JUDGE_PATHS})
    for alarm in WATCHED:
        _watch_callbacks(resources[alarm]["Properties"]["Metrics"])


def _add_judges_api(resources: dict[str, Any], paths: Mapping[str, Any]) -> None:
    api = resources[JUDGES_API]
    api["Properties"]["DefinitionBody"]["paths"] = copy.deepcopy(paths)
    permission = copy.deepcopy(resources[f"{CALLBACKS}InvokePermission"])
    permission["Properties"]["SourceArn"]["Fn::Sub"][1]["RestAPIId"] = {"Ref": JUDGES_API}
    resources[f"{JUDGES_API}InvokePermission"] = {**permission, "Condition": api["Condition"]}


def _watch_callbacks(metrics: list[dict[str, Any]]) -> None:
    """Add the function of callbacks to the sum of an alarm."""
    total, first, *_ = metrics
    metric = copy.deepcopy(first) | {"Id": "callbacks"}
    metric["MetricStat"]["Metric"]["Dimensions"][0]["Value"] = {"Ref": CALLBACKS}
    total["Expression"] += " + FILL(callbacks, 0)"
    metrics.append(metric)


def _renamed(value: Any) -> Any:
    """A copy whose references to the API's function are to the function of callbacks."""
    if isinstance(value, Mapping):
        return {key: _renamed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part) for part in value]
    if isinstance(value, str):
        return CALLBACKS if value == API else value.replace(f"${{{API}", f"${{{CALLBACKS}")
    return value


def _relay_alarm(of_others: Mapping[str, Any], name: str, description: str) -> dict[str, Any]:
    """The same alarm for the functions that only a fan-out feed has."""
    alarm: dict[str, Any] = copy.deepcopy(dict(of_others))
    properties = alarm["Properties"]
    properties["AlarmName"] = {"Fn::Sub": f"usher-${{Stage}}-{name}"}
    properties["AlarmDescription"] = description
    sums, one = [], properties["Metrics"][1]
    for number, function in enumerate(INSIDE_THE_VPC):
        metric = copy.deepcopy(one) | {"Id": f"relay{number}"}
        metric["MetricStat"]["Metric"]["Dimensions"][0]["Value"] = {"Ref": function}
        sums.append(metric)
    expression = " + ".join(f"FILL({metric['Id']}, 0)" for metric in sums)
    total = {"Id": properties["Metrics"][0]["Id"], "Expression": expression}
    properties["Metrics"] = [total, *sums]
    return alarm


def _inside(resources: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "SecurityGroupIds": [{"Fn::GetAtt": ["RelaySecurityGroup", "GroupId"]}],
        "SubnetIds": resources["ValkeySubnets"]["Properties"]["SubnetIds"],
    }


def _relay_settings() -> dict[str, Any]:
    """The relay's address; its password is read at run time and is in no configuration."""
    place = "${Valkey.PrimaryEndPoint.Address}:6379/usher-${Stage}-updates"
    return {
        "FEED_URL": {"Fn::Sub": f"rediss://{SESSION_USER}@{place}"},
        "FEED_RELAY_URL": {"Fn::Sub": f"rediss://{RELAY_USER}@{place}"},
        "FEED_PASSWORD_SECRET": {"Ref": "FeedRelayPassword"},
    }


def _here_only(node: Any) -> Any:
    """Replace `arn:aws:sqs:*:*:x` by this partition, region and account.

    The policy files leave them open because `chalice deploy` does not fill them in.
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
