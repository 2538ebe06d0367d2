"""The references of DynamoDB's expressions: attribute names, placeholders of names and values.
Pure.

Source: "Using expressions in DynamoDB" and "Reserved words in DynamoDB", developer guide.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

EXPRESSIONS = (
    "KeyConditionExpression",
    "ConditionExpression",
    "FilterExpression",
    "ProjectionExpression",
    "UpdateExpression",
)
"""The parameters of requests that hold an expression, in the order in which AWS checks them."""

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<placeholder>[#:][A-Za-z0-9_]+)"
    r"|(?P<number>[0-9]+)|(?P<operator><>|<=|>=|[=<>+\-(),.\[\]])|(?P<end>$)|(?P<bad>\S+))"
)
_KEYWORDS = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN", "SET", "ADD", "REMOVE", "DELETE"})
_KEPT = 4096


@dataclass(frozen=True)
class References:
    """The references of one expression."""

    bare_names: tuple[str, ...]
    """Attribute names that are written out, in order."""
    name_placeholders: frozenset[str]
    value_placeholders: frozenset[str]


@lru_cache(_KEPT)
def references_of(kind: str, expression: str) -> References:
    """Read an expression; `kind` is one of `EXPRESSIONS`. Raises ValueError for no token."""
    tokens = [*tokens_of(expression), ("end", "")]
    keywords: frozenset[str] = frozenset() if kind == "ProjectionExpression" else _KEYWORDS
    bare = tuple(
        word
        for (token, word), (_, following) in pairwise(tokens)
        if token == "name" and word.upper() not in keywords and following != "("
    )
    placeholders = frozenset(word for token, word in tokens if token == "placeholder")
    names = frozenset(word for word in placeholders if word.startswith("#"))
    return References(bare, names, placeholders - names)


@lru_cache(_KEPT)
def paths_of(projection: str) -> tuple[tuple[str, ...], ...]:
    """The document paths of a ProjectionExpression, each as its steps: `x.y[0]` is x, y, [0]."""
    paths = projection.split(",")
    return tuple(
        tuple(step.strip() for step in path.replace("[", ".[").split(".")) for path in paths
    )


def tokens_of(expression: str) -> list[tuple[str, str]]:
    """Kind and text of each token. Raises ValueError for what is none."""
    found = []
    for match in _TOKEN.finditer(expression):
        kind = match.lastgroup or "end"
        if kind == "end":
            break
        if kind == "bad":
            raise ValueError(f'Syntax error; token: "{match["bad"]}", near: "{match["bad"]}"')
        found.append((kind, match[kind]))
    return found
