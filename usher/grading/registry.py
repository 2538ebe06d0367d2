"""Permits the engine to pull from Amazon ECR with this task's role.

The engine receives a registry's credentials with each pull and stores none.
https://docs.docker.com/reference/api/engine/version/v1.41/#section/Authentication
"""

import base64
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime

from chalicelib.contract.sigv4 import Credentials, Signer
from usher.errors import UsherError

ECR = re.compile(r"(\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?))/.+")
AGENT = "http://169.254.170.2"
"""The ECS agent's endpoint for credentials of a task's role."""
CALL_SECONDS = 10.0


class RegistryError(UsherError):
    """The registry's credentials cannot be read; the message has the reason."""


def pull_headers(image: str) -> dict[str, str]:
    """The headers of the engine's pull of an image; empty for other registries and without a role.
    Raises RegistryError.
    """
    named = ECR.fullmatch(image)
    address = _credentials_url(os.environ)
    if named is None or address is None:
        return {}
    registry, region, domain = named.groups()
    endpoint = _endpoint(os.environ) or f"https://api.ecr.{region}.{domain}"
    try:
        credentials = _credentials(address)
        token = _token(endpoint, region, credentials)
        user, _, password = base64.b64decode(token).decode().partition(":")
    except urllib.error.HTTPError as error:
        with error:
            raise RegistryError(f"no credentials for {registry}: HTTP {error.code}") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise RegistryError(f"no credentials for {registry}: {error!r}") from error
    given = {"username": user, "password": password, "serveraddress": registry}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(given).encode()).decode()}


def _credentials_url(environ: Mapping[str, str]) -> str | None:
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    return f"{AGENT}{relative}" if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")


def _endpoint(environ: Mapping[str, str]) -> str | None:
    return environ.get("AWS_ENDPOINT_URL_ECR") or environ.get("AWS_ENDPOINT_URL")


def _credentials(address: str) -> Credentials:
    with urllib.request.urlopen(address, timeout=CALL_SECONDS) as answer:  # noqa: S310 - the agent's
        found = json.loads(answer.read())
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token"))


def _token(endpoint: str, region: str, credentials: Credentials) -> str:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html"""
    body = b"{}"
    headers = {
        "Host": endpoint.partition("://")[2],
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
    }
    signed = Signer("ecr", region).sign(
        credentials, method="POST", path="/", headers=headers, body=body, now=datetime.now(UTC)
    )
    request = urllib.request.Request(f"{endpoint}/", body, signed, method="POST")  # noqa: S310 - AWS
    with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:  # noqa: S310
        token: str = json.loads(answer.read())["authorizationData"][0]["authorizationToken"]
    return token
