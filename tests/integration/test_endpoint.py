"""The AWS endpoint with plain boto3: races, routing, faults, credentials."""

import http.client
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.integration.conftest import request, wait_until

THREADS = 64
LOST = {"ConditionalCheckFailedException", "TransactionCanceledException"}


@pytest.fixture(scope="module")
def table(fixture_cloud):
    """A table of its own with the key `id`."""
    fixture_cloud.client("dynamodb").create_table(
        TableName="races",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    return "races"


def at_once(work, count=THREADS):
    """Run work(n) in `count` threads that start together; the results."""
    gate = threading.Barrier(count)

    def run(n):
        gate.wait()
        return work(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def wins(call):
    """Whether a conditional write succeeded."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in LOST:
            raise
        return False
    return True


def test_of_many_conditional_puts_one_wins(fixture_cloud, table):
    dynamodb = fixture_cloud.client("dynamodb")
    for _ in range(5):
        key = uuid.uuid4().hex

        def put(n, key=key):
            item = {"id": {"S": key}, "n": {"N": str(n)}}
            condition = "attribute_not_exists(id)"
            return wins(
                lambda: dynamodb.put_item(TableName=table, Item=item, ConditionExpression=condition)
            )

        results = at_once(put)
        assert sum(results) == 1
        stored = dynamodb.get_item(TableName=table, Key={"id": {"S": key}})["Item"]
        assert int(stored["n"]["N"]) == results.index(True)


def test_of_many_conditional_updates_one_wins_each_round(fixture_cloud, table):
    dynamodb = fixture_cloud.client("dynamodb")
    key = {"id": {"S": uuid.uuid4().hex}}
    dynamodb.put_item(TableName=table, Item=key | {"version": {"N": "0"}})
    for version in range(5):
        results = at_once(
            lambda n, version=version: wins(
                lambda: dynamodb.update_item(
                    TableName=table,
                    Key=key,
                    UpdateExpression="SET version = :next, winner = :me",
                    ConditionExpression="version = :now",
                    ExpressionAttributeValues={
                        ":now": {"N": str(version)},
                        ":next": {"N": str(version + 1)},
                        ":me": {"N": str(n)},
                    },
                )
            )
        )
        assert sum(results) == 1


def test_failing_transactions_lose_nobodys_writes(fixture_cloud, table):
    dynamodb = fixture_cloud.client("dynamodb")
    taken = {"id": {"S": uuid.uuid4().hex}}
    dynamodb.put_item(TableName=table, Item=taken)
    prefix = uuid.uuid4().hex

    def work(n):
        item = {"id": {"S": f"{prefix}-{n}"}}
        if n % 2:
            dynamodb.put_item(TableName=table, Item=item)
            return True
        put = {"TableName": table, "ConditionExpression": "attribute_not_exists(id)"}
        return wins(
            lambda: dynamodb.transact_write_items(
                TransactItems=[{"Put": put | {"Item": item}}, {"Put": put | {"Item": taken}}]
            )
        )

    results = [result for _ in range(3) for result in at_once(work)]
    assert sum(results) == 3 * THREADS // 2
    for n in range(THREADS):
        found = dynamodb.get_item(TableName=table, Key={"id": {"S": f"{prefix}-{n}"}})
        assert ("Item" in found) == bool(n % 2)


def test_a_counter_loses_no_increment(fixture_cloud, table):
    dynamodb = fixture_cloud.client("dynamodb")
    key = {"id": {"S": uuid.uuid4().hex}}

    def add(_):
        for _ in range(3):
            dynamodb.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="ADD increments :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    at_once(add)
    stored = dynamodb.get_item(TableName=table, Key=key)["Item"]
    assert int(stored["increments"]["N"]) == 3 * THREADS


def test_a_queue_under_many_readers_loses_no_message(fixture_cloud):
    sqs = fixture_cloud.client("sqs")
    url = sqs.create_queue(QueueName=f"races-{uuid.uuid4().hex}")["QueueUrl"]
    for n in range(40):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))

    def receive(_):
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=5)
        return [message["Body"] for message in answer.get("Messages", [])]

    received = [body for bodies in at_once(receive, 16) for body in bodies]
    assert sorted(received) == sorted(str(n) for n in range(40))


def test_no_message_is_given_to_two_of_many_who_wait_for_it(fixture_cloud):
    sqs = fixture_cloud.client("sqs")
    url = sqs.create_queue(QueueName=f"races-{uuid.uuid4().hex}")["QueueUrl"]
    sent = [str(n) for n in range(60)]
    received = []
    done = threading.Event()

    def receive(_):
        while not done.is_set():
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=1)
            received.extend(message["Body"] for message in answer.get("Messages", []))

    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(receive, n) for n in range(12)]
        for body in sent:  # while all of them wait, which must not block this request
            sqs.send_message(QueueUrl=url, MessageBody=body)
        wait_until(lambda: len(received) >= len(sent))
        done.set()
    assert all(one.result() is None for one in waiting)
    assert sorted(received) == sorted(sent)


def test_an_error_before_the_call_does_nothing(fixture_cloud, table):
    dynamodb = fixture_cloud.client("dynamodb", counted=True)
    key = {"id": {"S": uuid.uuid4().hex}}
    fixture_cloud.faults(
        calls={
            "dynamodb.PutItem": {
                "fail_before": {"times": 1, "error": "ProvisionedThroughputExceededException"}
            }
        }
    )
    with pytest.raises(ClientError) as failed:
        dynamodb.put_item(TableName=table, Item=key)
    assert failed.value.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)
    dynamodb.put_item(TableName=table, Item=key)
    fixture_cloud.faults()
    assert fixture_cloud.state()["injected"]["dynamodb.PutItem fail_before"] == 1


def test_a_lost_reply_was_carried_out(fixture_cloud, table):
    dynamodb = fixture_cloud.client("dynamodb", counted=True)
    key = {"id": {"S": uuid.uuid4().hex}}
    fixture_cloud.faults(calls={"dynamodb.PutItem": {"lose_reply": {"times": 1}}})
    with pytest.raises(ConnectionClosedError):
        dynamodb.put_item(TableName=table, Item=key)
    fixture_cloud.faults()
    assert "Item" in dynamodb.get_item(TableName=table, Key=key)


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("ecs", "list_clusters", {}),
        ("sqs", "list_queues", {}),
        ("kinesis", "list_streams", {}),
        ("events", "list_rules", {}),
        ("ec2", "describe_instances", {}),
        ("sts", "get_caller_identity", {}),
        ("ssm", "describe_parameters", {}),
    ],
)
def test_a_fault_speaks_the_protocol_of_its_service(fixture_cloud, service, operation, arguments):
    client = fixture_cloud.client(service, counted=True)
    fixture_cloud.faults(
        calls={f"{service}.*": {"fail_before": {"times": 1, "error": "Strange", "status": 400}}}
    )
    with pytest.raises(ClientError) as failed:
        getattr(client, operation)(**arguments)
    fixture_cloud.faults()
    assert failed.value.response["Error"]["Code"] == "Strange"
    getattr(client, operation)(**arguments)


def test_switches_that_do_not_exist_are_refused_and_change_nothing(fixture_cloud):
    fixture_cloud.faults(drop_events=0.0)
    status, answer = request("PUT", f"{fixture_cloud.aws}/_local/faults", {"drop_event": 1})
    assert status == 400
    assert "drop_event" in answer["message"]
    assert fixture_cloud.control("GET", "faults") == {"drop_events": 0.0}
    fixture_cloud.faults()


def test_calls_are_counted_but_those_of_observers_are_not(fixture_cloud, table):
    before = fixture_cloud.state()["calls"].get("dynamodb.DescribeTable", 0)
    fixture_cloud.client("dynamodb").describe_table(TableName=table)
    fixture_cloud.client("dynamodb", counted=True).describe_table(TableName=table)
    assert fixture_cloud.state()["calls"]["dynamodb.DescribeTable"] == before + 1


def test_hosts_are_ec2_instances_with_a_public_address(fixture_cloud):
    ecs, ec2 = fixture_cloud.client("ecs"), fixture_cloud.client("ec2")
    arns = ecs.list_container_instances(cluster="usher-local")["containerInstanceArns"]
    described = ecs.describe_container_instances(cluster="usher-local", containerInstances=arns)
    ids = [instance["ec2InstanceId"] for instance in described["containerInstances"]]
    reservations = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    found = {i["InstanceId"]: i for r in reservations for i in r["Instances"]}
    assert set(found) == set(ids)
    assert {instance["PublicIpAddress"] for instance in found.values()} == {"127.0.0.1"}
    with pytest.raises(ClientError) as failed:
        ec2.describe_instances(InstanceIds=["i-00000000000000abc"])
    assert failed.value.response["Error"]["Code"] == "InvalidInstanceID.NotFound"


def test_ecs_errors_are_those_boto3_knows(fixture_cloud):
    ecs = fixture_cloud.client("ecs")
    with pytest.raises(ecs.exceptions.ClusterNotFoundException):
        ecs.run_task(cluster="nowhere", taskDefinition="nothing")


def test_a_task_with_a_role_gets_credentials_and_nobody_else_does(fixture_cloud):
    ecs = fixture_cloud.client("ecs")
    for family, role in (("with-role", "arn:aws:iam::123456789012:role/r"), ("without", None)):
        ecs.register_task_definition(
            family=family,
            containerDefinitions=[
                {
                    "name": "c",
                    "image": "usher-session",
                    "memory": 64,
                    "entryPoint": ["python", "-c", "import time; time.sleep(60)"],
                    "stopTimeout": 2,
                }
            ],
            **({"taskRoleArn": role} if role else {}),
        )
    ids = {}
    for family in ("with-role", "without"):
        task = ecs.run_task(cluster="usher-local", taskDefinition=family)["tasks"][0]["taskArn"]
        ids[family] = task.rpartition("/")[2]
    credentials = f"{fixture_cloud.aws}/v2/credentials"
    status, answer = request("GET", f"{credentials}/{ids['with-role']}")
    assert status == 200
    assert answer["RoleArn"].endswith(":role/r")
    assert {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} < set(answer)
    assert request("GET", f"{credentials}/{ids['without']}")[0] == 400
    for task in ids.values():
        ecs.stop_task(cluster="usher-local", task=task)
    wait_until(lambda: not fixture_cloud.tasks())


def test_a_connection_serves_many_requests_and_survives_a_bad_one(fixture_cloud):
    address = fixture_cloud.aws.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=10)
    for _ in range(3):
        connection.request("GET", "/_local/faults")
        assert json.loads(connection.getresponse().read()) == {}
    assert connection.sock is not None
    connection.sock.sendall(b"nonsense\r\n\r\n")
    assert connection.sock.recv(4096).startswith(b"HTTP/1.1 400 ")
    connection.close()
    assert fixture_cloud.state()["run"] == fixture_cloud.run_id


def test_a_host_that_dies_takes_its_tasks_along(start_fixture_cloud):
    running = start_fixture_cloud(hosts=1)
    ecs = running.client("ecs")
    ecs.register_task_definition(
        family="sleeper",
        containerDefinitions=[
            {
                "name": "c",
                "image": "usher-session",
                "memory": 64,
                "entryPoint": ["python", "-c", "import time; time.sleep(60)"],
                "stopTimeout": 2,
            }
        ],
    )
    ecs.run_task(cluster="usher-local", taskDefinition="sleeper")
    wait_until(lambda: [t for t in running.tasks() if t["lastStatus"] == "RUNNING"])
    running.control("POST", "hosts/host-1/kill")
    wait_until(lambda: not running.tasks())
    assert [host["alive"] for host in running.state()["hosts"]] == [False]
    assert request("POST", f"{running.aws}/_local/hosts/host-9/kill", {})[0] == 404
