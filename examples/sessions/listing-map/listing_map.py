"""Property records on a map: each user gets those of their own part of it, and what they cost.

    client  {"area": [south, west, north, east] or null, "maxPrice": 900000 or null}
    server  {"area": …, "maxPrice": …}        holds from now on
            {"summary": {"seen", "shown", "meanPrice"}}    once a second while something changes
            {"error": "…"}                    nothing changed

Records pass as they are, or not at all. What a user asked for and what was counted live in this
object, as long as the session; it needs no locks, no database and no tidying up.
"""

import math
from typing import Any

from session_handler.app import AppSession, SessionApp
from session_handler.feeds.records import Record

SUMMARY_SECONDS = 1.0


def number(value: Any) -> float | None:
    """The value, if it is a number that can be reckoned with."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


class ListingMap(SessionApp):
    """Filters by place and price, and sums up."""

    def __init__(self) -> None:
        self._area: list[float] | None = None
        self._max_price: float | None = None
        self._seen = self._shown = self._priced = 0
        self._price_sum = 0.0
        self._changed = False
        self._session: AppSession | None = None

    async def on_start(self, session: AppSession) -> None:
        self._session = session
        session.every(SUMMARY_SECONDS, self._send_summary)

    async def on_record(self, record: Record) -> Record | None:
        self._seen += 1
        self._changed = True
        listing = record.data if isinstance(record.data, dict) else {}
        price = number(listing.get("price"))
        if not self._wants(listing, price):
            return None
        self._shown += 1
        if price is not None:
            self._priced += 1
            self._price_sum += price
        return record

    async def on_message(self, message: dict[str, Any]) -> None:
        if self._session is None:
            return
        area, max_price = message.get("area"), message.get("maxPrice")
        corners = [number(corner) for corner in area] if isinstance(area, list) else []
        if area is not None and (len(corners) != 4 or None in corners):
            await self._session.send({"error": "area: [south, west, north, east] or null"})
        elif max_price is not None and number(max_price) is None:
            await self._session.send({"error": "maxPrice: a number or null"})
        else:
            self._area = [corner for corner in corners if corner is not None] or None
            self._max_price = number(max_price)
            self._shown = self._priced = 0
            self._price_sum = 0.0
            self._changed = True
            await self._session.send({"area": self._area, "maxPrice": self._max_price})

    def _wants(self, listing: dict[str, Any], price: float | None) -> bool:
        if self._max_price is not None and (price is None or price > self._max_price):
            return False
        if self._area is None:
            return True
        south, west, north, east = self._area
        latitude, longitude = number(listing.get("latitude")), number(listing.get("longitude"))
        if latitude is None or longitude is None:
            return False
        return south <= latitude <= north and west <= longitude <= east

    async def _send_summary(self) -> None:
        if self._session is None or not self._changed:
            return
        self._changed = False
        mean = round(self._price_sum / self._priced) if self._priced else None
        summary = {"seen": self._seen, "shown": self._shown, "meanPrice": mean}
        await self._session.send({"summary": summary})
