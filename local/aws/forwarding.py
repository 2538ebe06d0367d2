"""Serves a service from another emulator of AWS: forwards each of its calls.

Bodies are limited to `MAX_BODY_BYTES` in both directions and to `ANSWER_SECONDS`; redirects are not
followed. Access is checked before, by `local.access` and the authorizer, so headers that would let
web pages read an answer are removed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from local.access import origin_of
from local.aws.iam.principals import DEVELOPER_KEY
from local.aws.wire import MAX_BODY_BYTES, Answer, Call, Request, error_answer

SERVICES = (
    "dynamodb",
    "events",
    "iam",
    "kinesis",
    "kms",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "sts",
)
"""Services that another emulator may serve. ECS, EC2 and logs belong to this cloud's hosts; S3 has
buckets in its host names, which a forwarder would have to rewrite."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""Longer than the longest poll of SQS, 20 s."""

_CHUNK_BYTES = 64 * 1024
_NOT_SENT = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "transfer-encoding",
        "x-amz-date",
        "x-amz-security-token",
    }
)
"""Headers of one connection, and headers that the new signature replaces; not forwarded."""
_NOT_RETURNED = ("access-control-", "connection", "keep-alive", "transfer-encoding")


@dataclass(frozen=True)
class OtherService:
    """A service, by boto3's name, and the URL of the emulator that serves it."""

    name: str
    url: str


def parse_service(text: str) -> OtherService:
    """NAME=URL, as `--aws-service` takes it. Raises ValueError."""
    name, equals, url = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=URL")
    if name not in SERVICES:
        raise ValueError(f"{name!r} cannot be served from elsewhere: {', '.join(SERVICES)} can")
    try:
        url = origin_of(url)
        _ = urlsplit(url).port  # raises for one that does not exist
    except ValueError as error:
        raise ValueError(f"{url!r} is not http://HOST:PORT") from error
    return OtherService(name, url)


class UnreachableServiceError(Exception):
    """Nothing answers at the URL of a service."""


class Forwarder:
    """Sends the calls of one service to an emulator. Thread-safe.

    Each call is signed anew, for the emulator's host and as the developer: emulators that keep the
    tables of each access key apart, as DynamoDB Local does, have one set of them.
    """

    def __init__(self, service: OtherService, region: str) -> None:
        """`region` is signed for where the call names none. Opens no connection yet."""
        import urllib3
        from botocore.credentials import Credentials

        self.service = service
        self._region = region
        self._credentials = Credentials(DEVELOPER_KEY, DEVELOPER_KEY)
        self._pool = urllib3.connection_from_url(
            service.url,
            maxsize=64,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
        )

    def check(self) -> None:
        """Raises UnreachableServiceError unless something speaks HTTP there."""
        from urllib3.exceptions import HTTPError

        try:
            self._pool.urlopen("GET", "/", redirect=False, preload_content=False).close()
        except HTTPError as error:
            raise UnreachableServiceError(self._unreachable(error)) from error

    def answer(self, call: Call, request: Request) -> Answer:
        """The emulator's answer; 503 if it cannot be reached, 502 if the answer exceeds the
        limits.
        """
        from urllib3.exceptions import HTTPError

        try:
            response = self._pool.urlopen(
                request.method,
                request.raw_target,
                body=request.body,
                headers=self._signed(request),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                body = _read(response)
            except _EndlessError as error:
                response.close()
                message = f"{self.service.name} of {self.service.url}: {error}"
                return error_answer(call, "BadGateway", message, 502)
            finally:
                response.release_conn()
        except HTTPError as error:
            return error_answer(call, "ServiceUnavailable", self._unreachable(error), 503)
        headers = {
            name: value
            for name, value in response.headers.items()
            if not name.lower().startswith(_NOT_RETURNED)
        }
        return Answer(response.status, headers, body)

    def _signed(self, request: Request) -> Mapping[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        kept = {name: value for name, value in request.headers.items() if name not in _NOT_SENT}
        kept["host"] = urlsplit(self.service.url).netloc
        url = self.service.url + request.raw_target
        signed = AWSRequest(method=request.method, url=url, data=request.body, headers=kept)
        region = _region_of(request) or self._region
        SigV4Auth(self._credentials, self.service.name, region).add_auth(signed)
        return dict(signed.headers.items())

    def _unreachable(self, error: Exception) -> str:
        return f"{self.service.name} is served from {self.service.url}: no answer ({error})"


class _EndlessError(Exception):
    """An answer that is longer, or takes longer, than this forwarder keeps."""


def _read(response: Any) -> bytes:
    deadline = time.monotonic() + ANSWER_SECONDS
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _EndlessError(f"an answer of more than {MAX_BODY_BYTES} bytes")
        if time.monotonic() > deadline:
            raise _EndlessError(f"an answer that took more than {ANSWER_SECONDS:g} s")
    return bytes(body)


def _region_of(request: Request) -> str | None:
    """The region in a SigV4 credential scope: KEY/DATE/REGION/SERVICE/aws4_request."""
    scope = request.headers.get("authorization", "").partition("Credential=")[2].partition(",")[0]
    parts = scope.split("/")
    return parts[-3] if len(parts) >= 5 else None
