"""The image's own session apps; without SESSION_APP a session runs `Filter`."""

from typing import Any

from chalicelib.contract.filters import Filter as Wants
from chalicelib.contract.filters import FilterError, parse_filter
from session_handler.app import AppSession, SessionApp
from session_handler.feeds.records import Record


class Filter(SessionApp):
    """Forwards the records that match the client's filter; all of them without one.

        client  {"type": "app", "filter": {…}}           see chalicelib/contract/filters.py
        server  {"type": "app", "filter": {…}}           holds from now on; null: no filter
        server  {"type": "app", "error": {"code": "bad_filter", "message"}}   nothing changed

    Other messages of the client are ignored.
    """

    def __init__(self) -> None:
        self._session: AppSession | None = None
        self._wants: Wants | None = None

    @property
    def forwards_everything(self) -> bool:
        return self._wants is None

    async def on_start(self, session: AppSession) -> None:
        self._session = session

    async def on_record(self, record: Record) -> Record | None:
        return record if self._wants is None or self._wants(record.data) else None

    async def on_message(self, message: dict[str, Any]) -> None:
        if "filter" not in message or self._session is None:
            return
        try:
            self._wants = parse_filter(message["filter"])
        except FilterError as exc:
            error = {"code": "bad_filter", "message": str(exc)}
            await self._session.send({"error": error})
            return
        await self._session.send({"filter": message["filter"] if self._wants else None})
