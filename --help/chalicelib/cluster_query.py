"""ECS's cluster query language: selects the hosts of a memberOf constraint. Pure.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_CHARACTERS = 2_000
"""Length limit of one expression:
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PlacementConstraint.html"""
TASK_GROUP = "task:group"
NUMBERS = {"registeredAt", "runningTasksCount"}
SUBJECTS = {"agentConnected", "agentVersion", "ec2InstanceId", TASK_GROUP, *NUMBERS}

Facts = Mapping[str, Collection[str]]
"""The values of each subject of a host; `task:group` has one for each group."""

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<other>\(|\)|\[|\]|,|&&|\|\||==|!=|>=|<=|=~|!~|!in\b|!exists\b|>|<|!(?=[\s(])"
    r"|[^\s()\[\],&|]+))"
)
_WRITTEN = {
    "equals": "==", "not_equals": "!=", "greater_than": ">", "greater_than_equal": ">=",
    "less_than": "<", "less_than_equal": "<=", "not_exists": "!exists", "not_in": "!in",
    "matches": "=~", "not_matches": "!~", "and": "&&", "or": "||", "not": "!",
}  # fmt: skip
_ORDERS: Mapping[str, Callable[[int], bool]] = {
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
}
_OPPOSITES = {"!=": "==", "!in": "in", "!~": "=~", "!exists": "exists"}
_SET = {"==", "!=", "in", "!in", "=~", "!~"}
_OPERATORS = {
    "agentConnected": _SET,
    "ec2InstanceId": _SET,
    TASK_GROUP: _SET,
    "agentVersion": {"==", "!=", *_ORDERS},
    "registeredAt": {"==", "!=", *_ORDERS},
    "runningTasksCount": {"==", "!=", *_ORDERS},
}
"""Operators by subject; attributes have all of them, and `exists`."""


class ExpressionError(ValueError):
    """ECS would refuse the expression."""


@dataclass(frozen=True)
class Condition:
    """One comparison; a negative operator is the negation of its positive one."""

    subject: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, facts: Facts) -> bool:
        """Whether a host with these facts is selected."""
        known = facts.get(self.subject, ())
        if self.operator in _ORDERS:
            compare = _ORDERS[self.operator]
            return any(compare(_order(self.subject, one, self.values[0])) for one in known)
        opposite = _OPPOSITES.get(self.operator)
        if opposite is not None:
            return not self._is_met(opposite, known)
        return self._is_met(self.operator, known)

    def _is_met(self, operator: str, known: Collection[str]) -> bool:
        if operator == "exists":
            return bool(known)
        if operator == "=~":
            return any(re.fullmatch(self.values[0], one) for one in known)
        return any(one in self.values for one in known)


@dataclass(frozen=True)
class Not:
    """Negation."""

    inner: "Expression"

    def matches(self, facts: Facts) -> bool:
        """Whether a host with these facts is selected."""
        return not self.inner.matches(facts)


@dataclass(frozen=True)
class Either:
    """Disjunction."""

    parts: tuple["Expression", ...]

    def matches(self, facts: Facts) -> bool:
        """Whether a host with these facts is selected."""
        return any(part.matches(facts) for part in self.parts)


@dataclass(frozen=True)
class Both:
    """Conjunction."""

    parts: tuple["Expression", ...]

    def matches(self, facts: Facts) -> bool:
        """Whether a host with these facts is selected."""
        return all(part.matches(facts) for part in self.parts)


Expression = Condition | Not | Either | Both


def parse_expression(text: str) -> Expression:
    """Parse an expression. Raises ExpressionError if ECS would refuse it."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"an expression has at most {MAX_CHARACTERS} characters")
    return _Parser(text).whole()


def only_attributes(expression: Expression) -> bool:
    """Whether it refers only to attributes, which a host keeps while it lives."""
    if isinstance(expression, Condition):
        return expression.subject.startswith("attribute:")
    if isinstance(expression, Not):
        return only_attributes(expression.inner)
    return all(only_attributes(part) for part in expression.parts)


class _Parser:
    """Recursive descent; precedence from low to high: or, and, not."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, bool]] = []  # with whether they were quoted
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(f"at {text[at : at + 20]!r}")
            quoted = match["quoted"]
            token = quoted[1:-1] if quoted is not None else match["other"]
            self._tokens.append((token, quoted is not None))
            at = match.end()
        self._at = 0

    def whole(self) -> Expression:
        expression = self._or()
        if self._at < len(self._tokens):
            raise self._wrong(f"at {self._tokens[self._at][0]!r}")
        return expression

    def _or(self) -> Expression:
        parts = [self._and()]
        while self._takes("||"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _and(self) -> Expression:
        parts = [self._not()]
        while self._takes("&&"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _not(self) -> Expression:
        if self._takes("!"):
            return Not(self._not())
        if self._takes("("):
            inner = self._or()
            self._expect(")")
            return inner
        return self._condition()

    def _condition(self) -> Expression:
        subject = self._next()
        if not re.fullmatch(r"attribute:[\w.\-/]+", subject) and subject not in SUBJECTS:
            raise self._wrong(f"{subject!r} is no subject")
        operator = self._next()
        operator = _WRITTEN.get(operator, operator)
        known = _OPERATORS.get(subject, {*_SET, *_ORDERS, "exists", "!exists"})
        if operator not in known:
            raise self._wrong(f"{subject} knows no {operator!r}")
        if operator in {"exists", "!exists"}:
            return Condition(subject, operator)
        values = self._list() if operator in {"in", "!in"} else (self._argument(),)
        self._check(subject, operator, values)
        return Condition(subject, operator, values)

    def _check(self, subject: str, operator: str, values: tuple[str, ...]) -> None:
        if operator in {"=~", "!~"}:
            try:
                re.compile(values[0])
            except re.error as error:
                raise self._wrong(f"{values[0]!r} is no pattern") from error
        if subject in NUMBERS:
            for value in values:
                if _number_of(subject, value) is None:
                    raise self._wrong(f"{subject} is compared with {value!r}")

    def _list(self) -> tuple[str, ...]:
        self._expect("[")
        values = [self._argument()]
        while self._takes(","):
            values.append(self._argument())
        self._expect("]")
        return tuple(values)

    def _argument(self) -> str:
        quoted = self._at < len(self._tokens) and self._tokens[self._at][1]
        value = self._next()
        if not quoted and value in {"(", ")", "[", "]", ",", "&&", "||"}:
            raise self._wrong(f"a value, not {value!r}")
        return value

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise self._wrong("it ends too early")
        self._at += 1
        return self._tokens[self._at - 1][0]

    def _takes(self, wanted: str) -> bool:
        if self._at < len(self._tokens):
            token, quoted = self._tokens[self._at]
            if not quoted and _WRITTEN.get(token, token) == wanted:
                self._at += 1
                return True
        return False

    def _expect(self, wanted: str) -> None:
        if not self._takes(wanted):
            raise self._wrong(f"{wanted!r} is missing")

    def _wrong(self, what: str) -> ExpressionError:
        return ExpressionError(f"not an expression of ECS: {self._text}: {what}")


def _order(subject: str, left: str, right: str) -> int:
    """-1, 0 or 1. Numbers, times and versions are compared by value, others as text."""
    if subject == "agentVersion":
        versions = [[int(part) for part in re.findall(r"\d+", one)] for one in (left, right)]
        return (versions[0] > versions[1]) - (versions[0] < versions[1])
    numbers = _number_of(subject, left), _number_of(subject, right)
    if numbers[0] is not None and numbers[1] is not None:
        return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    return (left > right) - (left < right)


def _number_of(subject: str, text: str) -> float | None:
    try:
        if subject == "registeredAt":
            return _instant_of(text)
        return float(text)
    except ValueError:
        return None


def _instant_of(text: str) -> float:
    """Seconds since the epoch from a number or ISO 8601, which is UTC without a zone."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
