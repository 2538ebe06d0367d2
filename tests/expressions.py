"""Watches the DynamoDB requests of boto3 clients: no expression may have a name written out."""

import json
from collections.abc import Iterator
from typing import Any

from local.aws.dynamodb.expressions import EXPRESSIONS, references_of


class BareNameError(BaseException):
    """An attribute name is written out in an expression. Nothing catches this."""


def expressions_in(parameters: Any) -> Iterator[tuple[str, str]]:
    """Every expression of a request, at any depth (transactions have theirs inside)."""
    if isinstance(parameters, dict):
        for name, value in parameters.items():
            if name in EXPRESSIONS and isinstance(value, str):
                yield name, value
            elif name not in {"Item", "Key", "ExpressionAttributeValues"}:
                yield from expressions_in(value)
    elif isinstance(parameters, list):
        for part in parameters:
            yield from expressions_in(part)


def check_expressions(body: bytes | str) -> int:
    """Raise BareNameError where a name is written out; how many expressions there were."""
    seen = 0
    for kind, expression in expressions_in(json.loads(body or "{}")):
        bare = references_of(kind, expression).bare_names
        if bare:
            raise BareNameError(f"{kind} {expression!r} has {', '.join(bare)} written out")
        seen += 1
    return seen


class ExpressionWatch:
    """Checks every request of the clients it is attached to, and counts their expressions."""

    def __init__(self) -> None:
        self.seen = 0

    def attach(self, dynamodb: Any) -> None:
        """Check each request of this client from now on."""
        dynamodb.meta.events.register_first("before-call.dynamodb", self._check)

    def _check(self, params: Any, **_: Any) -> None:
        self.seen += check_expressions(params["body"])
