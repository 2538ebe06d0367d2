"""A chat among sessions: what one says goes through the stream, and comes to all by the feed.

    GET /session?app=chat&room=blue&name=Ann
    client  {"say": "hello"}
    server  {"room": "blue", "name": "Ann"}         where and who one is, first
            {"error": "…"}                          nothing was said
    record  {"room", "from", "joined" | "said" | "left": …}

Every container sees all records and shows its client those of its room. Nothing is kept on a
server: a client that lost its line gets what it missed by its cursor. Records of one room keep
their order, as they have one partition key.
"""

import re
import time
from typing import Any

from session_handler.app import AppSession, SessionApp
from session_handler.feeds.records import Record
from session_handler.publishing import PublishError

MAX_CHARACTERS = 1_000
BURST = 5
"""So many messages may come at once, and one more each second."""
_ROOM = re.compile(r"[a-z0-9-]{1,32}")
KINDS = ("joined", "said", "left")


class Chat(SessionApp):
    """One user in one room."""

    def __init__(self) -> None:
        self._room = "lobby"
        self._name = ""
        self._left = float(BURST)
        self._said_at = 0.0
        self._session: AppSession | None = None

    async def on_start(self, session: AppSession) -> None:
        self._session = session
        user = await session.user()
        room = user.query.get("room", "")
        # What is in `query` the user chose. Where a deployment knows its users, take a claim.
        name = " ".join(user.query.get("name", "").split())[:32]
        self._room = room if _ROOM.fullmatch(room) else "lobby"
        self._name = name or f"guest-{session.session_id[:4]}"
        await session.send({"room": self._room, "name": self._name})
        await self._tell(session, "joined", True)

    async def on_record(self, record: Record) -> Record | None:
        event = record.data
        if not isinstance(event, dict) or event.get("room") != self._room:
            return None
        return record if any(kind in event for kind in KINDS) else None

    async def on_message(self, message: dict[str, Any]) -> None:
        session, text = self._session, message.get("say")
        if session is None:
            return
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_CHARACTERS:
            await session.send({"error": f"say: 1 to {MAX_CHARACTERS} characters"})
        elif not self._may_speak(time.monotonic()):
            await session.send({"error": "not so fast"})
        else:
            await self._tell(session, "said", text.strip())

    async def on_stop(self, reason: str) -> None:
        if self._session is not None:
            self._session.log.info("%s left: %s", self._name, reason)
            await self._tell(self._session, "left", True)

    async def _tell(self, session: AppSession, kind: str, value: Any) -> None:
        event = {"room": self._room, "from": self._name, kind: value}
        try:
            await session.publish(event, partition_key=f"room-{self._room}")
        except PublishError as error:
            session.log.warning("not told: %s", error)
            await session.send({"error": "that reached nobody, try again"})

    def _may_speak(self, now: float) -> bool:
        self._left = min(BURST, self._left + now - self._said_at)
        self._said_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
