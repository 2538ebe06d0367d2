"""Requests that the model of their service does not allow are refused before the service."""

import json

import pytest

from local.aws.front_end import refusal_by_model
from local.aws.wire import Call, Protocol, Request

BLANK = {"Target": {"Arn": "arn:aws:sqs:r:1:q", "RoleArn": "arn:aws:iam::123456789012:role/r"}}
SCHEDULE = {"FlexibleTimeWindow": {"Mode": "OFF"}, "ScheduleExpression": "rate(1 hour)"} | BLANK


def refusal(service, action, parameters, path="/", method="POST"):
    """Code and message of the refusal; None for a request that passes."""
    body = parameters if isinstance(parameters, bytes) else json.dumps(parameters).encode()
    found = refusal_by_model(
        Call(service, action, Protocol.JSON), Request(method, path, {}, body, True)
    )
    if found is None:
        return None
    document = json.loads(found.body)
    return document["__type"], document["message"], dict(found.headers)


@pytest.mark.parametrize(
    ("service", "action", "parameters", "code", "words"),
    [
        ("ecs", "RunTask", {}, "InvalidParameterException", "'taskDefinition'"),
        ("ecs", "RunTask", {"taskDefinition": 7}, "SerializationException", "int"),
        ("ecs", "RunTask", {"taskDefinition": "t", "count": "1"}, "SerializationException", "str"),
        ("ecs", "RunTask", {"taskDefinition": "t", "count": True}, "SerializationException", "bo"),
        (
            "ecs",
            "RunTask",
            {"taskDefinition": "t", "launchType": "TOASTER"},
            "InvalidParameterException",
            "enum value set: [EC2, FARGATE",
        ),
        (
            "ecs",
            "RunTask",
            {"taskDefinition": "t", "overrides": {"containerOverrides": {}}},
            "SerializationException",
            "list",
        ),
        (
            "ecs",
            "RunTask",
            {"taskDefinition": "t", "networkConfiguration": {"awsvpcConfiguration": {}}},
            "InvalidParameterException",
            "'networkConfiguration.awsvpcConfiguration.subnets'",
        ),
        ("ecs", "StopTask", {"cluster": "c"}, "InvalidParameterException", "'task'"),
        ("ecs", "DescribeTasks", {"tasks": "one"}, "SerializationException", "str"),
        ("ecs", "ListTasks", b"[", "SerializationException", "not JSON"),
        ("ecs", "ListTasks", b"[]", "SerializationException", "list"),
        ("sqs", "SendMessage", {"QueueUrl": "q"}, "MissingParameter", "parameter MessageBody."),
        ("sqs", "ReceiveMessage", {}, "MissingParameter", "parameter QueueUrl."),
        ("sqs", "SendMessage", {"QueueUrl": 1}, "SerializationException", "int"),
        ("logs", "GetLogEvents", {}, "InvalidParameterException", "'logStreamName'"),
        (
            "logs",
            "GetLogEvents",
            {"logStreamName": "s", "limit": 10_001},
            "InvalidParameterException",
            "less than or equal to 10000",
        ),
        ("logs", "CreateLogStream", {"logGroupName": "g"}, "InvalidParameterException", "null"),
        ("events", "PutEvents", {"Entries": []}, "ValidationException", "greater than or equal"),
        ("secretsmanager", "GetSecretValue", {}, "ValidationException", "'secretId'"),
        ("kinesis", "GetRecords", {}, "ValidationException", "'shardIterator'"),
    ],
)
def test_what_the_model_does_not_allow_is_refused(service, action, parameters, code, words):
    found = refusal(service, action, parameters)
    assert found is not None
    assert (found[0], words in found[1]) == (code, True), found


@pytest.mark.parametrize(
    ("service", "action", "parameters"),
    [
        ("ecs", "RunTask", {"taskDefinition": "t", "launchType": None}),
        ("ecs", "RunTask", {"taskDefinition": "t", "surprise": 1}),
        ("ecs", "NoSuchAction", {"surprise": 1}),
        ("sqs", "GetQueueAttributes", {"QueueUrl": "q", "AttributeNames": ["Other"]}),
        ("unknown", "Anything", {}),
    ],
)
def test_what_is_left_to_the_service_passes(service, action, parameters):
    assert refusal(service, action, parameters) is None


def test_sqs_tells_clients_of_the_older_protocol_its_code():
    headers = refusal("sqs", "SendMessage", {"QueueUrl": "q"})[2]
    assert headers["x-amzn-query-error"] == "MissingParameter;Sender"


def test_names_in_the_path_and_numbers_in_the_query_are_checked_too():
    assert refusal("scheduler", "CreateSchedule", SCHEDULE, "/schedules/a-name") is None
    code, message, _ = refusal("scheduler", "CreateSchedule", SCHEDULE, "/schedules/a%20name")
    assert (code, "'name'" in message) == ("ValidationException", True), message
    code, message, _ = refusal("scheduler", "UpdateSchedule", {}, "/schedules/a", "PUT")
    assert message.startswith("3 validation errors detected: ")
    code, message, _ = refusal("scheduler", "ListSchedules", {}, "/schedules?MaxResults=0", "GET")
    assert "greater than or equal to 1" in message
    code, *_ = refusal("scheduler", "ListSchedules", {}, "/schedules?MaxResults=x", "GET")
    assert code == "SerializationException"


def test_an_enumeration_inside_of_a_structure_is_checked():
    asked = SCHEDULE | {"FlexibleTimeWindow": {"Mode": "SOMETIMES"}}
    _, message, _ = refusal("scheduler", "CreateSchedule", asked, "/schedules/a")
    assert "'flexibleTimeWindow.mode'" in message
