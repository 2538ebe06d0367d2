"""`--aws-service NAME=URL`: what it takes, and the words of its refusals."""

import pytest

from local.aws.forwarding import SERVICES, OtherService, parse_service


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("sqs=http://127.0.0.1:4566", "http://127.0.0.1:4566"),
        ("sqs=http://localhost:4566/", "http://localhost:4566"),
        ("sqs=http://[::1]:4566", "http://[::1]:4566"),
        ("sqs=https://emulator.example", "https://emulator.example"),
    ],
)
def test_a_service_is_its_name_and_a_url(text, url):
    assert parse_service(text) == OtherService("sqs", url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:4566",
        "ftp://127.0.0.1:4566",
        "http://",
        "http://:4566",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:4566/path",
        "http://127.0.0.1:4566?query",
        "http://127.0.0.1:4566#fragment",
        "http://user:word@127.0.0.1:4566",
        "http://127.0.0.1:4566\r\nX: y",
        "http://a host:4566",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(ValueError, match=r"is not http://HOST:PORT"):
        parse_service(f"sqs={url}")


@pytest.mark.parametrize("name", ["", "SQS", "ecs", "logs", "dynamo"])
def test_an_unknown_name_is_refused_with_all_that_are_known(name):
    with pytest.raises(ValueError, match="dynamodb, events, iam, kinesis") as caught:
        parse_service(f"{name}=http://127.0.0.1:4566")
    assert all(known in str(caught.value) for known in SERVICES)
    assert repr(name) in str(caught.value)


def test_a_name_without_a_url_is_refused():
    with pytest.raises(ValueError, match="'sqs' is not NAME=URL"):
        parse_service("sqs")
