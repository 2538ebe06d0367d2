"""Records the errors of a page, and how each of its requests ended."""

from playwright.sync_api import ConsoleMessage, Page, Request

OF_THE_MACHINE = "net::ERR_NETWORK_CHANGED"
"""Chromium's error for requests it aborts when a network changes; the page sends them again."""


class PageWatch:
    """Created before the page is loaded.

    `complaints` are errors and warnings on the console (broken security policies among them) and
    uncaught exceptions.
    """

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self._requests: dict[Request, str] = {}
        page.on("console", self._received)
        page.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))
        page.on("request", lambda request: self._note(request, "no answer"))
        page.on("requestfinished", lambda request: self._note(request, "answered"))
        page.on("requestfailed", lambda request: self._note(request, request.failure or "failed"))

    def report(self) -> str:
        """Returns all of it as lines, for the report of a failed test."""
        requests = [f"{request.url}: {fate}" for request, fate in self._requests.items()]
        return "\n".join([*self.complaints, *requests])

    def _received(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and OF_THE_MACHINE not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _note(self, request: Request, fate: str) -> None:
        self._requests[request] = fate
