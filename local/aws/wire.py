"""HTTP/1.1 of AWS clients, and the AWS operation of a request. Without sockets.

A small parser, because the AWS endpoint is used by every test and every session, and the standard
library's server spends more time on parsing headers than moto on many calls.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

MAX_LINE_BYTES = 65_536
MAX_HEADERS = 100
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_LENGTH_DIGITS = 20
"""Maximum digits of a Content-Length: Python parses no number with thousands of digits."""
ONCE = frozenset({"host", "origin", "content-length", "transfer-encoding", "sec-fetch-site"})
"""Headers that determine how a request is processed: repeated ones are refused, because parsers
would choose different ones.
"""


class BadRequestError(Exception):
    """The request is not HTTP, or exceeds this server's limits; `status` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    raw_target: str
    headers: Mapping[str, str]
    body: bytes = b""
    keep_alive: bool = True

    @property
    def path(self) -> str:
        """The path as it was sent, without the query."""
        return self.raw_target.partition("?")[0]

    @property
    def unquoted_path(self) -> str:
        """The path in WSGI's form: decoded, and then interpreted as Latin-1."""
        path = self.path
        return unquote(path, "latin-1") if "%" in path else path

    @property
    def query(self) -> str:
        """The query string."""
        return self.raw_target.partition("?")[2]

    @property
    def target(self) -> str:
        """X-Amz-Target, or an empty string."""
        return self.headers.get("x-amz-target", "")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Protocol(Enum):
    """The serialization of an AWS service's answers."""

    JSON = "json"
    XML = "xml"
    EC2 = "ec2"


@dataclass(frozen=True)
class Call:
    """The AWS operation of a request: boto3's name of the service, and the action."""

    service: str
    action: str
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.service}.{self.action}"


def read_request(stream: BufferedIOBase, reply: BufferedIOBase) -> Request | None:
    """Read one request; None at the end of the stream. Raises BadRequestError.

    `reply` gets "100 Continue" when the client waits for it.
    """
    line = stream.readline(MAX_LINE_BYTES + 1)
    if line in {b"\r\n", b"\n"}:  # left over from a body that was followed by a line end
        line = stream.readline(MAX_LINE_BYTES + 1)
    if not line:
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError(400, "not an HTTP/1 request line")
    headers = _read_headers(stream)
    if headers.get("expect", "").lower() == "100-continue":
        reply.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        reply.flush()
    body = _read_body(stream, headers)
    connection = headers.get("connection", "").lower()
    keep = connection != "close" and (parts[2] != "HTTP/1.0" or connection == "keep-alive")
    return Request(parts[0], parts[1], headers, body, keep)


def _read_headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = stream.readline(MAX_LINE_BYTES + 1)
        if len(line) > MAX_LINE_BYTES:
            break
        if line in {b"\r\n", b"\n"}:
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequestError(400, "a header without a colon")
        name = name.lower()
        if name in ONCE and name in headers:
            raise BadRequestError(400, f"more than one {name}")
        headers[name] = value.strip()
    raise BadRequestError(431, "too many headers")


def _read_body(stream: BufferedIOBase, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(stream)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
        raise BadRequestError(400, "Content-Length is no number")
    return _read_exactly(stream, int(length))


def _read_chunks(stream: BufferedIOBase) -> bytes:
    chunks = bytearray()
    while True:
        size = stream.readline(MAX_LINE_BYTES).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size):
            raise BadRequestError(400, "a chunk without a length")
        length = int(size, 16)
        if length == 0:
            while stream.readline(MAX_LINE_BYTES) not in {b"\r\n", b"\n", b""}:
                pass
            return bytes(chunks)
        chunks += _read_exactly(stream, length)
        if len(chunks) > MAX_BODY_BYTES:
            raise BadRequestError(413, "body too large")
        stream.readline(3)


def _read_exactly(stream: BufferedIOBase, length: int) -> bytes:
    if length > MAX_BODY_BYTES:
        raise BadRequestError(413, "body too large")
    body = stream.read(length) if length else b""
    if len(body) < length:
        raise BadRequestError(400, "the body ended early")
    return body


def render(answer: Answer, *, keep_alive: bool, head: bool = False) -> bytes:
    """The bytes of an answer, in one piece so that they leave in one segment."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    lines += [
        f"{name}: {value}"
        for name, value in answer.headers.items()
        if name.lower() not in {"content-length", "connection", "transfer-encoding", "status"}
    ]
    lines.append(f"Content-Length: {len(answer.body)}")
    if not keep_alive:
        lines.append("Connection: close")
    start = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return start if head else start + answer.body


_SERVICES = {
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "DynamoDB_20120810": "dynamodb",
    "DynamoDBStreams_20120810": "dynamodbstreams",
    "Kinesis_20131202": "kinesis",
    "AmazonSQS": "sqs",
    "AWSEvents": "events",
}


def identify(request: Request) -> Call:
    """The AWS operation of a request, from its X-Amz-Target, or from its signature and body."""
    if request.target:
        prefix, _, action = request.target.rpartition(".")
        service = _SERVICES.get(prefix) or _signed_for(request) or prefix.lower()
        return Call(service, action, Protocol.JSON)
    service = _signed_for(request) or "unknown"
    if service == "s3":
        return Call(service, _s3_action(request), Protocol.XML)
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        action = parse_qs(request.body.decode("latin-1")).get("Action", ["unknown"])[0]
        return Call(service, action, Protocol.EC2 if service == "ec2" else Protocol.XML)
    if service == "scheduler":
        return Call(service, _scheduler_action(request), Protocol.JSON)
    if "smithy-protocol" in request.headers:  # /service/NAME/operation/ACTION
        return Call(service, request.path.rpartition("/")[2], Protocol.JSON)
    return Call(service, f"{request.method} {request.path}", Protocol.JSON)


_SCHEDULER = {
    ("POST", "schedules", 2): "CreateSchedule",
    ("PUT", "schedules", 2): "UpdateSchedule",
    ("GET", "schedules", 2): "GetSchedule",
    ("DELETE", "schedules", 2): "DeleteSchedule",
    ("GET", "schedules", 1): "ListSchedules",
    ("POST", "schedule-groups", 2): "CreateScheduleGroup",
    ("GET", "schedule-groups", 2): "GetScheduleGroup",
    ("DELETE", "schedule-groups", 2): "DeleteScheduleGroup",
    ("GET", "schedule-groups", 1): "ListScheduleGroups",
}


def _scheduler_action(request: Request) -> str:
    """EventBridge Scheduler's actions are in method and path."""
    segments = request.path.strip("/").split("/")
    known = _SCHEDULER.get((request.method, segments[0], len(segments)))
    return known or f"{request.method} {request.path}"


_S3 = {"GET": "Get", "HEAD": "Head", "PUT": "Put", "DELETE": "Delete"}


def _s3_action(request: Request) -> str:
    """The operation on objects and buckets by path style, as at endpoints with IP addresses. A
    subresource such as `?acl` is another operation, named by method and query.
    """
    bucket, _, key = request.path.strip("/").partition("/")
    own = set(parse_qs(request.query, keep_blank_values=True))
    own -= {"x-id", "list-type", "prefix", "max-keys"}
    if any(not name.lower().startswith("x-amz-") for name in own) or request.method not in _S3:
        return f"{request.method} {request.path}"
    if key:
        return f"{_S3[request.method]}Object"
    if request.method == "PUT":
        return "CreateBucket"
    return "ListObjectsV2" if request.method == "GET" and bucket else f"{_S3[request.method]}Bucket"


def credential_of(request: Request) -> str | None:
    """The credential of a request's signature, KEY/DATE/REGION/SERVICE/aws4_request: in the header,
    or in the query of a presigned URL.
    """
    _, found, rest = request.headers.get("authorization", "").partition("Credential=")
    if found:
        return rest.partition(",")[0]
    return parse_qs(request.query).get("X-Amz-Credential", [None])[0]


def _signed_for(request: Request) -> str | None:
    """The service in a SigV4 credential scope."""
    parts = (credential_of(request) or "").split("/")
    return parts[-2].lower() if len(parts) >= 5 else None


def json_answer(
    document: Any, status: int = 200, content_type: str = "application/x-amz-json-1.1"
) -> Answer:
    """An answer in JSON; instants become seconds since the epoch, as AWS writes them."""
    body = json.dumps(document, default=_plain, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": content_type}, body)


def _plain(value: Any) -> Any:
    if hasattr(value, "timestamp"):
        return value.timestamp()
    raise TypeError(f"not JSON: {value!r}")


def error_answer(call: Call, code: str, message: str, status: int) -> Answer:
    """An error as the service's clients expect it."""
    if call.protocol is Protocol.JSON:
        answer = json_answer({"__type": code, "message": message, "Message": message}, status)
        if call.service == "sqs":  # clients of SQS's older protocol look for the code in here
            kind = "Sender" if status < 500 else "Receiver"
            headers = {**answer.headers, "x-amzn-query-error": f"{code};{kind}"}
            return Answer(status, headers, answer.body)
        return answer
    inner = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if call.protocol is Protocol.EC2:
        errors = f"<Errors><Error>{inner}</Error></Errors>"
        xml = f"<Response>{errors}<RequestID>local</RequestID></Response>"
    else:
        xml = f"<ErrorResponse><Error>{inner}</Error><RequestId>local</RequestId></ErrorResponse>"
    return Answer(status, {"Content-Type": "text/xml"}, xml.encode())
