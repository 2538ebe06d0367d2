"""Unmodified moto in a process of its own: reads one request a line, writes one answer a line."""

import json
import sys

from local.aws.moto.calls import Moto
from local.aws.wire import Call, Protocol, Request

SCOPE = "Credential=local/20260101/us-east-1/dynamodb/aws4_request"


def answer_of(moto, action, parameters):
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 {SCOPE}, SignedHeaders=host, Signature=none",
        "content-type": "application/x-amz-json-1.0",
        "host": "127.0.0.1",
        "x-amz-target": f"DynamoDB_20120810.{action}",
    }
    request = Request("POST", "/", headers, json.dumps(parameters).encode())
    answer = moto.call(Call("dynamodb", action, Protocol.JSON), request)
    return [answer.status, json.loads(answer.body or b"null")]


def main():
    moto = Moto(0, shortcuts=False)
    for line in sys.stdin:
        print(json.dumps(answer_of(moto, *json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
