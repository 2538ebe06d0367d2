"""EventBridge for functions with event patterns: matches and delivers."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Matcher = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Rule:
    """One function and its event pattern."""

    function: str
    matches: Matcher


def rule_for(function: str, pattern: Mapping[str, Any]) -> Rule:
    """The rule of an event pattern. Raises ValueError for one that EventBridge would refuse."""
    from moto.events.exceptions import InvalidEventPatternException
    from moto.events.models import EventPattern, EventPatternParser

    text = json.dumps(pattern)
    try:
        parsed = EventPatternParser(text).parse()
    except InvalidEventPatternException as error:
        raise ValueError(f"event pattern of {function}: {error}") from error
    matcher = EventPattern(text, parsed)

    def matches(event: Mapping[str, Any]) -> bool:
        return _may_match(pattern, event) and bool(matcher.matches_event(_with_leaves(event)))

    return Rule(function, matches)


def _with_leaves(value: Any) -> Any:
    """An event with the fields of its lists of objects as lists of their values.

    EventBridge compares a pattern with the leaves of an event, which moto does in objects only. Two
    fields of a pattern that must be in the same object of a list are not kept together here.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns-arrays.html
    """
    if isinstance(value, Mapping):
        return {name: _with_leaves(each) for name, each in value.items()}
    if not isinstance(value, list) or not any(isinstance(each, Mapping) for each in value):
        return value
    leaves: dict[str, list[Any]] = {}
    for each in value:
        for name, found in each.items() if isinstance(each, Mapping) else ():
            leaves.setdefault(name, []).extend(found if isinstance(found, list) else [found])
    return _with_leaves(leaves)


def _may_match(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """False only if the event has a text where the pattern lists others.

    Most events match no pattern, and this check is a hundred times faster than the complete pattern
    language.
    """
    for name, wanted in pattern.items():
        found = event.get(name)
        if isinstance(found, str) and isinstance(wanted, list):
            if found not in wanted and all(isinstance(one, str) for one in wanted):
                return False
        elif (
            isinstance(found, Mapping)
            and isinstance(wanted, Mapping)
            and not _may_match(wanted, found)
        ):
            return False
    return True


def put_events(request: bytes, answer: bytes, region: str, account: str) -> list[dict[str, Any]]:
    """The events that a PutEvents call put, from its body and its answer: only what was taken."""
    entries = json.loads(request)["Entries"]
    results = json.loads(answer)["Entries"]
    return [
        {
            "version": "0",
            "id": result["EventId"],
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": account,
            "time": _instant(entry.get("Time")),
            "region": region,
            "resources": entry.get("Resources", []),
            "detail": json.loads(entry["Detail"]),
        }
        for entry, result in zip(entries, results, strict=True)
        if "EventId" in result and entry.get("EventBusName", "default") == "default"
    ]


def _instant(seconds: float | None) -> str:
    instant = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


class EventBus:
    """Receives every event once and in order; delivers with the faults of the switches."""

    def __init__(
        self,
        deliver: Callable[[str, Any, float], None],
        delays: Callable[[], Sequence[float]],
    ) -> None:
        """`deliver(function, event, after_seconds)`; `delays()` returns the delays of one event's
        copies.
        """
        self._deliver = deliver
        self._delays = delays
        self._rules: Sequence[Rule] = ()

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Put these rules in the place of all others."""
        self._rules = tuple(rules)

    def publish(self, event: Mapping[str, Any]) -> None:
        """Deliver one event to the matching functions. Returns at once."""
        for rule in self._rules:
            if rule.matches(event):
                for delay in self._delays():
                    self._deliver(rule.function, event, delay)
