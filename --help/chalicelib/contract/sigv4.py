"""AWS Signature Version 4 for requests without a query string.

Implements "Create a signed AWS API request" of the AWS General Reference. Tests compare its results
with botocore's signer, which would take 30 ms and 5 MiB at start.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple


class Credentials(NamedTuple):
    """Credentials for signing. `expires_at` is in seconds since 1970, None for no expiry."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires_at: float | None = None

    def __repr__(self) -> str:
        """Without secrets, because representations may be logged."""
        return f"Credentials({self.access_key}, expires_at={self.expires_at})"


class Signer:
    """Signs for one service in one region; caches the day's signing key."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._key: tuple[str, str, bytes] | None = None

    def sign(
        self,
        credentials: Credentials,
        *,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
    ) -> dict[str, str]:
        """Return `headers` and the headers of the signature.

        `headers` must contain `host`; `path` is encoded and has no query; `now` is UTC.
        """
        instant = now.strftime("%Y%m%dT%H%M%SZ")
        day = instant[:8]
        signed = {**headers, "X-Amz-Date": instant}
        if credentials.token:
            signed["X-Amz-Security-Token"] = credentials.token
        canonical = sorted(
            (name.lower(), " ".join(value.split())) for name, value in signed.items()
        )
        names = ";".join(name for name, _ in canonical)
        request = "\n".join(
            [
                method,
                path,
                "",
                *(f"{name}:{value}" for name, value in canonical),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            ]
        )
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{instant}\n{scope}\n{digest}"
        signature = _hmac(self._signing_key(credentials.secret_key, day), to_sign).hex()
        signed["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        if self._key is None or self._key[:2] != (secret_key, day):
            key = _hmac(b"AWS4" + secret_key.encode(), day)
            for part in (self._region, self._service, "aws4_request"):
                key = _hmac(key, part)
            self._key = (secret_key, day, key)
        return self._key[2]


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")
