"""Fires the functions that have a schedule, when it is time."""

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from chalicelib.schedules.cron import Expression, Rate, next_run, parse_aws

UTC_ZONE = ZoneInfo("UTC")
LATE = timedelta(minutes=5)
"""A schedule that is later than this, as after a laptop slept, fires once and not once a period."""

log = logging.getLogger(__name__)


def scheduled_event(function: str, now: datetime, region: str, account: str) -> dict[str, Any]:
    """EventBridge's event for a function whose schedule is due."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [f"arn:aws:events:{region}:{account}:rule/{function}"],
        "detail": {},
    }


def due_and_next(
    upcoming: Mapping[str, datetime], schedules: Mapping[str, Expression], now: datetime
) -> tuple[list[str], dict[str, datetime]]:
    """The functions that are due at `now`, and when each fires next, if ever."""
    due = [function for function, instant in upcoming.items() if instant <= now]
    following = dict(upcoming)
    for function in due:
        fired = upcoming[function]
        after = now if now - fired > LATE else fired
        instant = next_run(schedules[function], UTC_ZONE, after)
        del following[function]
        if instant is not None:
            following[function] = instant
    return due, following


class Schedules:
    """A thread that fires schedules when they are due."""

    def __init__(self, fire: Callable[[str, datetime], None]) -> None:
        self._fire = fire
        self._closed = threading.Event()
        self._schedules: dict[str, Expression] = {}
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)

    def start(self, expressions: Mapping[str, str]) -> None:
        """Fire from now on. Raises ExpressionError."""
        self._schedules = {name: parse_aws(text) for name, text in expressions.items()}
        if self._schedules:
            self._thread.start()

    def fire_rates(self) -> None:
        """Fire all rates once now, besides their periods."""
        for function, schedule in self._schedules.items():
            if isinstance(schedule, Rate):
                self._fire(function, datetime.now(UTC))

    def close(self) -> None:
        """Fire nothing more."""
        self._closed.set()

    def _run(self) -> None:
        now = datetime.now(UTC)
        instants = {
            name: next_run(schedule, UTC_ZONE, now) for name, schedule in self._schedules.items()
        }
        upcoming = {name: instant for name, instant in instants.items() if instant is not None}
        while upcoming:
            wait = (min(upcoming.values()) - datetime.now(UTC)).total_seconds()
            if self._closed.wait(max(0.0, min(wait, 60.0))):
                return
            now = datetime.now(UTC)
            due, upcoming = due_and_next(upcoming, self._schedules, now)
            for function in due:
                self._fire(function, now)
