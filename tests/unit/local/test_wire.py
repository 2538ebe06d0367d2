import io
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.aws.wire import (
    Answer,
    BadRequestError,
    Call,
    Protocol,
    Request,
    error_answer,
    identify,
    read_request,
    render,
)


def read(data):
    reply = io.BytesIO()
    return read_request(io.BytesIO(data), reply), reply.getvalue()


def test_a_request_is_read_whole_and_the_next_one_follows():
    stream = io.BytesIO(
        b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    )
    first = read_request(stream, io.BytesIO())
    assert (first.method, first.path, first.query, first.body) == ("POST", "/a", "b=c", b"abc")
    assert first.keep_alive
    assert not read_request(stream, io.BytesIO()).keep_alive
    assert read_request(stream, io.BytesIO()) is None


def test_chunks_are_put_together():
    request, _ = read(
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
    )
    assert request.body == b"abcdefg"


def test_a_client_that_waits_is_told_to_continue():
    request, reply = read(b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
    assert request.body == b"x"
    assert reply == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_http_1_0_closes_unless_told_otherwise():
    assert not read(b"GET / HTTP/1.0\r\n\r\n")[0].keep_alive
    assert read(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")[0].keep_alive


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused(data, status):
    with pytest.raises(BadRequestError) as refused:
        read(data)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_junk_is_refused_or_read_and_never_crashes(data):
    with suppress(BadRequestError):
        read(data)


def test_an_answer_has_one_length_and_says_when_it_closes():
    answer = Answer(200, {"Content-Length": "99", "connection": "x", "A": "b"}, b"abc")
    text = render(answer, keep_alive=False)
    head, body = text.split(b"\r\n\r\n")
    assert body == b"abc"
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK", b"A: b", b"Content-Length: 3", b"Connection: close",
    ]  # fmt: skip
    assert render(answer, keep_alive=True, head=True).endswith(b"\r\n\r\n")


FORM = "application/x-www-form-urlencoded"
SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/eu-west-1/{}/aws4_request, SignedHeaders=h"


@pytest.mark.parametrize(
    ("headers", "target", "body", "expected"),
    [
        ({"x-amz-target": "DynamoDB_20120810.GetItem"}, "/", b"{}", "dynamodb.GetItem"),
        ({"x-amz-target": "Kinesis_20131202.PutRecord"}, "/", b"{}", "kinesis.PutRecord"),
        ({"x-amz-target": "AmazonSSM.GetParameter", "authorization": SIGNED.format("ssm")}, "/",
         b"", "ssm.GetParameter"),
        ({"authorization": SIGNED.format("sts"), "content-type": FORM},
         "/", b"Action=GetCallerIdentity&Version=2011", "sts.GetCallerIdentity"),
        ({"authorization": SIGNED.format("s3")}, "/bucket/key?x", b"", "s3.GET /bucket/key"),
        ({"authorization": SIGNED.format("ecs"), "smithy-protocol": "rpc-v2-cbor"},
         "/service/X/operation/RunTask", b"", "ecs.RunTask"),
        ({}, "/", b"", "unknown.GET /"),
    ],
)  # fmt: skip
def test_a_request_is_known_by_its_target_or_its_signature(headers, target, body, expected):
    assert str(identify(Request("GET", target, headers, body))) == expected


def test_errors_are_written_in_the_protocol_of_the_service():
    json_error = error_answer(Call("ecs", "X", Protocol.JSON), "Code", "why", 400)
    assert json.loads(json_error.body)["__type"] == "Code"
    queue_error = error_answer(Call("sqs", "X", Protocol.JSON), "Code", "why", 500)
    assert queue_error.headers["x-amzn-query-error"] == "Code;Receiver"
    assert b"<Errors><Error><Code>Code</Code>" in (
        error_answer(Call("ec2", "X", Protocol.EC2), "Code", "a < b", 400).body
    )
    assert b"a &lt; b" in error_answer(Call("sts", "X", Protocol.XML), "Code", "a < b", 400).body
