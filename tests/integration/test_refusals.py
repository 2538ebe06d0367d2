"""Invalid requests: other DynamoDB emulators refuse the same ones, with the same messages.

Where they differ is listed below, all of it; docs/verified.md says which side AWS's documentation
agrees with. A difference that is gone fails the test as a new one does.
"""

import re

import pytest
from botocore.exceptions import ClientError

from tests.embedded_tables import EmbeddedTables
from tests.emulators import client, serve_ministack, serve_npm
from tests.integration.conftest import wait_until
from tests.kinesis_service import serve_kinesis
from tests.needs import needs_dynalite, needs_kinesalite, needs_ministack
from tests.wrong_requests import (
    ALL,
    CONTAINERS,
    CREATE,
    FAMILY,
    ON_A_STREAM,
    QUEUE,
    STREAM,
    TABLE,
    on_a_cluster,
    on_a_queue,
)

CODES = {
    "ValidationException",
    "ResourceNotFoundException",
    "ConditionalCheckFailedException",
    "TransactionCanceledException",
}
ACCEPTED = "accepted"
UNKNOWN = "UnknownOperationException"
"""dynalite has no transactions."""


def ask(dynamodb):
    """The answer to each wrong request: the error's code, and its message without what varies."""
    dynamodb.create_table(**CREATE)
    wait_until(lambda: dynamodb.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE")
    return answers(dynamodb, ALL)


def answers(service, requests):
    found = {wrong.name: answer(service, wrong) for wrong in requests}
    assert len(found) == len(requests)
    return found


def answer(service, wrong):
    try:
        getattr(service, wrong.operation)(**wrong.parameters)
    except ClientError as error:
        refusal = error.response["Error"]
        return refusal["Code"], stable(refusal.get("Message", ""))
    return ACCEPTED, ""


def stable(message):
    """Without the request's own value, which each shows in another notation, and without the
    number of errors, which moto and ministack put before messages that have none on AWS.
    """
    message = re.sub(r"Value ('.*' )?at", "Value at", message, flags=re.DOTALL)
    message = message.removeprefix("1 validation error detected: ")
    return re.sub(r"(Syntax error).*", r"\1", message, flags=re.DOTALL)


@pytest.fixture(scope="module")
def ours():
    tables = EmbeddedTables()
    tables.reset()
    return ask(tables.client(parameter_validation=False))


def test_each_rule_is_kept_with_a_code_that_boto3_knows(ours):
    assert {name: code for name, (code, _) in ours.items() if code not in CODES} == {}
    assert all(message for _, message in ours.values())


def differences(ours, theirs):
    """Returns the requests that they accept, refuse with another code, and with another message."""
    asked = {name: found for name, found in theirs.items() if found[0] != UNKNOWN}
    codes = {name: found[0] for name, found in asked.items() if found[0] != ours[name][0]}
    messages = {name for name, found in asked.items() if found[1] != ours[name][1]}
    return {
        "accepts": {name for name, code in codes.items() if code == ACCEPTED},
        "another code": {name: code for name, code in codes.items() if code != ACCEPTED},
        "another message": messages - codes.keys(),
    }


@needs_dynalite
def test_dynalite_refuses_the_same_but_for_what_is_listed(ours):
    with serve_npm("dynalite") as url:
        theirs = ask(client("dynamodb", url, parameter_validation=False))
    assert differences(ours, theirs) == DYNALITE


@needs_ministack
def test_ministack_refuses_the_same_but_for_what_is_listed(ours):
    with serve_ministack("dynamodb") as url:
        theirs = ask(client("dynamodb", url, parameter_validation=False))
    assert differences(ours, theirs) == MINISTACK


def ask_kinesis(url):
    """Compare refusals as `ask` does, for requests about a stream; the messages are not
    compared.
    """
    kinesis = client("kinesis", url, parameter_validation=False)
    kinesis.create_stream(StreamName=STREAM, ShardCount=3)

    def state():
        described = kinesis.describe_stream_summary(StreamName=STREAM)
        return described["StreamDescriptionSummary"]["StreamStatus"]

    wait_until(lambda: state() == "ACTIVE")
    return {name: code for name, (code, _) in answers(kinesis, ON_A_STREAM).items()}


@needs_kinesalite
def test_kinesalite_refuses_with_the_same_codes():
    with serve_kinesis() as service:
        ours = ask_kinesis(service.url)
    with serve_npm("kinesalite") as url:
        theirs = ask_kinesis(url)
    assert theirs == ours
    assert ACCEPTED not in ours.values()


def ask_queue(sqs):
    return answers(sqs, on_a_queue(sqs.create_queue(QueueName=QUEUE)["QueueUrl"]))


def ask_cluster(ecs, cluster):
    ecs.register_task_definition(family=FAMILY, **CONTAINERS)
    return answers(ecs, on_a_cluster(cluster))


def differences_of_codes(ours, theirs):
    """Returns the result of `differences` without messages: moto and ministack have their own."""
    found = differences(ours, theirs)
    return {name: found[name] for name in ("accepts", "another code")}


@needs_ministack
def test_ministack_refuses_what_the_embedded_queues_and_tasks_refuse_but_for_what_is_listed(
    fixture_cloud,
):
    def ours(service):
        return client(service, fixture_cloud.aws, parameter_validation=False)

    found = {"sqs": ask_queue(ours("sqs")), "ecs": ask_cluster(ours("ecs"), "usher-local")}
    for answered in found.values():
        assert {code for code, _ in answered.values()} & {ACCEPTED, "InternalFailure"} == set()
    with serve_ministack("sqs", "ecs") as url:
        ecs = client("ecs", url, parameter_validation=False)
        ecs.create_cluster(clusterName="usher-local")
        theirs = {
            "sqs": ask_queue(client("sqs", url, parameter_validation=False)),
            "ecs": ask_cluster(ecs, "usher-local"),
        }
    assert differences_of_codes(found["sqs"], theirs["sqs"]) == MINISTACK_SQS
    assert differences_of_codes(found["ecs"], theirs["ecs"]) == MINISTACK_ECS


DYNALITE = {
    "accepts": {
        "put: 33 levels",
        "put: empty key of an index",
        "query: empty placeholder",
        "query: select of attributes without any",
        "scan: consistent read of an index",
        "scan: segment alone",
        "update: empty key of an index",
    },
    "another code": {"put: order of booleans": "ConditionalCheckFailedException"},
    "another message": {
        "get: empty key",
        "put: return values of an update",
        "update: ADD of a string",
        "update: DELETE of a number",
        "update: sum of strings",
        "update: unknown function",
    },
}
MINISTACK = {
    "accepts": {
        "get: empty projection",
        "put: comparison of an operand with itself",
        "query: NOT",
        "query: OR",
        "query: filter by a key",
        "query: filter by an unknown function",
        "query: filter with a reserved word",
        "query: filter with a syntax error",
        "query: projection of a reserved word",
        "query: start key of another type",
        "query: start key with more",
        "query: unequal",
        "scan: reserved word",
        "transaction: two operations in one entry",
        "transaction: update of a key",
        "update: SET twice",
        "update: one path twice",
        "update: sum of strings",
        "update: sum with what is not there",
        "update: syntax",
    },
    "another code": {
        "put: BETWEEN of two types": "ConditionalCheckFailedException",
        "put: name of a type": "ConditionalCheckFailedException",
        "put: order of booleans": "ConditionalCheckFailedException",
        "put: unknown function": "ConditionalCheckFailedException",
        "put: value of two types": "ConditionalCheckFailedException",
    },
    "another message": {
        "batch get: 101 keys",
        "batch get: no keys",
        "batch get: nothing",
        "batch write: nothing",
        "get: unused name",
        "put: condition with a reserved word",
        "put: no type of a value",
        "put: operands of a function",
        "put: placeholder without its mark",
        "put: return values of an update",
        "put: set of numbers with one element twice",
        "put: set with one element twice",
        "put: sort key of more than 1 KB",
        "put: values without an expression",
        "query: attribute that is no key",
        "query: limit of zero",
        "query: no condition",
        "query: range of the partition key",
        "query: reserved word",
        "query: reserved word of an index",
        "query: start key of another partition",
        "query: syntax",
        "query: two conditions for one key",
        "scan: unused value",
        "transaction: an entry without an operation",
        "transaction: more than 4 MB",
        "transaction: reserved word",
        "update: ADD of a string",
        "update: DELETE of a number",
        "update: path into what is not there",
        "update: paths that overlap",
        "update: unknown function",
        "update: value that is not defined",
    },
}
MINISTACK_SQS = {
    "accepts": {
        "create_queue: name",
        "get_queue_attributes: attribute",
        "receive_message: long wait",
        "send_message: delay",
        "send_message: negative delay",
    },
    "another code": {
        "change_message_visibility: timeout": "ReceiptHandleIsInvalid",
        "receive_message: no queue": "AWS.SimpleQueueService.NonExistentQueue",
        "send_message: no queue": "AWS.SimpleQueueService.NonExistentQueue",
        "send_message: number for a body": "InternalError",
    },
}
MINISTACK_ECS = {
    "accepts": {
        "deregister_task_definition: no revision",
        "describe_tasks: 101 tasks",
        "describe_tasks: cluster",
        "describe_tasks: no tasks",
        "list_tasks: 101 results",
        "list_tasks: cluster",
        "list_tasks: status",
        "list_tasks: two filters",
        "register_task_definition: family",
        "register_task_definition: little memory",
        "register_task_definition: long stop",
        "register_task_definition: name",
        "register_task_definition: no image",
        "register_task_definition: no memory",
        "register_task_definition: port",
        "register_task_definition: protocol",
        "run_task: 51 tags",
        "run_task: cluster",
        "run_task: constraint",
        "run_task: container",
        "run_task: count",
        "run_task: launch type",
        "run_task: long overrides",
        "run_task: long started by",
        "run_task: network",
        "run_task: no Fargate",
        "run_task: no count",
        "run_task: provider",
        "run_task: strategy",
        "run_task: tag of AWS",
        "stop_task: no task",
    },
    "another code": {
        "run_task: count as text": "InternalError",
        "run_task: no definition": "ClientException",
        "stop_task: cluster": "InvalidParameterException",
    },
}
