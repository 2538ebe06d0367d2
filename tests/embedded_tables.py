"""The embedded cloud's DynamoDB behind boto3 clients, without a socket."""

from contextlib import AbstractContextManager
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from local.aws.endpoint import Endpoint, Hosts
from local.aws.faults import Faults
from local.aws.moto.calls import Moto
from local.aws.wire import Answer, Request


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self):
        yield self._content


class EmbeddedTables:
    """One DynamoDB. moto keeps its tables for the process: `reset` makes it empty."""

    def __init__(self) -> None:
        self._moto = Moto(0)
        self._endpoint = Endpoint(
            moto=self._moto,
            ecs=None,
            hosts=Hosts(lambda _: None, lambda _: None, lambda _: None),
            faults=Faults(),
            control=lambda _: Answer(404),
            publish=lambda _: None,
            region="us-east-1",
        )

    def reset(self) -> None:
        from moto.dynamodb.models import dynamodb_backends

        dynamodb_backends["123456789012"]["us-east-1"].reset()

    def hold(self, table: str, item_id: str) -> AbstractContextManager[None]:
        """A transaction that writes an item, from its arrival to its answer."""
        write = {"Update": {"TableName": table, "Key": {"id": {"S": item_id}}}}
        transactions, schema = self._endpoint.transactions, self._moto.dynamodb_schema("us-east-1")
        return transactions.around("TransactWriteItems", {"TransactItems": [write]}, schema)

    def client(self, *, attempts: int = 1, **settings: Any) -> Any:
        """A boto3 client of it; `settings` are those of botocore's Config."""
        client = boto3.session.Session().client(
            "dynamodb",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": attempts}, **settings),
        )
        client.meta.events.register_first("before-send", self._send)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        answer = self._endpoint.answer(Request(request.method, "/", headers, body))
        assert answer is not None
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Body(answer.body))
