"""EventBridge for the functions that ask for events: matches patterns, and hands over."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Matcher = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Rule:
    """One function and the events that it wants."""

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
    return Rule(function, lambda event: bool(matcher.matches_event(event)))


class EventBus:
    """Takes every event once and in order; delivers as the fault switches want it."""

    def __init__(
        self,
        deliver: Callable[[str, Any, float], None],
        delays: Callable[[], Sequence[float]],
    ) -> None:
        """`deliver(function, event, after_seconds)`; `delays()` when copies of one event come."""
        self._deliver = deliver
        self._delays = delays
        self._rules: Sequence[Rule] = ()

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Put these rules in the place of all others."""
        self._rules = tuple(rules)

    def publish(self, event: Mapping[str, Any]) -> None:
        """Deliver one event to whoever wants it. Returns at once."""
        for rule in self._rules:
            if rule.matches(event):
                for delay in self._delays():
                    self._deliver(rule.function, event, delay)
