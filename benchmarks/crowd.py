"""Many clients that stay connected: they answer pings, as browsers do, and record what they
receive.
"""

import json
import select
import threading
import time
from collections import Counter
from typing import Any

from benchmarks.websocket import WebSocket

_POLL_SECONDS = 0.1
"""How soon a new client is looked after."""


class Crowd:
    """Clients that one thread looks after. Use as a context manager; all leave at its end."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        """When each message with records came, by `time.perf_counter`."""
        self.ended: Counter[str] = Counter()
        """How often sessions ended on their own, by the reason they gave."""
        self._poll = select.poll()
        self._members: dict[int, WebSocket] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="crowd", daemon=True)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for websocket in self._members.values():
            websocket.close()

    def add(self, websocket: WebSocket) -> None:
        """Look after this one as well."""
        self._members[websocket.fileno()] = websocket
        self._poll.register(websocket.fileno(), select.POLLIN)

    def _look_after(self) -> None:
        while not self._over.is_set():
            for descriptor, _ in self._poll.poll(_POLL_SECONDS * 1000):
                websocket = self._members[descriptor]
                try:
                    self._receive(websocket)
                except OSError as error:
                    self._leave(descriptor, f"without a word ({type(error).__name__})")

    def _receive(self, websocket: WebSocket) -> None:
        while True:
            text = websocket.frame()
            message: dict[str, Any] = json.loads(text) if text else {"type": None}
            if message["type"] == "records":
                self.arrived.append(time.perf_counter())
            elif message["type"] == "bye":
                self._leave(websocket.fileno(), message["reason"])
                return
            if not websocket.has_more:
                return

    def _leave(self, descriptor: int, reason: str) -> None:
        self.ended[reason] += 1
        self._poll.unregister(descriptor)
        self._members.pop(descriptor).close()
