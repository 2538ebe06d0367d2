"""Gets this container's AWS credentials, from its environment or from ECS's endpoint."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from chalicelib.contract.sigv4 import Credentials
from session_handler.http_client import HttpClient, HttpError

ECS_CREDENTIALS_ORIGIN = "http://169.254.170.2"
"""Origin of the ECS agent's endpoint for RELATIVE_URI."""

REFRESH_BEFORE_SECONDS = 300.0
"""ECS has new credentials ready well before the old ones expire."""

TIMEOUT_SECONDS = 5.0


class CredentialsError(Exception):
    """The credentials endpoint returned none."""


@dataclass(frozen=True)
class CredentialSource:
    """The source of credentials in the environment. Static keys have precedence, as in the AWS
    SDKs.
    """

    static: Credentials | None = None
    url: str | None = None
    authorization: str | None = None
    authorization_file: str | None = None

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> "CredentialSource":
        access_key = environ.get("AWS_ACCESS_KEY_ID")
        secret_key = environ.get("AWS_SECRET_ACCESS_KEY")
        static = None
        if access_key and secret_key:
            static = Credentials(access_key, secret_key, environ.get("AWS_SESSION_TOKEN") or None)
        url = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or None
        if relative := environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
            url = ECS_CREDENTIALS_ORIGIN + relative
        return cls(
            static=static,
            url=url,
            authorization=environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN") or None,
            authorization_file=environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") or None,
        )


def parse_answer(body: bytes) -> Credentials:
    """Read the endpoint's JSON. Raises CredentialsError."""
    try:
        answer = json.loads(body)
        expiration = answer.get("Expiration")
        return Credentials(
            answer["AccessKeyId"],
            answer["SecretAccessKey"],
            answer.get("Token") or None,
            datetime.fromisoformat(expiration).timestamp() if expiration else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CredentialsError("the credentials endpoint's answer is not understood") from exc


class CredentialCache:
    """Returns valid credentials; fetches new ones before the old ones expire."""

    def __init__(self, source: CredentialSource, now: Callable[[], float]) -> None:
        self._source = source
        self._now = now
        self._current = source.static
        self._lock = asyncio.Lock()

    async def get(self) -> Credentials | None:
        """Valid credentials; None if the environment names no source: requests are then not signed.
        Raises CredentialsError if the endpoint returns none and the last ones have expired.
        """
        if self._source.static or not self._source.url:
            return self._source.static
        if self._is_fresh():
            return self._current
        async with self._lock:
            if self._is_fresh():
                return self._current
            try:
                self._current = await self._fetch(self._source.url)
            except CredentialsError:
                if self._current is None or self._has_ended():
                    raise
            return self._current

    def forget(self) -> None:
        """Fetch new ones next time: AWS has refused the present ones."""
        if not self._source.static:
            self._current = None

    def _is_fresh(self) -> bool:
        if self._current is None:
            return False
        ends = self._current.expires_at
        return ends is None or self._now() < ends - REFRESH_BEFORE_SECONDS

    def _has_ended(self) -> bool:
        ends = self._current.expires_at if self._current else None
        return ends is not None and self._now() >= ends

    async def _fetch(self, url: str) -> Credentials:
        client = HttpClient(url, timeout_seconds=TIMEOUT_SECONDS)
        try:
            response = await client.request("GET", client.path, self._headers())
        except HttpError as exc:
            raise CredentialsError(f"the credentials endpoint: {exc}") from exc
        finally:
            client.close()
        if response.status != 200:
            raise CredentialsError(f"the credentials endpoint answered {response.status}")
        return parse_answer(response.body)

    def _headers(self) -> dict[str, str]:
        token = self._source.authorization
        if self._source.authorization_file:
            # Read each time, because the token in the file may be rotated.
            try:
                with open(self._source.authorization_file, encoding="ascii") as file:
                    token = file.read().strip()
            except (OSError, ValueError) as exc:
                raise CredentialsError(f"the credentials token file: {exc}") from exc
        return {"Authorization": token} if token else {}
