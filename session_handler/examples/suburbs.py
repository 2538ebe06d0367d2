"""A session app with a state of its own: what is going on in each suburb, as this user saw it.

Records pass as they are. Beside them the client gets, at most once a second while something
changes, `{"type": "app", "suburbs": {NAME: {"updates", "sold", "meanPrice"}}}` of the suburbs that
changed, and all of them when it sends `{"type": "app", "report": true}`. The state lives as long as
the session, and is nobody else's: it needs no locks, no database and no tidying up.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from session_handler.app import AppSession, SessionApp
from session_handler.feeds.records import Record

MAX_SUBURBS = 1_000
"""Data may say anything; a session's memory is bounded all the same."""

REPORT_SECONDS = 1.0


@dataclass
class Suburb:
    """What was seen of one suburb."""

    updates: int = 0
    sold: int = 0
    prices: int = 0
    price_sum: float = 0.0

    def see(self, listing: dict[str, Any]) -> None:
        self.updates += 1
        self.sold += str(listing.get("status", "")).lower().startswith("sold")
        price = listing.get("price")
        if isinstance(price, int | float) and not isinstance(price, bool):
            self.prices += 1
            self.price_sum += price

    def to_json(self) -> dict[str, Any]:
        mean = round(self.price_sum / self.prices) if self.prices else None
        return {"updates": self.updates, "sold": self.sold, "meanPrice": mean}


class Suburbs(SessionApp):
    """Counts while it forwards."""

    def __init__(self) -> None:
        self._suburbs: dict[str, Suburb] = {}
        self._changed: set[str] = set()
        self._session: AppSession | None = None
        self._reporting: asyncio.Task[None] | None = None

    async def on_start(self, session: AppSession) -> None:
        self._session = session

    async def on_record(self, record: Record) -> Record:
        name = record.data.get("suburb") if isinstance(record.data, dict) else None
        if isinstance(name, str) and (name in self._suburbs or len(self._suburbs) < MAX_SUBURBS):
            self._suburbs.setdefault(name, Suburb()).see(record.data)
            self._changed.add(name)
            if self._reporting is None or self._reporting.done():
                self._reporting = asyncio.get_running_loop().create_task(self._report_soon())
        return record

    async def on_message(self, message: dict[str, Any]) -> None:
        if message.get("report") is True:
            self._changed = set(self._suburbs)
            await self._report()

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - of no interest here
        if self._reporting is not None:
            self._reporting.cancel()

    async def _report_soon(self) -> None:
        await asyncio.sleep(REPORT_SECONDS)
        await self._report()

    async def _report(self) -> None:
        changed, self._changed = self._changed, set()
        if self._session is not None:
            suburbs = {name: self._suburbs[name].to_json() for name in sorted(changed)}
            await self._session.send({"suburbs": suburbs})
