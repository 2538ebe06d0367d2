"""Least privilege, both ways: what the code can call is allowed, what is allowed is called."""

import json
import re
import shutil
from pathlib import Path

import pytest

from infra.policies import expected, stale
from tests.unit.infra.code_calls import actions_of, read_code

ROOT = Path(__file__).parents[3]
CONFIG = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))
FUNCTIONS = sorted(CONFIG["stages"]["dev"]["lambda_functions"])
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
INTERFACES = {f"ec2:{verb}NetworkInterface" for verb in ("Create", "Delete")} | {
    "ec2:DescribeNetworkInterfaces"
}
BY_EVENT = {
    "SQS": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    "Kinesis": {
        f"kinesis:{call}"
        for call in (
            "DescribeStream",
            "DescribeStreamSummary",
            "GetRecords",
            "GetShardIterator",
            "ListShards",
            "ListStreams",
        )
    },
}
"""Calls that Lambda makes with a function's role; the developer guide on each event source."""

WITHOUT_RESOURCES = {
    "autoscaling:DescribeAutoScalingGroups",
    "cloudwatch:DescribeAlarms",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:ListTaskDefinitionFamilies",
    "ecs:ListTaskDefinitions",
    "ecs:ListTasks",  # takes hosts for resources; narrowed to the cluster by a condition
    "kinesis:ListStreams",
}
"""Actions that cannot be narrowed to a resource, by the service authorization reference."""


ROLES_FOR = {
    "ecs-tasks.amazonaws.com": {
        "usher-dev-execution",
        "usher-dev-session",
        "usher-dev-session-writer",
        "usher-dev-task-*",
        "usher-dev-job-*",
        "usher-dev-judge",
        "usher-dev-judge-execution",
    },
    "scheduler.amazonaws.com": {"usher-dev-scheduler"},
}


def policy(function: str, stage: str = "dev") -> str:
    file = CONFIG["stages"][stage]["lambda_functions"][function]["iam_policy_file"]
    return (ROOT / ".chalice" / file).read_text("utf-8")


def statements(function: str) -> list[dict]:
    document = json.loads(policy(function))
    assert {statement["Effect"] for statement in document["Statement"]} == {"Allow"}
    return document["Statement"]


def logical(function: str) -> str:
    if function == "api_handler":
        return "APIHandler"
    return "".join(word.title() for word in function.split("_"))


def by_lambda(templates, function: str) -> set[str]:
    properties = templates["valkey"]["Resources"][logical(function)]["Properties"]
    actions = set(LOGS)
    for event in properties.get("Events", {}).values():
        actions |= BY_EVENT.get(event["Type"], set())
    if "DeadLetterQueue" in properties:
        actions.add("sqs:SendMessage")
    if function in {"relay_records", "keep_feed_whole"}:  # inside the VPC, beside Valkey
        actions |= INTERFACES
    return actions


def test_every_function_of_the_app_has_a_policy_of_its_own(templates):
    assert set(read_code().entries) == set(FUNCTIONS)
    made = {
        name
        for name, resource in templates["valkey"]["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert made == {logical(function) for function in FUNCTIONS}
    roles = {
        templates["valkey"]["Resources"][n]["Properties"]["Role"]["Fn::GetAtt"][0] for n in made
    }
    assert len(roles) == len(made)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_the_code_calls_is_allowed_and_nothing_else(templates, function):
    allowed = {action for statement in statements(function) for action in statement["Action"]}
    assert not [action for action in allowed if "*" in action]
    assert allowed == actions_of(read_code(), function) | by_lambda(templates, function)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rights_end_at_this_stages_own_things(function):
    for statement in statements(function):
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            if resource == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCES
            else:
                assert re.search(r"[:/]usher[-/]dev(?![a-z0-9])", resource), resource


@pytest.mark.parametrize("function", FUNCTIONS)
def test_roles_are_passed_to_tasks_alone_and_tasks_stay_in_the_cluster(function):
    for statement in statements(function):
        actions = set(statement["Action"])
        if "iam:PassRole" in actions:
            (service,) = statement["Condition"]["StringEquals"].values()
            roles = {arn.rpartition("/")[2] for arn in statement["Resource"]}
            assert set(statement["Condition"]["StringEquals"]) == {"iam:PassedToService"}
            assert roles <= ROLES_FOR[service]
        elif actions == {"ecs:TagResource"}:
            created_by = {"ecs:CreateAction": ["RunTask", "StartTask"]}
            assert statement["Condition"] == {"StringEquals": created_by}
            places = {arn.partition(":task/")[2] for arn in statement["Resource"]}
            assert places <= {"usher-dev/*", "usher-dev-graders/*"}
        elif actions == {"ecs:RegisterTaskDefinition"}:
            families = {arn.partition(":task-definition/")[2] for arn in statement["Resource"]}
            assert families == {"usher-dev-job-*:*", "usher-dev-app-*:*"}
        elif any(a.startswith("ecs:") for a in actions) and not actions <= WITHOUT_RESOURCES:
            is_of_cluster = statement["Resource"] == "arn:aws:ecs:*:*:cluster/usher-dev"
            found = [statement["Resource"]] if is_of_cluster else []
            (clusters,) = found or statement["Condition"]["ArnLike"].values()
            listed = [clusters] if isinstance(clusters, str) else clusters
            named = {cluster.rpartition("/")[2] for cluster in listed}
            assert named <= {"usher-dev", "usher-dev-graders"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_but_the_judge_is_run_among_graders_and_the_judge_nowhere_else(function):
    """Its task has the engine of its host: in another cluster it would be root of others' hosts."""
    for statement in statements(function):
        if {"ecs:RunTask", "ecs:StartTask"} & set(statement["Action"]):
            family = statement["Resource"].partition(":task-definition/")[2]
            cluster = statement["Condition"]["ArnLike"]["ecs:cluster"].rpartition("/")[2]
            assert (family == "usher-dev_judge:*") is (cluster == "usher-dev-graders")
            assert family == "usher-dev_judge:*" or family.startswith("usher-dev-")
        if "ecs:RegisterTaskDefinition" in statement["Action"]:
            assert "judge" not in str(statement["Resource"])


def test_policies_of_other_stages_are_derived_from_those_of_dev():
    assert stale() == [], "run python -m infra.policies"


def test_a_stage_more_gets_its_own_files_and_strange_ones_are_named(tmp_path):
    for path in (ROOT / ".chalice").glob("*.json"):
        shutil.copy(path, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["stages"]["beta"] = config["stages"]["dev"]
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "policy-gone-sweep.json").write_text("{}", "utf-8")
    missing = {f"policy-beta-{f.replace('_', '-')}.json" for f in FUNCTIONS}
    assert set(stale(tmp_path)) == missing | {"policy-gone-sweep.json"}
    derived = {path.name: text for path, text in expected(tmp_path).items()}
    assert "usher-beta-sessions" in derived["policy-beta-sweep.json"]
    assert "/usher/beta/jobs" in derived["policy-beta-api-handler.json"]
    assert not [text for text in derived.values() if "usher-dev" in text or "/usher/dev" in text]


def test_the_derivation_sees_what_is_known_to_be_called():
    assert {"ecs:RunTask", "iam:PassRole"} <= actions_of(read_code(), "launch_queued")
    assert "ecs:ListTasks" in actions_of(read_code(), "sweep")  # by a paginator
    assert "dynamodb:UpdateItem" in actions_of(read_code(), "api_handler")  # in a transaction
    assert "kinesis:GetRecords" in actions_of(read_code(), "keep_feed_whole")
    assert "ecs:ListTasks" not in actions_of(read_code(), "fire_schedules")
