"""Policies are evaluated as IAM does, and calls need the rights of the service reference."""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.iam.accesses import Asked, accesses
from local.aws.iam.authorizer import Authorizer
from local.aws.iam.policy import Decision, PolicyError, decide, glob, parse_policy
from local.aws.iam.principals import (
    Principals,
    host_role_of,
    read_functions,
    read_roles,
    task_key,
)
from local.aws.kinesis.iterators import ShardIterator
from local.aws.wire import Call, Protocol, Request

ROOT = Path(__file__).parents[3]
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/t"
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/usher-local"
HOST = "arn:aws:ecs:us-east-1:123456789012:container-instance/usher-local/abc"
DEFINITION = {
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/usher-local-x:3",
    "taskRoleArn": "arn:aws:iam::123456789012:role/usher-local-session",
    "executionRoleArn": "arn:aws:iam::123456789012:role/usher-local-execution",
}


def allow(action="*", resource="*", effect="Allow", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def decision(statements, action="dynamodb:GetItem", resource=TABLE, **context):
    parsed = parse_policy({"Statement": statements})
    found = {key.replace("_", ":"): value for key, value in context.items()}
    return decide(parsed, action, resource, found).decision


def test_what_nothing_allows_is_denied():
    assert decision([]) is Decision.IMPLICIT_DENY
    assert decision([allow("dynamodb:PutItem")]) is Decision.IMPLICIT_DENY
    assert decision([allow(resource=TABLE + "/index/i")]) is Decision.IMPLICIT_DENY


def test_an_explicit_deny_is_stronger_than_any_allow_in_any_order():
    for statements in ([allow(), allow(effect="Deny")], [allow(effect="Deny"), allow()]):
        assert decision(statements) is Decision.EXPLICIT_DENY


def test_a_statement_whose_condition_fails_says_nothing_at_all():
    """moto takes an Allow with a failed condition for a deny."""
    never = {"StringEquals": {"aws:x": "y"}}
    assert decision([allow(Condition=never)]) is Decision.IMPLICIT_DENY
    assert decision([allow(Condition=never), allow()]) is Decision.ALLOWED
    assert decision([allow(effect="Deny", Condition=never), allow()]) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("dynamodb:GetItem", True),
        ("DYNAMODB:getitem", True),
        ("dynamodb:Get*", True),
        ("dynamodb:???Item", True),
        ("dynamodb:Get", False),
        ("*", True),
        (["s3:*", "dynamodb:*"], True),
    ],
)
def test_actions_are_patterns_in_any_case(action, allowed):
    assert (decision([allow(action)]) is Decision.ALLOWED) is allowed


def test_not_action_and_not_resource_are_everything_else():
    other = {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}
    assert decision([other]) is Decision.ALLOWED
    assert decision([other], action="s3:GetObject") is Decision.IMPLICIT_DENY
    elsewhere = {"Effect": "Allow", "Action": "*", "NotResource": TABLE}
    assert decision([elsewhere]) is Decision.IMPLICIT_DENY
    assert decision([elsewhere], resource=TABLE + "2") is Decision.ALLOWED


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "is_met"),
    [
        ("StringEquals", "a", ("a",), True),
        ("StringEquals", ["a", "b"], ("b",), True),
        ("StringEquals", "a", ("A",), False),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", ("b",), False),
        ("StringNotEquals", ["a", "b"], ("b",), False),
        ("StringNotEquals", "a", None, True),
        ("StringNotEqualsIgnoreCase", "true", ("True",), False),
        ("StringNotEqualsIgnoreCase", "true", ("false",), True),
        ("StringLike", "usher-*", ("usher-dev",), True),
        ("StringLike", "usher.*", ("usher-dev",), False),
        ("ArnLike", "arn:aws:ecs:*:*:cluster/usher-local", (CLUSTER,), True),
        ("ArnEquals", "arn:aws:ecs:*:*:cluster/*", (CLUSTER,), True),
        ("ArnLike", "arn:aws:ecs:*:cluster/usher-local", (CLUSTER,), False),
        ("ArnNotLike", "arn:aws:ecs:*:*:cluster/usher-*", (CLUSTER,), False),
        ("Bool", True, ("true",), True),
        ("Bool", "true", ("false",), False),
        ("Bool", "true", None, False),
        ("Null", "true", None, True),
        ("Null", "false", ("x",), True),
        ("Null", "true", ("x",), False),
        ("NumericLessThan", 5, ("4",), True),
        ("NumericLessThan", 5, ("many",), False),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "b"), True),
        ("ForAllValues:StringEquals", ["a", "b"], ("a", "c"), False),
        ("ForAllValues:StringEquals", "a", None, True),
        ("ForAnyValue:StringEquals", "a", ("c", "a"), True),
        ("ForAnyValue:StringEquals", "a", None, False),
    ],
)
def test_conditions(operator, wanted, value, is_met):
    context = {} if value is None else {"a_key": value}
    found = decision([allow(Condition={operator: {"A:Key": wanted}})], **context)
    assert (found is Decision.ALLOWED) is is_met


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "allow", "Action": "*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*"},
        {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"},
        allow(Principal="*"),
        allow(Condition={"DateEquals": {"a": "b"}}),
        allow(Condition={"ForSomeValues:StringEquals": {"a": "b"}}),
        allow(resource="arn:aws:s3:::home/${aws:username}"),
    ],
)
def test_what_is_not_understood_is_an_error_and_no_guess(statement):
    with pytest.raises(PolicyError):
        parse_policy({"Statement": statement})


@given(st.text("ab*?.[", max_size=6), st.text("ab.[", max_size=6))
def test_patterns_know_the_star_and_the_question_mark_alone(pattern, text):
    assert glob(pattern)(text) == fnmatchcase(text, pattern.replace("[", "[[]"))


# Rights that calls need.


def needs(service, action, **parameters):
    asked = Asked(action, parameters, "us-east-1", "123456789012", lambda _: DEFINITION)
    return [(a.action, a.resource.removeprefix("arn:aws:")) for a in accesses(service, asked)]


@pytest.mark.parametrize(
    ("service", "action", "parameters", "expected"),
    [
        ("dynamodb", "Query", {"TableName": "t", "IndexName": "i"},
         [("dynamodb:Query", "dynamodb:us-east-1:123456789012:table/t/index/i")]),
        ("dynamodb", "BatchGetItem", {"RequestItems": {"t": {}}},
         [("dynamodb:BatchGetItem", "dynamodb:us-east-1:123456789012:table/t")]),
        ("dynamodb", "TransactWriteItems",
         {"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}]},
         [("dynamodb:PutItem", "dynamodb:us-east-1:123456789012:table/t"),
          ("dynamodb:ConditionCheckItem", "dynamodb:us-east-1:123456789012:table/u")]),
        ("dynamodb", "ListTables", {}, [("dynamodb:ListTables", "*")]),
        ("sqs", "SendMessageBatch", {"QueueUrl": "http://127.0.0.1:1/123456789012/q"},
         [("sqs:SendMessage", "sqs:us-east-1:123456789012:q")]),
        ("ecs", "RunTask", {"taskDefinition": "usher-local-x", "cluster": "usher-local"},
         [("ecs:RunTask", "ecs:us-east-1:123456789012:task-definition/usher-local-x:3"),
          ("iam:PassRole", "iam::123456789012:role/usher-local-session"),
          ("iam:PassRole", "iam::123456789012:role/usher-local-execution")]),
        ("ecs", "StopTask", {"task": "abc", "cluster": "usher-local"},
         [("ecs:StopTask", "ecs:us-east-1:123456789012:task/usher-local/abc")]),
        ("ecs", "ListTaskDefinitions", {}, [("ecs:ListTaskDefinitions", "*")]),
        ("ecs", "SubmitTaskStateChange", {"cluster": "usher-local"},
         [("ecs:SubmitTaskStateChange", "ecs:us-east-1:123456789012:cluster/usher-local")]),
        ("kinesis", "GetRecords", {"ShardIterator": str(ShardIterator("s", 1.0, "x", 0, 1.0))},
         [("kinesis:GetRecords", "kinesis:us-east-1:123456789012:stream/s")]),
        ("kinesis", "GetRecords", {"ShardIterator": "broken"}, [("kinesis:GetRecords", "*")]),
        ("logs", "GetLogEvents", {"logGroupName": "/g", "logStreamName": "s"},
         [("logs:GetLogEvents", "logs:us-east-1:123456789012:log-group:/g:log-stream:s")]),
        ("scheduler", "CreateSchedule", {"Name": "n", "GroupName": "g", "Target": {"RoleArn": "r"}},
         [("scheduler:CreateSchedule", "scheduler:us-east-1:123456789012:schedule/g/n"),
          ("iam:PassRole", "r")]),
        ("ec2", "DescribeInstances", {}, [("ec2:DescribeInstances", "*")]),
    ],
)  # fmt: skip
def test_a_call_needs(service, action, parameters, expected):
    assert needs(service, action, **parameters) == expected


def test_every_condition_key_of_our_policies_is_one_that_requests_carry():
    """A key that no request has would never match, without any error."""
    given = {"ecs:cluster", "ecs:privileged", "ecs:task-cpu", "ecs:task-memory"}
    given |= {"iam:passedtoservice", "ecs:createaction", "aws:sourcevpc"}
    policies = list(read_functions(ROOT, "local").values())
    policies += read_roles(ROOT / "infra" / "template.yaml", "local", "us-east-1").values()
    used = {
        condition.key.lower()
        for statements in policies
        for statement in statements
        for condition in statement.conditions
    }
    assert used <= given
    assert {"ecs:cluster", "iam:passedtoservice", "ecs:privileged"} <= used


# Principals.


@pytest.fixture
def authorizer():
    roles = read_roles(ROOT / "infra" / "template.yaml", "local", "us-east-1")
    key, role = task_key("aaaa-bbbb"), "arn:aws:iam::123456789012:role/usher-local-session"
    principals = Principals(
        read_functions(ROOT, "local"), roles, host_role_of(roles), {key: role}.get
    )
    return Authorizer(principals, lambda _: DEFINITION, "us-east-1")


def test_what_a_token_of_another_emulator_names_was_checked_when_it_was_given_out(authorizer):
    key = task_key("aaaa-bbbb")
    foreign = {"ShardIterator": "not ours"}
    assert refusal(authorizer, key, "kinesis", "GetRecords", **foreign)[0] == 400
    forwarding = Authorizer(
        authorizer._principals, lambda _: DEFINITION, "us-east-1", {"kinesis": "its URL"}
    )
    assert refusal(forwarding, key, "kinesis", "GetRecords", **foreign) is None
    named = {"StreamName": "usher-other-updates", "NextToken": "not ours"}
    assert refusal(forwarding, key, "kinesis", "ListShards", **named)[0] == 400
    assert refusal(forwarding, "nobody", "kinesis", "GetRecords", **foreign)[0] == 403


def refusal(authorizer, key, service, action, **parameters):
    signed = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request"
    headers = {"authorization": signed} if key else {}
    request = Request("POST", "/", headers, json.dumps(parameters).encode())
    found = authorizer.refusal(Call(service, action, Protocol.JSON), request)
    return None if found is None else (found.status, json.loads(found.body))


def test_a_refusal_says_who_may_not_do_what_where(authorizer):
    status, told = refusal(authorizer, "function-sweep", "dynamodb", "Scan", TableName="t")
    assert (status, told["__type"]) == (400, "AccessDeniedException")
    assert told["message"] == (
        "User: arn:aws:sts::123456789012:assumed-role/function-sweep/sweep is not authorized to "
        f"perform: dynamodb:Scan on resource: {TABLE} because no identity-based policy allows the "
        "dynamodb:Scan action"
    )
    assert authorizer.describe()["refused"] == {"function-sweep dynamodb:Scan": 1}


def test_nobody_and_strangers_are_refused_and_the_developer_never(authorizer):
    assert refusal(authorizer, None, "sqs", "ListQueues")[1]["__type"].startswith("MissingAuth")
    assert refusal(authorizer, "AKIAX", "sqs", "ListQueues")[1]["__type"].startswith("Unrecognized")
    assert refusal(authorizer, "local", "sqs", "ListQueues") is None


def test_a_session_reads_its_stream_and_does_nothing_else(authorizer):
    key = task_key("aaaa-bbbb")
    stream = {"StreamName": "usher-local-updates"}
    assert refusal(authorizer, key, "kinesis", "ListShards", **stream) is None
    assert refusal(authorizer, key, "kinesis", "ListShards", StreamName="other")
    assert refusal(authorizer, key, "kinesis", "PutRecord", **stream)
    assert refusal(authorizer, key, "dynamodb", "GetItem", TableName="usher-local-sessions")
    assert refusal(authorizer, task_key("cccc"), "kinesis", "ListShards", **stream)


AGENT = [
    ("DiscoverPollEndpoint", {}),
    ("RegisterContainerInstance", {"cluster": "usher-local"}),
    ("SubmitTaskStateChange", {"cluster": "usher-local"}),
    ("SubmitContainerStateChange", {"cluster": "usher-local"}),
    ("SubmitAttachmentStateChanges", {"cluster": "usher-local"}),
    ("Poll", {"cluster": "usher-local", "containerInstance": HOST}),
    ("StartTelemetrySession", {"cluster": "usher-local", "containerInstance": HOST}),
]
"""Calls of an agent from its start to the end of a task.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/instance_IAM_role.html
"""


@pytest.mark.parametrize(("action", "parameters"), AGENT)
def test_a_host_may_do_what_its_agent_does_in_its_own_cluster_alone(authorizer, action, parameters):
    assert refusal(authorizer, "host", "ecs", action, **parameters) is None
    if parameters:
        other = {name: value.replace("usher-local", "other") for name, value in parameters.items()}
        assert refusal(authorizer, "host", "ecs", action, **other)


def test_a_task_with_another_role_or_in_another_cluster_is_not_run(authorizer):
    asked = {"taskDefinition": "usher-local-x:3", "cluster": "usher-local"}
    assert refusal(authorizer, "function-api_handler", "ecs", "RunTask", **asked) is None
    overrides = {"taskRoleArn": "arn:aws:iam::123456789012:role/administrator"}
    _, told = refusal(
        authorizer, "function-api_handler", "ecs", "RunTask", **asked, overrides=overrides
    )
    assert "iam:PassRole on resource: arn:aws:iam::123456789012:role/adm" in told["message"]
    elsewhere = {**asked, "cluster": "other"}
    assert refusal(authorizer, "function-api_handler", "ecs", "RunTask", **elsewhere)


def test_the_sweep_alone_scales_the_hosts_own_group_and_no_other():
    roles = read_roles(ROOT / "infra" / "template.yaml", "local", "us-east-1")
    principals = Principals(read_functions(ROOT, "local"), roles, host_role_of(roles), {}.get)
    groups = {"i-1": "usher-local-hosts", "i-2": "other"}.get
    scaling = Authorizer(principals, lambda _: None, "us-east-1", (), groups)
    asked = ("autoscaling", "SetDesiredCapacity")
    ended = ("autoscaling", "TerminateInstanceInAutoScalingGroup")
    own = {"AutoScalingGroupName": "usher-local-hosts", "DesiredCapacity": 2}
    assert refusal(scaling, "function-sweep", *asked, **own) is None
    assert refusal(scaling, "function-sweep", *ended, InstanceId="i-1") is None
    assert refusal(scaling, "function-sweep", *asked, **{**own, "AutoScalingGroupName": "other"})
    assert refusal(scaling, "function-sweep", *ended, InstanceId="i-2")
    assert refusal(scaling, "function-api_handler", *asked, **own)


@pytest.mark.parametrize("function", ["run_normal_jobs", "launch_queued"])
def test_who_starts_jobs_passes_no_role_of_apps_and_the_other_way_round(function):
    policy = json.loads(
        (ROOT / ".chalice" / f"policy-dev-{function.replace('_', '-')}.json").read_text()
    )
    for kind in ("job", "task"):
        role = f"arn:aws:iam::123456789012:role/usher-dev-{kind}-files"
        found = decision(
            policy["Statement"],
            "iam:PassRole",
            role,
            **{"iam:passedtoservice": ["ecs-tasks.amazonaws.com"]},
        )
        is_its_own = (kind == "job") is (function == "run_normal_jobs")
        assert (found is Decision.ALLOWED) is is_its_own


def test_no_privileged_definition_is_registered(authorizer):
    asked = {"family": "usher-local-job-x", "containerDefinitions": [{"name": "x"}]}
    register = ("function-api_handler", "ecs", "RegisterTaskDefinition")
    assert refusal(authorizer, *register, **asked) is None
    privileged = {**asked, "containerDefinitions": [{"name": "x", "privileged": True}]}
    assert refusal(authorizer, *register, **privileged)
    assert refusal(authorizer, *register, **{**asked, "family": "usher-local-session"})
