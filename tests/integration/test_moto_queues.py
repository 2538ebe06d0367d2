"""SQS in moto: a waiting receiver blocks no other, and no message is received twice."""

import gc
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sqs.models import Message, sqs_backends

from local.aws.moto.calls import Moto
from local.aws.moto.shortcuts import DELETED_KEPT
from local.aws.wire import Call, Protocol, Request

SCOPE = "Credential=local/20260101/us-east-1/sqs/aws4_request"
RECEIVERS = 16


@pytest.fixture(scope="module")
def moto():
    return Moto(0)


@pytest.fixture
def hasty_threads():
    """Threads switch as often as possible, so that a race shows where there is one."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def ask(moto, action, **parameters):
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host, Signature=none",
        "content-type": "application/x-amz-json-1.0",
        "host": "127.0.0.1",
        "x-amz-target": f"AmazonSQS.{action}",
    }
    request = Request("POST", "/", headers, json.dumps(parameters).encode())
    answer = moto.call(Call("sqs", action, Protocol.JSON), request)
    assert answer.status == 200, answer
    return json.loads(answer.body or b"{}")


def bodies(answer):
    return [message["Body"] for message in answer.get("Messages", [])]


def test_of_many_who_receive_at_once_no_two_get_the_same(moto, hasty_threads):
    url = ask(moto, "CreateQueue", QueueName="at-once")["QueueUrl"]
    for n in range(200):
        ask(moto, "SendMessage", QueueUrl=url, MessageBody=str(n))
    gate = threading.Barrier(RECEIVERS)

    def receive(_):
        gate.wait()
        found = []
        while some := bodies(ask(moto, "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=3)):
            found += some
        return found

    with ThreadPoolExecutor(RECEIVERS) as pool:
        received = [body for found in pool.map(receive, range(RECEIVERS)) for body in found]
    assert sorted(received) == sorted(str(n) for n in range(200))


def test_who_waits_for_a_message_keeps_nobody_out_and_gets_it(moto):
    url = ask(moto, "CreateQueue", QueueName="awaited")["QueueUrl"]
    waiting = threading.Event()

    def receive():
        waiting.set()
        return bodies(ask(moto, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20))

    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(receive)
        waiting.wait(5)
        ask(moto, "SendMessage", QueueUrl=url, MessageBody="at last")
        assert received.result(10) == ["at last"]


def test_messages_that_were_deleted_are_not_kept(moto):
    url = ask(moto, "CreateQueue", QueueName="passing")["QueueUrl"]
    before = living_messages()
    for n in range(100):
        ask(moto, "SendMessage", QueueUrl=url, MessageBody=str(n))
        (message,) = ask(moto, "ReceiveMessage", QueueUrl=url)["Messages"]
        ask(moto, "DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert living_messages() == before


def test_of_the_receipts_of_deleted_messages_the_newest_are_kept(moto):
    url = ask(moto, "CreateQueue", QueueName="receipts")["QueueUrl"]
    receipts = []
    for n in range(DELETED_KEPT + 20):
        ask(moto, "SendMessage", QueueUrl=url, MessageBody=str(n))
        (message,) = ask(moto, "ReceiveMessage", QueueUrl=url)["Messages"]
        receipts.append(message["ReceiptHandle"])
        ask(moto, "DeleteMessage", QueueUrl=url, ReceiptHandle=receipts[-1])
    queue = sqs_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].queues["receipts"]
    assert len(queue.deleted_messages) == DELETED_KEPT
    ask(moto, "DeleteMessage", QueueUrl=url, ReceiptHandle=receipts[-1])  # again, as SQS allows


def living_messages():
    gc.collect()
    return sum(isinstance(found, Message) for found in gc.get_objects())
