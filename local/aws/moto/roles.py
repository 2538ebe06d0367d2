"""Roles that were created with IAM's API, which moto serves."""

import json
from typing import Any
from urllib.parse import unquote

from local.aws.iam.policy import parse_policy
from local.aws.sts import Role


def find_role(account: str, name: str) -> Role | None:
    """The role with its present policies, inline and attached; None if it does not exist.

    Raises PolicyError for a policy that is not supported here.
    """
    from moto.iam.models import iam_backends

    found: Any = next(
        (role for role in iam_backends[account]["aws"].roles.values() if role.name == name), None
    )
    if found is None:
        return None
    documents = [*found.policies.values(), *(p.document for p in found.managed_policies.values())]
    return Role(
        found.arn,
        _document(found.assume_role_policy_document),
        tuple(each for document in documents for each in parse_policy(_document(document))),
    )


def _document(text: Any) -> dict[str, Any]:
    document: dict[str, Any] = text if isinstance(text, dict) else json.loads(unquote(text))
    return document
