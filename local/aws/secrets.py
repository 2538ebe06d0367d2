"""The values of references in task definitions, as ECS fetches them when a task starts.

Source: "Pass sensitive data to an Amazon ECS container", Amazon ECS Developer Guide: a secret's ARN
may be followed by a JSON key, a version stage and a version id; a parameter may be named without
its ARN where it is in the task's region.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError


class SecretError(Exception):
    """The value cannot be read; the message has the reason without the value."""


def no_secrets(reference: str) -> str:
    """Raises SecretError for each reference, for engines without a Secrets Manager."""
    raise SecretError(f"no secrets are served here: {reference}")


def secrets_through(client: Callable[[str], Any], known: Mapping[str, str]) -> Callable[[str], str]:
    """A function from reference to value; `client(service)` returns a boto3 client.

    `known` has values of references that are not read.
    """

    def value_of(reference: str) -> str:
        if reference in known:
            return known[reference]
        try:
            if ":secretsmanager:" in reference:
                return _secret(client("secretsmanager"), reference)
            name = reference.rpartition(":parameter")[2]
            found = client("ssm").get_parameter(Name=name, WithDecryption=True)
            return str(found["Parameter"]["Value"])
        except (BotoCoreError, ClientError) as error:
            raise SecretError(f"{reference}: {error}") from error

    return value_of


def _secret(client: Any, reference: str) -> str:
    parts = reference.split(":")
    arn, (key, stage, version) = ":".join(parts[:7]), [*parts[7:], "", "", ""][:3]
    which = {"VersionStage": stage} if stage else {}
    which |= {"VersionId": version} if version else {}
    text = str(client.get_secret_value(SecretId=arn, **which)["SecretString"])
    if not key:
        return text
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise SecretError(f"{arn} has no JSON key {key}") from error
