"""Kinesis's three calls for a feed, over plain HTTP with signed requests."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from chalicelib.contract.sigv4 import Signer
from session_handler.credentials import CredentialCache, CredentialsError
from session_handler.http_client import HttpClient, HttpError, TooLargeError

TIMEOUT_SECONDS = 10.0

UNREACHABLE = "Unreachable"
NO_CREDENTIALS = "NoCredentials"
TOO_LARGE = "AnswerTooLarge"

THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
STALE_CREDENTIALS = frozenset({"ExpiredTokenException", "UnrecognizedClientException"})
HOPELESS = frozenset(
    {
        "AccessDeniedException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


class KinesisError(Exception):
    """Kinesis refused, or its answer is invalid. `code` is Kinesis's or this module's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code

    @property
    def is_throttling(self) -> bool:
        return self.code in THROTTLED

    @property
    def is_hopeless_at_start(self) -> bool:
        """Whether the configuration is wrong, as opposed to a transient error."""
        return self.code in HOPELESS


def endpoint_for(region: str) -> str:
    """Kinesis's public endpoint in a region."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://kinesis.{region}.{suffix}"


class KinesisClient:
    """Signed calls to one region's Kinesis, any number concurrently on kept connections."""

    def __init__(
        self,
        *,
        endpoint_url: str,
        region: str,
        credentials: CredentialCache,
        now: Callable[[], float],
    ) -> None:
        self._http = HttpClient(endpoint_url, timeout_seconds=TIMEOUT_SECONDS)
        self._path = self._http.path.partition("?")[0]
        self._signer = Signer("kinesis", region)
        self._credentials = credentials
        self._now = now
        self.server_time: tuple[float, float] | None = None
        """Kinesis's Date header of the last answer (epoch seconds), and our monotonic instant
        when it came: never ahead of Kinesis's clock.
        """

    async def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """One call. Raises KinesisError."""
        body = json.dumps(parameters).encode()
        headers = {
            "Host": self._http.host_header,
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"Kinesis_20131202.{operation}",
        }
        try:
            credentials = await self._credentials.get()
            if credentials:
                instant = datetime.fromtimestamp(self._now(), UTC)
                headers = self._signer.sign(
                    credentials,
                    method="POST",
                    path=self._path,
                    headers=headers,
                    body=body,
                    now=instant,
                )
            del headers["Host"]  # the HTTP client adds it
            response = await self._http.request("POST", self._path, headers, body)
        except CredentialsError as exc:
            raise KinesisError(NO_CREDENTIALS, str(exc)) from exc
        except HttpError as exc:
            code = TOO_LARGE if isinstance(exc, TooLargeError) else UNREACHABLE
            raise KinesisError(code, str(exc)) from exc
        self._note_time(response.headers.get("date", ""))
        return self._understand(response.status, response.body)

    def close(self) -> None:
        self._http.close()

    def server_now(self) -> float:
        """Kinesis's time in epoch seconds: never ahead, at most about a second behind. The local
        clock before the first answer of Kinesis.
        """
        if self.server_time is None:
            return self._now()
        theirs, ours = self.server_time
        return theirs + time.monotonic() - ours

    def _note_time(self, date: str) -> None:
        try:
            instant = parsedate_to_datetime(date)
        except ValueError:
            return
        self.server_time = (instant.timestamp(), time.monotonic())

    def _understand(self, status: int, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body or b"{}")
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise KinesisError(UNREACHABLE, f"status {status}, and no JSON")
        if status == 200:
            return answer
        code = str(answer.get("__type") or answer.get("code") or f"Status{status}")
        code = code.rpartition("#")[2]
        if code in STALE_CREDENTIALS:
            self._credentials.forget()
        raise KinesisError(code, str(answer.get("message") or answer.get("Message") or ""))
