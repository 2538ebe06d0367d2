"""Evaluates identity-based policies as IAM does: deny by default, an explicit deny overrides. Pure.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html

Elements of a policy that are not supported here raise PolicyError.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

Context = Mapping[str, Sequence[str]]
"""Condition keys in lower case, each with its values."""


class PolicyError(ValueError):
    """The policy has an element, an operator or a variable that is not evaluated here."""


class Decision(Enum):
    """The result of the policies for one action on one resource."""

    ALLOWED = "allowed"
    IMPLICIT_DENY = "no identity-based policy allows it"
    EXPLICIT_DENY = "an explicit deny"


@dataclass(frozen=True)
class Statement:
    """One statement; patterns as they were written."""

    allows: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditions: tuple["Condition", ...]

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Whether it concerns this action."""
        named = any(glob(pattern.lower())(action.lower()) for pattern in self.actions)
        patterns = [filled(pattern, context) for pattern in self.resources]
        at = any(pattern is not None and glob(pattern)(resource) for pattern in patterns)
        return (
            named is not self.not_actions
            and at is not self.not_resources
            and all(condition.is_met(context) for condition in self.conditions)
        )


@dataclass(frozen=True)
class Condition:
    """One key under one operator. Several values are alternatives."""

    key: str
    operator: str
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""
    """`ForAllValues`, `ForAnyValue` or nothing."""

    def is_met(self, context: Context) -> bool:
        """Whether the request fulfils it."""
        present = context.get(self.key.lower())
        if self.operator == "Null":
            return (present is None) == (self.values[0].lower() == "true")
        if not present:
            return self._is_met_without()
        filled_in = [filled(wanted, context) for wanted in self.values]
        wanted = [each for each in filled_in if each is not None]
        if self.quantifier == "ForAllValues":
            return all(self._matches(value, wanted) for value in present)
        return any(self._matches(value, wanted) for value in present)

    def _is_met_without(self) -> bool:
        """The result for a request without the key."""
        if self.if_exists or self.quantifier == "ForAllValues":
            return True
        return self.quantifier == "" and "Not" in self.operator

    def _matches(self, value: str, wanted: Sequence[str]) -> bool:
        test = OPERATORS[self.operator]
        found = any(test(each, value) for each in wanted)
        return found != ("Not" in self.operator)


@dataclass(frozen=True)
class Verdict:
    """A decision, and the indexes of the statements that it rests on."""

    decision: Decision
    by: tuple[int, ...] = ()


def decide(
    statements: Sequence[Statement], action: str, resource: str, context: Context
) -> Verdict:
    """The result of all statements of a principal's policies."""
    applying = [
        index
        for index, statement in enumerate(statements)
        if statement.applies(action, resource, context)
    ]
    denying = tuple(index for index in applying if not statements[index].allows)
    if denying:
        return Verdict(Decision.EXPLICIT_DENY, denying)
    return Verdict(Decision.ALLOWED if applying else Decision.IMPLICIT_DENY, tuple(applying))


def parse_policy(document: Mapping[str, Any]) -> tuple[Statement, ...]:
    """The statements of an identity-based policy. Raises PolicyError."""
    return tuple(_statement(each) for each in _list(document["Statement"]))


_ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}


def _statement(document: Mapping[str, Any]) -> Statement:
    if unknown := set(document) - _ELEMENTS:
        raise PolicyError(f"no elements of an identity-based policy: {', '.join(sorted(unknown))}")
    if document.get("Effect") not in {"Allow", "Deny"}:
        raise PolicyError(f"Effect: {document.get('Effect')!r}")
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource")):
        if (one in document) == (other in document):
            raise PolicyError(f"either {one} or {other}")
    return Statement(
        allows=document["Effect"] == "Allow",
        actions=_patterns(document.get("Action", document.get("NotAction"))),
        not_actions="NotAction" in document,
        resources=_patterns(document.get("Resource", document.get("NotResource"))),
        not_resources="NotResource" in document,
        conditions=tuple(_conditions(document.get("Condition", {}))),
    )


def _conditions(document: Mapping[str, Mapping[str, Any]]) -> Iterable[Condition]:
    for written, keys in document.items():
        quantifier, colon, operator = written.rpartition(":")
        if colon and quantifier not in {"ForAllValues", "ForAnyValue"}:
            raise PolicyError(f"condition operator {written}")
        name = operator.removesuffix("IfExists")
        if name not in OPERATORS and name != "Null":
            raise PolicyError(f"condition operator {written}")
        for key, values in keys.items():
            texts = tuple(_text(value) for value in _list(values))
            yield Condition(key, name, texts, operator.endswith("IfExists"), quantifier)


def _patterns(value: Any) -> tuple[str, ...]:
    return tuple(_text(pattern) for pattern in _list(value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if "${" in _VARIABLE.sub("", text):
        raise PolicyError(f"of policy variables only tags of principals are evaluated here: {text}")
    return text


_VARIABLE = re.compile(r"\$\{(aws:PrincipalTag/[^}]+)\}", re.IGNORECASE)


def filled(text: str, context: Context) -> str | None:
    """The text with the request's values in the place of its variables; None where the request does
    not have one, as then the element matches nothing. Values of tags have no wildcards.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if "${" not in text:
        return text
    names = [name.lower() for name in _VARIABLE.findall(text)]
    if not all(context.get(name) for name in names):
        return None
    return _VARIABLE.sub(lambda found: context[found[1].lower()][0], text)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@lru_cache(4096)
def glob(pattern: str) -> Callable[[str], bool]:
    """Whether a text fits a pattern with `*` and `?`, all of it."""
    parts = re.split(r"([*?])", pattern)
    regex = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts)
    compiled = re.compile(regex, re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None


def _arn_like(pattern: str, value: str) -> bool:
    """The six parts are matched separately: a wildcard before the last part matches no colon."""
    wanted, found = pattern.split(":", 5), value.split(":", 5)
    return len(wanted) == len(found) and all(
        glob(part)(text) for part, text in zip(wanted, found, strict=True)
    )


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(wanted: str, value: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return test


def _date(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def test(wanted: str, value: str) -> bool:
        try:
            instants = [datetime.fromisoformat(text).timestamp() for text in (value, wanted)]
        except ValueError:
            return False
        return compare(*instants)

    return test


def _equal(wanted: str, value: str) -> bool:
    return wanted == value


def _same_letters(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


def _like(wanted: str, value: str) -> bool:
    return glob(wanted)(value)


OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringNotEquals": _equal,
    "StringEqualsIgnoreCase": _same_letters,
    "StringNotEqualsIgnoreCase": _same_letters,
    "StringLike": _like,
    "StringNotLike": _like,
    "ArnEquals": _arn_like,  # the two behave identically
    "ArnLike": _arn_like,
    "ArnNotEquals": _arn_like,
    "ArnNotLike": _arn_like,
    "Bool": _same_letters,
    "DateLessThan": _date(lambda value, wanted: value < wanted),
    "DateLessThanEquals": _date(lambda value, wanted: value <= wanted),
    "DateGreaterThan": _date(lambda value, wanted: value > wanted),
    "DateGreaterThanEquals": _date(lambda value, wanted: value >= wanted),
    "NumericEquals": _numeric(lambda value, wanted: value == wanted),
    "NumericNotEquals": _numeric(lambda value, wanted: value == wanted),
    "NumericLessThan": _numeric(lambda value, wanted: value < wanted),
    "NumericLessThanEquals": _numeric(lambda value, wanted: value <= wanted),
    "NumericGreaterThan": _numeric(lambda value, wanted: value > wanted),
    "NumericGreaterThanEquals": _numeric(lambda value, wanted: value >= wanted),
}
"""(wanted, value) to whether they match; an operator with Not in its name is negated."""
